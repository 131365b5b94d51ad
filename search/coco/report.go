package coco

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/evopose/evopose/model"
)

// Report is what Evaluate measured. Figures are 0..1, higher is better; -1:
// there was nothing to measure.
type Report struct {
	// AP is the mean over OKS thresholds 0.5, 0.55, ... 0.95 of the average
	// precision: pycocotools' figure, as are those down to ARL. APM and APL
	// are those of people of 32^2 to 96^2 square pixels and of more.
	AP   float64 `json:"AP"`
	AP50 float64 `json:"AP50"`
	AP75 float64 `json:"AP75"`
	APM  float64 `json:"APM"`
	APL  float64 `json:"APL"`
	// AR is the mean over the thresholds of the highest recall.
	AR   float64 `json:"AR"`
	AR50 float64 `json:"AR50"`
	AR75 float64 `json:"AR75"`
	ARM  float64 `json:"ARM"`
	ARL  float64 `json:"ARL"`
	// PCK10 and PCK20 are the shares of labelled keypoints found within 0.1 and
	// 0.2 torso lengths, PCKBox10 and PCKBox20 those within 0.1 and 0.2 of the
	// longer side of the person's box.
	PCK10    float64 `json:"PCK@0.1"`
	PCK20    float64 `json:"PCK@0.2"`
	PCKBox10 float64 `json:"PCKbox@0.1"`
	PCKBox20 float64 `json:"PCKbox@0.2"`
	// Images counts pictures, Results the people found, People the labelled
	// ones, Missed those of them without a result, and NoTorso those that
	// PCK@0.1 and PCK@0.2 leave out.
	Images  int `json:"images"`
	Results int `json:"results"`
	People  int `json:"people"`
	Missed  int `json:"people_missed"`
	NoTorso int `json:"people_without_torso"`
	// Keypoints are the figures of each keypoint, in COCO order.
	Keypoints [model.Keypoints]KeypointReport `json:"keypoints"`
}

// KeypointReport is what was measured of one keypoint.
type KeypointReport struct {
	Name string `json:"name"`
	// Labels counts its labels, Torsos those of people whose torso length is
	// known: PCK10 and PCK20 are shares of these.
	Labels   int     `json:"labels"`
	Torsos   int     `json:"labels_with_torso"`
	PCK10    float64 `json:"PCK@0.1"`
	PCK20    float64 `json:"PCK@0.2"`
	PCKBox10 float64 `json:"PCKbox@0.1"`
	PCKBox20 float64 `json:"PCKbox@0.2"`
	// OKS is the mean of its term of OKS; 0 where the person was missed.
	OKS float64 `json:"OKS"`
}

// WriteTable writes the report for people to read.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "AP\tAP50\tAP75\tAPM\tAPL\tAR\tAR50\tAR75\tARM\tARL\tPCK@0.1\tPCK@0.2\t\n")
	writeFigures(t, r.AP, r.AP50, r.AP75, r.APM, r.APL, r.AR, r.AR50, r.AR75, r.ARM, r.ARL, r.PCK10, r.PCK20)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%d pictures, %d people labelled, %d found, %d missed; %d without a torso length, not in PCK\n\n",
		r.Images, r.People, r.Results, r.Missed, r.NoTorso)
	return r.writeKeypoints(w)
}

func (r *Report) writeKeypoints(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "keypoint\tlabels\tPCK@0.1\tPCK@0.2\tPCKbox@0.1\tPCKbox@0.2\tOKS\t\n")
	labels, oks := 0, 0.0
	for _, k := range r.Keypoints {
		fmt.Fprintf(t, "%s\t%d\t", k.Name, k.Labels)
		writeFigures(t, k.PCK10, k.PCK20, k.PCKBox10, k.PCKBox20, k.OKS)
		labels, oks = labels+k.Labels, oks+float64(k.Labels)*k.OKS
	}
	fmt.Fprintf(t, "all\t%d\t", labels)
	writeFigures(t, r.PCK10, r.PCK20, r.PCKBox10, r.PCKBox20, share(oks, labels))
	return t.Flush()
}

// writeFigures ends a row of a table.
func writeFigures(w io.Writer, figures ...float64) {
	for _, f := range figures {
		text := "-"
		if f != noFigure {
			text = strconv.FormatFloat(f, 'f', 3, 64)
		}
		fmt.Fprintf(w, "%s\t", text)
	}
	fmt.Fprintln(w)
}
