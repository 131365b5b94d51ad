package batch

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evopose/evopose/model"
)

// BenchmarkBatcher measures the batcher's own cost per crop of EvoPose2D S
// (256x192, heatmap 128x96) with a network that costs nothing, and how full
// its batches are with one that takes a millisecond.
func BenchmarkBatcher(b *testing.B) {
	for _, delay := range []time.Duration{0, time.Millisecond} {
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("run=%v/clients=%d", delay, clients), func(b *testing.B) { benchmark(b, delay, clients) })
		}
	}
}

// idle is a Runner that computes nothing.
type idle struct {
	fake
	runs int
}

func (r *idle) Run(_, _ []float32) error {
	r.runs++
	time.Sleep(r.delay)
	return nil
}

func benchmark(b *testing.B, delay time.Duration, clients int) {
	r := &idle{}
	r.delay = delay
	r.card = model.Card{Input: model.Size{H: 256, W: 192}, Heatmap: model.Size{H: 128, W: 96}}
	bt := New(r, Options{Max: 16})
	crops, heatmaps := make([][]float32, clients), make([][]float32, clients)
	for i := range clients {
		crops[i], heatmaps[i] = make([]float32, bt.cropLen), make([]float32, bt.mapLen)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := bt.Infer(context.Background(), crops[i], heatmaps[i]); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if err := bt.Close(context.Background()); err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(b.N)/float64(r.runs), "crops/run")
}
