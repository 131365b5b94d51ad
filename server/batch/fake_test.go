package batch

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/evopose/evopose/model"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var card = model.Card{Name: "fake", Input: model.Size{H: 4, W: 2}, Heatmap: model.Size{H: 2, W: 1}}

const (
	cropLen = 3 * 4 * 2
	mapLen  = model.Keypoints * 2
)

// fake is a Runner whose heatmap value j of a crop that begins with v is
// v*1000+j, so that a result tells which crop it belongs to.
type fake struct {
	card  model.Card
	delay time.Duration
	do    func(n int) error // nil: nothing

	mu    sync.Mutex
	sizes []int
}

func newFake(delay time.Duration) *fake { return &fake{card: card, delay: delay} }

func (f *fake) Card() model.Card { return f.card }
func (f *fake) Provider() string { return "fake" }
func (f *fake) Close() error     { return nil }

func (f *fake) Run(crops, heatmaps []float32) error {
	n := len(crops) / cropLen
	if len(crops) != n*cropLen || len(heatmaps) != n*mapLen {
		return errors.New("lengths do not match")
	}
	f.mu.Lock()
	f.sizes = append(f.sizes, n)
	f.mu.Unlock()
	time.Sleep(f.delay)
	for i := range n {
		for j := range mapLen {
			heatmaps[i*mapLen+j] = value(crops[i*cropLen], j)
		}
	}
	if f.do != nil {
		return f.do(n)
	}
	return nil
}

func (f *fake) runs() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]int(nil), f.sizes...)
}

func value(v float32, j int) float32 { return v*1000 + float32(j) }

func crop(v int) []float32 {
	c := make([]float32, cropLen)
	for i := range c {
		c[i] = float32(v)
	}
	return c
}

// call is an Infer in another goroutine.
type call struct {
	v        int
	heatmaps []float32
	timing   Timing
	err      error
	took     time.Duration
	done     chan struct{}
}

func start(ctx context.Context, b *Batcher, v int) *call {
	c := &call{v: v, heatmaps: make([]float32, mapLen), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		began := time.Now()
		c.timing, c.err = b.Infer(ctx, crop(v), c.heatmaps)
		c.took = time.Since(began)
	}()
	return c
}

// ok waits for the call and checks that it got its own heatmaps.
func (c *call) ok(t *testing.T) {
	t.Helper()
	<-c.done
	if c.err != nil {
		t.Fatalf("crop %d: %v", c.v, c.err)
	}
	own(t, c.v, c.heatmaps)
}

func (c *call) fails(t *testing.T, want error) {
	t.Helper()
	<-c.done
	if !errors.Is(c.err, want) {
		t.Fatalf("crop %d: error %v, want %v", c.v, c.err, want)
	}
}

func (c *call) timed(t *testing.T, want Timing) {
	t.Helper()
	c.ok(t)
	if c.timing != want {
		t.Errorf("crop %d: timing %+v, want %+v", c.v, c.timing, want)
	}
}

func own(t *testing.T, v int, heatmaps []float32) {
	t.Helper()
	for j, got := range heatmaps {
		if got != value(float32(v), j) {
			t.Fatalf("crop %d: heatmap value %d is %v, want %v", v, j, got, value(float32(v), j))
		}
	}
}

func closeNow(t *testing.T, b *Batcher) {
	t.Helper()
	if err := b.Close(context.Background()); err != nil {
		t.Fatalf("Close: %v", err)
	}
}
