package cmd

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/search/coco"
	"github.com/evopose/evopose/server/batch"
	"github.com/evopose/evopose/server/pose"
	"github.com/spf13/cobra"
)

type evalFlags struct {
	engineFlags
	data, images string
	boxes, out   string
	results      string
	decode       string
	flip         bool
	nms          float64
	batch        int
	skipBroken   bool
	json         bool
}

func newEval() *cobra.Command {
	var f evalFlags
	c := &cobra.Command{
		Use:   "eval --data COCO.json {--images DIR | --results FILE}",
		Short: "Measure a model's accuracy on labelled pictures",
		Long: `Measure a model's accuracy on labelled pictures: COCO's AP and AR of object
keypoint similarity, as pycocotools computes them, and PCK, of all keypoints and
of each. People are looked for in the labels' boxes, or in those of --boxes, by
the pipeline of the server. A figure without anything to measure is -1 in JSON.

Pictures that cannot be read are named on standard error and make the exit
status 1; with --skip-broken they and their labels are left out instead.

--results measures people that were found before, by --out or any other program.`,
		Example: `  evopose eval --data val.json --images val
  evopose eval --data val.json --images val --model m --flip --json
  evopose eval --data val.json --images val --model run/best.onnx --out results.json
  evopose eval --data val.json --images val --boxes detections.json --nms 0.9
  evopose eval --data val.json --results results.json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.results != "" {
				return f.runResults(c)
			}
			return runEval(c, &f)
		},
	}
	f.register(c)
	flags := c.Flags()
	flags.StringVar(&f.data, "data", "", "COCO keypoint annotation file with the labels (required)")
	flags.StringVar(&f.images, "images", "", "directory of the pictures (required, but with --results)")
	flags.StringVar(&f.boxes, "boxes", "", "COCO results file with the boxes of a detector; empty: the labels' boxes")
	flags.StringVar(&f.decode, "decode", "dark", "how keypoints are read from heatmaps: argmax, quarter or dark")
	flags.BoolVar(&f.flip, "flip", false, "average with the mirrored picture: slower, a little more accurate")
	flags.Float64Var(&f.nms, "nms", 0, "of two people more alike than this OKS, 0..1, leave the weaker out; 0: keep both")
	flags.IntVar(&f.batch, "batch", predictBatch, "largest batch")
	flags.StringVar(&f.out, "out", "", "file to write the people found to, in COCO's results format")
	flags.StringVar(&f.results, "results", "", "COCO results file with the people to measure, instead of a model's")
	flags.BoolVar(&f.skipBroken, "skip-broken", false, "leave pictures that cannot be read out")
	flags.BoolVar(&f.json, "json", false, "print the report as JSON")
	return c
}

// check validates the flags and returns how people are estimated.
func (f *evalFlags) check() (o pose.Options, err error) {
	if err := f.engineFlags.check(); err != nil {
		return o, err
	}
	switch {
	case f.data == "" || f.images == "":
		return o, usagef("want --data, an annotation file, and --images, the directory of its pictures")
	case f.batch < 1 || f.batch > 1024:
		return o, usagef("--batch %d: want 1 to 1024", f.batch)
	case !(f.nms >= 0 && f.nms <= 1):
		return o, usagef("--nms %v: want 0 to 1", f.nms)
	}
	if o.Decode, err = postprocess.ParseDecode(f.decode); err != nil {
		return o, usagef("--decode: %w", err)
	}
	o.Flip = f.flip
	return o, nil
}

func runEval(c *cobra.Command, f *evalFlags) error {
	options, err := f.check()
	if err != nil {
		return err
	}
	set, err := readEvalSet(f.data, f.images, f.boxes)
	if err != nil {
		return err
	}
	f.Batch = batch.Options{Max: f.batch, Queue: 1 << 20}
	e, m, err := f.load(c)
	if err != nil {
		return err
	}
	run := &evaluation{set: set, nms: f.nms, skipBroken: f.skipBroken, stderr: c.ErrOrStderr(),
		predictor: predictor{estimator: m.Estimator, model: m.Card.Name, options: options}}
	began := time.Now()
	if err := run.all(c.Context()); err != nil {
		return joinClose(err, e)
	}
	r := f.report(run)
	r.Seconds = time.Since(began).Seconds()
	r.Model, r.SHA256, r.Input = m.Card.Name, m.Card.SHA256, m.Card.Input.String()
	r.Provider, r.Runtime = m.Runner.Provider(), e.Library.Version
	if f.out != "" {
		if err := coco.WriteResults(f.out, run.results); err != nil {
			return joinClose(err, e)
		}
	}
	if err := f.print(c.OutOrStdout(), r); err != nil {
		return joinClose(err, e)
	}
	return e.close()
}

// evalReport is what eval measured, and of what.
type evalReport struct {
	Model    string `json:"model"`
	SHA256   string `json:"sha256"`
	Input    string `json:"input"`
	Provider string `json:"provider"`
	Runtime  string `json:"onnxruntime"`
	Data     string `json:"data"`
	// Boxes is the detections' file; empty: the labels' boxes.
	Boxes  string  `json:"boxes"`
	Decode string  `json:"decode"`
	Flip   bool    `json:"flip"`
	NMS    float64 `json:"nms"`
	coco.Report
	// Broken counts pictures that could not be read and are left out.
	Broken int `json:"images_broken"`
	// BoxesLeftOut counts those that no person can be looked for in.
	BoxesLeftOut int     `json:"boxes_left_out"`
	Seconds      float64 `json:"seconds"`
}

// report evaluates what was found.
func (f *evalFlags) report(e *evaluation) evalReport {
	return evalReport{
		Data: f.data, Boxes: f.boxes, Decode: f.decode, Flip: f.flip, NMS: f.nms,
		Report: coco.Evaluate(e.readable(), e.results),
		Broken: len(e.broken), BoxesLeftOut: e.set.leftOut,
	}
}

func (f *evalFlags) print(w io.Writer, r evalReport) error {
	if f.json {
		return writeJSON(w, r)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "model\t%s, %s, on %s, ONNX Runtime %s\n", r.Model, r.Input, r.Provider, r.Runtime)
	fmt.Fprintf(t, "data\t%s\n", r.Data)
	fmt.Fprintf(t, "boxes\t%s\n", describeBoxes(r))
	fmt.Fprintf(t, "decode\t%s%s\n", r.Decode, map[bool]string{true: ", flip test"}[r.Flip])
	fmt.Fprintf(t, "time\t%.1f s, %.1f people/s\n", r.Seconds, float64(r.Results)/r.Seconds)
	if r.Broken > 0 {
		fmt.Fprintf(t, "broken\t%d pictures left out\n", r.Broken)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return r.WriteTable(w)
}

func describeBoxes(r evalReport) string {
	text := "of the labels (not comparable with AP of a detector's boxes)"
	if r.Boxes != "" {
		text = r.Boxes
	}
	if r.BoxesLeftOut > 0 {
		text += fmt.Sprintf("; %d left out", r.BoxesLeftOut)
	}
	return text
}
