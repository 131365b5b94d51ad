package modeltest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/evopose/evopose/model"
)

var _ model.Runner = (*Runner)(nil)

// crops returns n different crops of a card, one after the other.
func crops(c model.Card, n int) []float32 {
	data := make([]float32, n*3*c.Input.Area())
	for i := range data {
		data[i] = float32(i%1013)/500 - 1 + float32(i/(3*c.Input.Area()))/3
	}
	return data
}

func heatmaps(c model.Card, n int) []float32 {
	return make([]float32, n*model.Keypoints*c.Heatmap.Area())
}

// Each crop has its own heatmaps wherever it stands in a batch, so a mix-up
// shows; equal crops have equal ones.
func TestHeatmapsFollowTheCrop(t *testing.T) {
	c := Card()
	r := New(c)
	in, out := crops(c, 3), heatmaps(c, 3)
	if err := r.Run(in, out); err != nil {
		t.Fatal(err)
	}
	size, area := len(out)/3, len(in)/3
	for i := range 3 {
		alone := heatmaps(c, 1)
		if err := r.Run(in[i*area:(i+1)*area], alone); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(alone, out[i*size:(i+1)*size]) {
			t.Errorf("crop %d has other heatmaps alone than in a batch", i)
		}
	}
	if slices.Equal(out[:size], out[size:2*size]) || slices.Equal(out[size:2*size], out[2*size:]) {
		t.Error("different crops have equal heatmaps")
	}
	if got := r.BatchSizes(); !slices.Equal(got, []int{3, 1, 1, 1}) {
		t.Errorf("batch sizes %v", got)
	}
}

// Every map has a peak and the maps of the keypoints differ, at the published
// size and at heatmaps where no margin of eight pixels is left. (A peak between
// pixels is low where sigma is half a pixel.)
func TestPeaks(t *testing.T) {
	for _, size := range []model.Size{{H: 128, W: 96}, {H: 32, W: 16}, {H: 16, W: 12}} {
		maps := make([]float32, model.Keypoints*size.Area())
		Fill(maps, crops(Card(), 1), size)
		for k := range model.Keypoints {
			one := maps[k*size.Area() : (k+1)*size.Area()]
			if most := slices.Max(one); most < 0.01*model.Amplitude || most > model.Amplitude {
				t.Errorf("%v: keypoint %d: peak %v", size, k, most)
			}
		}
		if slices.Equal(maps[:size.Area()], maps[size.Area():2*size.Area()]) {
			t.Errorf("%v: two keypoints have the same map", size)
		}
	}
}

func TestErrors(t *testing.T) {
	c := Card()
	r := New(c)
	for name, tt := range map[string]struct{ in, out int }{
		"no crop": {0, 0}, "half a crop": {len(crops(c, 1)) / 2, len(heatmaps(c, 1))},
		"too few heatmaps": {len(crops(c, 2)), len(heatmaps(c, 1))}, "too many": {len(crops(c, 1)), len(heatmaps(c, 1)) + 1},
	} {
		if err := r.Run(make([]float32, tt.in), make([]float32, tt.out)); err == nil || !strings.Contains(err.Error(), "tensor lengths") {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("broken")
	r.Before = func(n int) error {
		if n == 2 {
			return broken
		}
		return nil
	}
	if err := r.Run(crops(c, 1), heatmaps(c, 1)); err != nil {
		t.Error(err)
	}
	if err := r.Run(crops(c, 2), heatmaps(c, 2)); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if r.Closed() {
		t.Error("closed before Close")
	}
	if err := r.Close(); err != nil || !r.Closed() {
		t.Error(err)
	}
	if err := r.Run(crops(c, 1), heatmaps(c, 1)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
}

func TestConcurrentRuns(t *testing.T) {
	c := Card()
	r := New(c)
	in := crops(c, 1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := r.Run(in, heatmaps(c, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := len(r.BatchSizes()); got != 8 {
		t.Errorf("%d runs were counted, want 8", got)
	}
	if r.Card().Name != c.Name || r.Provider() != "cpu" {
		t.Errorf("card %v, provider %q", r.Card(), r.Provider())
	}
}
