// Package pose turns a picture and person boxes into people with keypoints:
// crop, network, decoding. Server, predict, eval and bench share it, so that
// the same picture gives the same numbers everywhere. It knows no HTTP, and
// the runtime is injected, so that tests need none.
package pose

import (
	"context"
	"fmt"
	"image"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/preprocess"
	"github.com/evopose/evopose/server/batch"
)

// Inferer computes the heatmaps of n crops, which prepare makes when all of
// them are admitted; *batch.Batcher is one. When it returns, for whatever
// reason, it has let go of all slices.
type Inferer interface {
	InferPrepared(ctx context.Context, n int, prepare func() (crops, heatmaps [][]float32)) (batch.Timing, error)
}

// Options say how a picture's people are estimated.
type Options struct {
	// Decode is how a keypoint's place is read from its heatmap.
	Decode postprocess.Decode
	// Flip averages the heatmaps of each crop with those of its mirror image:
	// a little more accurate, twice the work.
	Flip bool
	// MinScore drops people whose score is below it, 0..1; 0 keeps everybody.
	// A person who is kept has all 17 keypoints, each with its own score.
	MinScore float64
	// NMS drops of two people whose OKS (object keypoint similarity) exceeds
	// it the one with the lower score, (0, 1]; 0 keeps both. It is for boxes
	// that come from a detector; boxes that a user drew need none.
	NMS float64
}

// Validate reports an option outside its range.
func (o Options) Validate() error {
	for _, c := range []struct {
		name  string
		value float64
	}{{"min_score", o.MinScore}, {"nms", o.NMS}} {
		if !(c.value >= 0 && c.value <= 1) { // also catches NaN
			return fmt.Errorf("%s is %v, want a number from 0 to 1", c.name, c.value)
		}
	}
	return nil
}

// Timing tells where an estimation's time went.
type Timing struct {
	// Crop is the time to cut the crops out of the picture.
	Crop time.Duration
	// Queue is the time until the first crop's run began.
	Queue time.Duration
	// Infer is the time from then until the last crop's heatmaps were there.
	Infer time.Duration
	// Keypoints is the time to decode the heatmaps.
	Keypoints time.Duration
}

// BoxError says which box cannot be cropped, and why.
type BoxError struct{ error }

// Unwrap returns preprocess's error.
func (e BoxError) Unwrap() error { return e.error }

// Estimator estimates people with one network. It is safe for concurrent use.
type Estimator struct {
	inferer Inferer
	input   model.Size
	heatmap model.Size
	buffers sync.Pool // of *buffer; unused ones go back to the system with the garbage
}

// buffer is the memory of one crop and its heatmaps.
type buffer struct{ crop, heatmaps []float32 }

// NewEstimator returns an estimator for the network that in runs; card gives
// its input and heatmap sizes.
func NewEstimator(in Inferer, card model.Card) *Estimator {
	e := &Estimator{inferer: in, input: card.Input, heatmap: card.Heatmap}
	e.buffers.New = func() any {
		return &buffer{
			crop:     make([]float32, 3*e.input.Area()),
			heatmaps: make([]float32, model.Keypoints*e.heatmap.Area()),
		}
	}
	return e
}

// WholePicture is the box that stands for a picture without boxes.
func WholePicture(img image.Image) preprocess.Box {
	size := img.Bounds().Size()
	return preprocess.Box{W: float64(size.X), H: float64(size.Y)}
}

// Estimate returns the people in the boxes of an upright picture, in the order
// of the boxes; without boxes the whole picture is one person's box. A box's
// own score counts as 1. Coordinates are pixels of img, whose origin is (0,0).
//
// Errors: a BoxError, an option's, or the Inferer's (such as
// batch.ErrQueueFull or that of ctx).
func (e *Estimator) Estimate(ctx context.Context, img *image.NRGBA, boxes []preprocess.Box, o Options) ([]postprocess.Person, Timing, error) {
	if err := o.Validate(); err != nil {
		return nil, Timing{}, err
	}
	if len(boxes) == 0 {
		boxes = []preprocess.Box{WholePicture(img)}
	}
	if err := preprocess.ValidateBoxes(boxes); err != nil {
		return nil, Timing{}, BoxError{err}
	}
	w := &work{affines: make([]preprocess.Affine, len(boxes)), flip: o.Flip}
	defer e.free(w)

	var t Timing
	run, err := e.inferer.InferPrepared(ctx, w.count(), func() ([][]float32, [][]float32) {
		began := time.Now()
		e.allocate(w)
		w.crop(img, boxes, e.input)
		t.Crop = time.Since(began)
		return w.crops, w.heatmaps
	})
	if err != nil {
		return nil, t, err
	}
	t.Queue, t.Infer = run.Queue, run.Run

	began := time.Now()
	people := e.people(w, boxes, o)
	t.Keypoints = time.Since(began)
	return people, t, nil
}

// work is one picture's crops: those of the boxes, then with the flip test
// their mirror images in the same order.
type work struct {
	buffers         []*buffer
	crops, heatmaps [][]float32
	affines         []preprocess.Affine
	flip            bool
}

// count returns the number of crops.
func (w *work) count() int {
	if w.flip {
		return 2 * len(w.affines)
	}
	return len(w.affines)
}

// allocate takes the crops' memory out of the pool.
func (e *Estimator) allocate(w *work) {
	for range w.count() {
		b := e.buffers.Get().(*buffer)
		w.buffers = append(w.buffers, b)
		w.crops = append(w.crops, b.crop)
		w.heatmaps = append(w.heatmaps, b.heatmaps)
	}
}

func (e *Estimator) free(w *work) {
	for _, b := range w.buffers {
		e.buffers.Put(b)
	}
}

func (w *work) crop(img *image.NRGBA, boxes []preprocess.Box, input model.Size) {
	n := len(boxes)
	for i, b := range boxes {
		w.affines[i] = preprocess.NewAffine(b, input)
	}
	preprocess.CropAll(w.crops[:n], img, w.affines)
	for i, mirrored := range w.crops[n:] {
		preprocess.Mirror(mirrored, w.crops[i], input)
	}
}

// people decodes the heatmaps and leaves out who the options leave out.
func (e *Estimator) people(w *work, boxes []preprocess.Box, o Options) []postprocess.Person {
	people := make([]postprocess.Person, len(boxes))
	parallel(len(boxes), func(i int) { people[i] = e.person(w, i, boxes[i], o.Decode) })
	if o.NMS > 0 {
		people = pick(people, postprocess.Suppress(people, o.NMS))
	}
	if o.MinScore <= 0 {
		return people
	}
	kept := people[:0]
	for _, p := range people {
		if p.Score >= o.MinScore {
			kept = append(kept, p)
		}
	}
	return kept
}

func (e *Estimator) person(w *work, i int, b preprocess.Box, d postprocess.Decode) postprocess.Person {
	heatmaps := w.heatmaps[i]
	if w.flip {
		postprocess.MergeFlip(heatmaps, w.heatmaps[len(w.affines)+i], e.heatmap)
	}
	keypoints := postprocess.Keypoints(heatmaps, e.heatmap, w.affines[i], d)
	return postprocess.Person{
		Box:       [4]float64{b.X, b.Y, b.W, b.H},
		Score:     postprocess.PersonScore(keypoints, 1),
		Keypoints: keypoints,
	}
}

func pick(people []postprocess.Person, indices []int) []postprocess.Person {
	picked := make([]postprocess.Person, len(indices))
	for i, index := range indices {
		picked[i] = people[index]
	}
	return picked
}

// parallel calls f for 0..n-1 on as many goroutines as there are processors.
func parallel(n int, f func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}
