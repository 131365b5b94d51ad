package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/preprocess"
	"github.com/evopose/evopose/search/coco"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// evaluation finds the people of a set.
type evaluation struct {
	predictor
	set        *evalSet
	nms        float64
	skipBroken bool
	stderr     io.Writer

	results []coco.Result  // in the order of the set's pictures
	broken  map[int64]bool // IDs of pictures that could not be read
}

// all looks at every picture, several at once. The error is that of ctx, or
// says how many pictures are broken when they may not be.
func (e *evaluation) all(ctx context.Context) error {
	files := make([]string, len(e.set.images))
	for i, img := range e.set.images {
		files[i] = e.set.path(img)
	}
	e.boxes = e.set.boxes
	e.broken = map[int64]bool{}
	bar := newEvalBar(e.stderr, len(files))
	next := 0
	_, err := e.each(ctx, files, func(p prediction) error {
		if ctx.Err() != nil {
			return ctx.Err() // the picture is not broken
		}
		e.add(e.set.images[next], p, bar)
		next++
		return bar.Add(1)
	})
	_ = bar.Clear()
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted after %d of %d pictures: %w", next, len(files), ctx.Err())
	}
	if err != nil {
		return err
	}
	if n := len(e.broken); n > 0 && (!e.skipBroken || n == len(files)) {
		return fmt.Errorf("%d of %d pictures are broken; --skip-broken leaves such pictures and their labels out", n, len(files))
	}
	return nil
}

// add takes in what was found in a picture.
func (e *evaluation) add(img coco.Image, p prediction, bar *progressbar.ProgressBar) {
	if p.Error == "" {
		p.Error = sizeError(img, p.Image)
	}
	if p.Error != "" {
		_ = bar.Clear()
		fmt.Fprintf(e.stderr, "evopose: %s: %s\n", p.File, p.Error)
		e.broken[img.ID] = true
		return
	}
	targets := e.set.targets[p.File]
	for i, t := range targets {
		p.People[i].Score *= t.score
	}
	kept := indices(len(targets))
	if e.nms > 0 {
		kept = postprocess.Suppress(p.People, e.nms)
	}
	for _, i := range kept {
		e.results = append(e.results, newResult(img.ID, targets[i].annotation, p.People[i]))
	}
}

// sizeError tells of a picture whose labels are those of another size; a file
// need not state sizes.
func sizeError(img coco.Image, got *imageSize) string {
	if img.Width == 0 && img.Height == 0 || img.Width == got.Width && img.Height == got.Height {
		return ""
	}
	return fmt.Sprintf("the picture is %dx%d pixels upright, by the annotation file %dx%d: its labels do not fit",
		got.Width, got.Height, img.Width, img.Height)
}

// indices returns 0 to n-1.
func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func newResult(image, annotation int64, p postprocess.Person) coco.Result {
	r := coco.Result{ImageID: image, AnnotationID: annotation, Score: p.Score,
		Box: preprocess.Box{X: p.Box[0], Y: p.Box[1], W: p.Box[2], H: p.Box[3]}}
	for k, point := range p.Keypoints {
		r.Keypoints[k] = coco.Point{X: point.X, Y: point.Y, Score: point.Score}
	}
	return r
}

// readable returns the data set without the broken pictures.
func (e *evaluation) readable() *coco.Dataset {
	d := *e.set.dataset
	d.Images = slices.DeleteFunc(slices.Clone(d.Images), func(img coco.Image) bool { return e.broken[img.ID] })
	return &d
}

// newEvalBar returns a progress bar, which shows only on a terminal.
func newEvalBar(w io.Writer, pictures int) *progressbar.ProgressBar {
	f, ok := w.(*os.File)
	return progressbar.NewOptions(pictures,
		progressbar.OptionSetWriter(w), progressbar.OptionSetVisibility(ok && term.IsTerminal(int(f.Fd()))),
		progressbar.OptionSetDescription("pictures"), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("pictures"), progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}
