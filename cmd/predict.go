package cmd

import (
	"fmt"
	"os"
	"slices"

	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/preprocess"
	"github.com/evopose/evopose/server/batch"
	"github.com/evopose/evopose/server/pose"
	"github.com/spf13/cobra"
)

type predictFlags struct {
	engineFlags
	boxes, boxesFile string
	decode           string
	json             bool
	out              string
	drawScore        float64
	options          pose.Options
}

func newPredict() *cobra.Command {
	var f predictFlags
	c := &cobra.Command{
		Use:   "predict IMAGE...",
		Short: "Find keypoints in pictures, without a server",
		Long: `Find the keypoints of people in pictures: the pipeline of the server, without HTTP.

Each picture (JPEG, PNG, WebP, GIF; "-" is standard input) gives a line of text
and a copy with the skeletons drawn, NAME.pose.png, in the current directory or
in --out. With --json each picture gives a line with one JSON object instead,
and copies are drawn only with --out. A picture that cannot be read is named on
standard error, does not stop the others, and makes the exit status 1.

Without boxes the whole picture is one person's box.`,
		Example: `  evopose predict photo.jpg
  evopose predict --boxes "12,30,200,400;250,28,180,390" --out drawn photo.jpg
  evopose predict --json --boxes-file val.json val/*.jpg > people.jsonl
  curl -s https://example.org/photo.jpg | evopose predict --json - | jq .people`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error { return runPredict(c, &f, files) },
	}
	f.register(c)
	flags := c.Flags()
	flags.StringVar(&f.boxes, "boxes", "", `person boxes in pixels, "x,y,w,h;x,y,w,h", for every picture`)
	flags.StringVar(&f.boxesFile, "boxes-file", "", "COCO annotation file with the boxes of the pictures, by file name")
	flags.BoolVar(&f.json, "json", false, "print one JSON object a picture, one a line")
	flags.StringVar(&f.out, "out", "", "directory for the drawn copies; it is made when absent")
	flags.Float64Var(&f.drawScore, "draw-score", drawScore, "do not draw keypoints whose score is below this, 0..1")
	flags.StringVar(&f.decode, "decode", "dark", "how keypoints are read from heatmaps: argmax, quarter or dark")
	flags.BoolVar(&f.options.Flip, "flip", false, "average with the mirrored picture: slower, a little more accurate")
	flags.Float64Var(&f.options.MinScore, "min-score", 0, "leave out people whose score is below this, 0..1")
	flags.Float64Var(&f.options.NMS, "nms", 0, "of two people more alike than this OKS, 0..1, leave the weaker out; 0: keep both")
	return c
}

// boxesOf returns the boxes of the picture of that name; nil means the whole
// picture.
type boxesOf func(file string) ([]preprocess.Box, error)

// check validates the flags and returns where boxes come from.
func (f *predictFlags) check(files []string) (boxesOf, error) {
	if err := f.engineFlags.check(); err != nil {
		return nil, err
	}
	var err error
	if f.options.Decode, err = postprocess.ParseDecode(f.decode); err != nil {
		return nil, usagef("--decode: %w", err)
	}
	if err := f.options.Validate(); err != nil {
		return nil, usageError{err}
	}
	if first := slices.Index(files, "-"); first >= 0 && slices.Contains(files[first+1:], "-") {
		return nil, usagef("standard input (-) is given more than once")
	}
	return f.boxSource()
}

func (f *predictFlags) boxSource() (boxesOf, error) {
	switch {
	case f.boxes != "" && f.boxesFile != "":
		return nil, usagef("--boxes and --boxes-file exclude each other")
	case f.boxesFile != "":
		known, err := readCOCOBoxes(f.boxesFile)
		if err != nil {
			return nil, err
		}
		return func(file string) ([]preprocess.Box, error) { return known.of(file, f.boxesFile) }, nil
	case f.boxes != "":
		boxes, err := preprocess.ParseBoxes(f.boxes)
		if err != nil {
			return nil, usagef("--boxes: %w", err)
		}
		return func(string) ([]preprocess.Box, error) { return boxes, nil }, nil
	}
	return func(string) ([]preprocess.Box, error) { return nil, nil }, nil
}

// predictBatch is the largest batch without a server. A processor gains
// nothing from more, and each larger batch costs memory and a warm-up run.
const predictBatch = 4

func runPredict(c *cobra.Command, f *predictFlags, files []string) error {
	boxes, err := f.check(files)
	if err != nil {
		return err
	}
	if f.out != "" {
		if err := os.MkdirAll(f.out, 0o755); err != nil {
			return err
		}
	}
	// Nobody else competes for the queue: it takes whatever one picture brings.
	f.Batch = batch.Options{Max: predictBatch, Queue: 1 << 20}
	e, m, err := f.load(c)
	if err != nil {
		return err
	}
	if err := f.predict(c, m, files, boxes); err != nil {
		return joinClose(err, e)
	}
	return e.close()
}

func (f *predictFlags) predict(c *cobra.Command, m *pose.Model, files []string, boxes boxesOf) error {
	p := &predictor{estimator: m.Estimator, model: m.Card.Name, options: f.options, boxes: boxes, stdin: c.InOrStdin(), drawScore: f.drawScore}
	if !f.json || f.out != "" {
		p.drawTo = drawnNames(files, f.out)
	}
	print := printText
	if f.json {
		print = printJSON
	}
	failed, err := p.each(c.Context(), files, func(r prediction) error {
		if r.Error != "" {
			fmt.Fprintf(c.ErrOrStderr(), "evopose: %s: %s\n", r.File, r.Error)
		}
		return print(c.OutOrStdout(), r)
	})
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d pictures failed", failed, len(files))
	}
	return err
}
