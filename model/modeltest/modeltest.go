// Package modeltest provides a fake model.Runner, for tests that need no
// ONNX Runtime.
package modeltest

import (
	"errors"
	"math"
	"sync"
	"time"

	"github.com/evopose/evopose/model"
)

// Runner is a fake network: the heatmaps of a crop are Gaussians whose places
// follow from the crop's own pixels, so a result given to the wrong caller
// shows. The exported fields may be set before the first Run.
type Runner struct {
	// Delay is slept in each run.
	Delay time.Duration
	// Before, if set, is called at the start of each run with the number of
	// crops; a returned error is the run's.
	Before func(n int) error

	card   model.Card
	mu     sync.Mutex
	closed bool
	sizes  []int
}

// New returns a fake network of the card's sizes.
func New(card model.Card) *Runner { return &Runner{card: card} }

// Card returns a card with the sizes of EvoPose2D S.
func Card() model.Card {
	return model.Card{Name: "evopose2d-s", Genotype: model.GenotypeS, Input: model.Size{H: 256, W: 192},
		Heatmap: model.Size{H: 128, W: 96}, SHA256: "fake", Licence: "Apache-2.0"}
}

// Card implements model.Runner.
func (r *Runner) Card() model.Card { return r.card }

// Provider implements model.Runner.
func (r *Runner) Provider() string { return "cpu" }

// Run implements model.Runner.
func (r *Runner) Run(crops, heatmaps []float32) error {
	in, out := 3*r.card.Input.Area(), model.Keypoints*r.card.Heatmap.Area()
	n := len(crops) / in
	if n < 1 || len(crops) != n*in || len(heatmaps) != n*out {
		return errors.New("modeltest: wrong tensor lengths")
	}
	r.mu.Lock()
	closed := r.closed
	r.sizes = append(r.sizes, n)
	r.mu.Unlock()
	if closed {
		return errors.New("modeltest: runner is closed")
	}
	if r.Before != nil {
		if err := r.Before(n); err != nil {
			return err
		}
	}
	time.Sleep(r.Delay)
	for i := range n {
		Fill(heatmaps[i*out:(i+1)*out], crops[i*in:(i+1)*in], r.card.Heatmap)
	}
	return nil
}

// Fill writes the fake network's answer to one crop.
func Fill(heatmaps, crop []float32, size model.Size) {
	var sum float64
	for i := 0; i < len(crop); i += 97 {
		sum += math.Abs(float64(crop[i])) * float64(1+i%13)
	}
	sigma := model.Sigma(size)
	for k := range model.Keypoints {
		x := place(sum*(1+float64(k)/7), size.W)
		y := place(sum*(2+float64(k)/5), size.H)
		gaussian(heatmaps[k*size.Area():(k+1)*size.Area()], size, x, y, sigma)
	}
}

// place maps a number to a place along a side, away from the borders.
func place(v float64, side int) float64 {
	margin := min(8, side/4)
	return float64(margin) + math.Mod(v, float64(side-2*margin))
}

// gaussian draws a peak of model.Amplitude; beyond six sigma it is zero.
func gaussian(dst []float32, size model.Size, x, y, sigma float64) {
	clear(dst)
	reach := int(6*sigma) + 1
	for v := max(0, int(y)-reach); v < min(size.H, int(y)+reach+1); v++ {
		for u := max(0, int(x)-reach); u < min(size.W, int(x)+reach+1); u++ {
			d := (float64(u)-x)*(float64(u)-x) + (float64(v)-y)*(float64(v)-y)
			dst[v*size.W+u] = float32(model.Amplitude * math.Exp(-d/(2*sigma*sigma)))
		}
	}
}

// BatchSizes returns the number of crops of each run so far.
func (r *Runner) BatchSizes() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]int(nil), r.sizes...)
}

// Close implements model.Runner.
func (r *Runner) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}

// Closed reports whether Close was called.
func (r *Runner) Closed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}
