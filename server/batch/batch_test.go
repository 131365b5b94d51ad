package batch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

// bubble runs f on a batcher in fake time and closes it; synctest fails when
// a goroutine is left.
func bubble(t *testing.T, o Options, r *fake, f func(t *testing.T, b *Batcher)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := New(r, o)
		f(t, b)
		closeNow(t, b)
		if n := b.Len(); n != 0 {
			t.Errorf("%d places taken at the end", n)
		}
	})
}

func wantRuns(t *testing.T, r *fake, want ...int) {
	t.Helper()
	if got := r.runs(); !slices.Equal(got, want) {
		t.Errorf("run sizes %v, want %v", got, want)
	}
}

func TestIdleWaitsTheDelayOnly(t *testing.T) {
	r := newFake(10 * ms)
	bubble(t, Options{Max: 4, Delay: 2 * ms}, r, func(t *testing.T, b *Batcher) {
		for range 3 {
			c := start(t.Context(), b, 1)
			c.timed(t, Timing{Queue: 2 * ms, Run: 10 * ms, Batch: 1})
			if c.took != 12*ms {
				t.Errorf("took %v", c.took)
			}
			time.Sleep(ms)
		}
	})
}

func TestNoDelayStartsAtOnce(t *testing.T) {
	bubble(t, Options{Max: 4}, newFake(ms), func(t *testing.T, b *Batcher) {
		start(t.Context(), b, 1).timed(t, Timing{Run: ms, Batch: 1})
	})
}

func TestFullBatchGoesAtOnce(t *testing.T) {
	r := newFake(10 * ms)
	bubble(t, Options{Max: 4, Delay: time.Hour}, r, func(t *testing.T, b *Batcher) {
		var calls []*call
		for v := range 4 {
			calls = append(calls, start(t.Context(), b, v))
		}
		for _, c := range calls {
			c.timed(t, Timing{Run: 10 * ms, Batch: 4})
		}
		wantRuns(t, r, 4)
	})
}

func TestDelayCountsFromTheFirst(t *testing.T) {
	bubble(t, Options{Max: 4, Delay: 5 * ms}, newFake(ms), func(t *testing.T, b *Batcher) {
		first := start(t.Context(), b, 1)
		time.Sleep(3 * ms)
		second := start(t.Context(), b, 2)
		first.timed(t, Timing{Queue: 5 * ms, Run: ms, Batch: 2})
		second.timed(t, Timing{Queue: 2 * ms, Run: ms, Batch: 2})
	})
}

func TestDelayCountsFromTheFirstThatStays(t *testing.T) {
	bubble(t, Options{Max: 4, Delay: 5 * ms}, newFake(ms), func(t *testing.T, b *Batcher) {
		ctx, cancel := context.WithCancel(t.Context())
		first := start(ctx, b, 1)
		time.Sleep(3 * ms)
		second := start(t.Context(), b, 2)
		time.Sleep(ms)
		cancel()
		first.fails(t, context.Canceled)
		second.timed(t, Timing{Queue: 5 * ms, Run: ms, Batch: 1})
	})
}

// While a run is in progress arrivals collect, and those that waited longer
// than the delay go on at once when it ends.
func TestBatchesFillDuringARun(t *testing.T) {
	r := newFake(10 * ms)
	bubble(t, Options{Max: 4, Delay: 2 * ms}, r, func(t *testing.T, b *Batcher) {
		start(t.Context(), b, 0)
		synctest.Wait()
		time.Sleep(3 * ms) // the run is 2..12 ms
		var calls []*call
		for v := 1; v <= 5; v++ {
			calls = append(calls, start(t.Context(), b, v))
			synctest.Wait()
			time.Sleep(ms)
		}
		for i, c := range calls[:4] {
			c.timed(t, Timing{Queue: time.Duration(9-i) * ms, Run: 10 * ms, Batch: 4})
		}
		calls[4].timed(t, Timing{Queue: 15 * ms, Run: 10 * ms, Batch: 1})
		wantRuns(t, r, 1, 4, 1)
	})
}

func TestLateArrivalStillWaitsItsDelay(t *testing.T) {
	bubble(t, Options{Max: 4, Delay: 2 * ms}, newFake(10*ms), func(t *testing.T, b *Batcher) {
		start(t.Context(), b, 0)
		time.Sleep(11 * ms) // the run is 2..12 ms
		start(t.Context(), b, 1).timed(t, Timing{Queue: 2 * ms, Run: 10 * ms, Batch: 1})
	})
}

func TestQueueFull(t *testing.T) {
	r := newFake(10 * ms)
	bubble(t, Options{Max: 2, Queue: 4}, r, func(t *testing.T, b *Batcher) {
		calls := []*call{start(t.Context(), b, 0)}
		synctest.Wait() // in its run: holds no place
		for v := 1; v <= 4; v++ {
			calls = append(calls, start(t.Context(), b, v))
		}
		synctest.Wait()
		refused := start(t.Context(), b, 9)
		refused.fails(t, ErrQueueFull)
		if refused.took != 0 || b.Len() != 4 {
			t.Errorf("refused after %v with %d waiting", refused.took, b.Len())
		}
		for _, c := range calls {
			c.ok(t)
		}
		wantRuns(t, r, 1, 2, 2)
	})
}

func TestSeveralCropsEnterTogetherOrNotAtAll(t *testing.T) {
	r := newFake(10 * ms)
	bubble(t, Options{Max: 2, Queue: 4}, r, func(t *testing.T, b *Batcher) {
		calls := []*call{start(t.Context(), b, 0)}
		synctest.Wait()
		for v := 1; v <= 3; v++ {
			calls = append(calls, start(t.Context(), b, v))
		}
		synctest.Wait()
		_, err := b.InferAll(t.Context(), [][]float32{crop(7), crop(8)}, maps(2))
		if !errors.Is(err, ErrQueueFull) || b.Len() != 3 {
			t.Errorf("error %v with %d waiting, want queue full with 3", err, b.Len())
		}
		for _, c := range calls {
			c.ok(t)
		}
	})
}

func maps(n int) [][]float32 {
	m := make([][]float32, n)
	for i := range m {
		m[i] = make([]float32, mapLen)
	}
	return m
}

func TestInferAllOverSeveralRuns(t *testing.T) {
	r := newFake(10 * ms)
	bubble(t, Options{Max: 3, Queue: 8}, r, func(t *testing.T, b *Batcher) {
		crops, heatmaps := make([][]float32, 8), maps(8)
		for v := range crops {
			crops[v] = crop(v)
		}
		timing, err := b.InferAll(t.Context(), crops, heatmaps)
		if err != nil {
			t.Fatal(err)
		}
		for v := range heatmaps {
			own(t, v, heatmaps[v])
		}
		if want := (Timing{Run: 30 * ms, Batch: 3}); timing != want {
			t.Errorf("timing %+v, want %+v", timing, want)
		}
		wantRuns(t, r, 3, 3, 2)
	})
}

func TestWrongArguments(t *testing.T) {
	bubble(t, Options{Max: 2, Queue: 4}, newFake(0), func(t *testing.T, b *Batcher) {
		for name, c := range map[string]struct {
			crops, heatmaps [][]float32
			want            string
		}{
			"counts":   {[][]float32{crop(1)}, maps(2), "1 crops and 2 heatmaps to fill"},
			"crop":     {[][]float32{crop(1), crop(2)[1:]}, maps(2), "crop 1 has 23 values, want 24"},
			"heatmaps": {[][]float32{crop(1)}, [][]float32{nil}, "heatmaps 0 have 0 values, want 34"},
			"many":     {[][]float32{crop(1), crop(1), crop(1), crop(1), crop(1)}, maps(5), "5 crops, queue 4"},
		} {
			_, err := b.InferAll(t.Context(), c.crops, c.heatmaps)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v, want %q", name, err, c.want)
			}
		}
		if timing, err := b.InferAll(t.Context(), nil, nil); err != nil || timing != (Timing{}) {
			t.Errorf("no crops: %v %v", timing, err)
		}
	})
}

// Crops are prepared only when they are admitted, hold their places meanwhile,
// and give them back when preparing fails.
func TestPreparedAfterAdmission(t *testing.T) {
	bubble(t, Options{Max: 2, Queue: 3}, newFake(ms), func(t *testing.T, b *Batcher) {
		heatmaps := maps(3)
		_, err := b.InferPrepared(t.Context(), 3, func() ([][]float32, [][]float32) {
			if b.Len() != 3 {
				t.Errorf("%d places taken while preparing, want 3", b.Len())
			}
			_, err := b.InferPrepared(t.Context(), 1, func() ([][]float32, [][]float32) {
				t.Error("refused crops were prepared")
				return nil, nil
			})
			if !errors.Is(err, ErrQueueFull) {
				t.Errorf("error %v", err)
			}
			return [][]float32{crop(1), crop(2), crop(3)}, heatmaps
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range heatmaps {
			own(t, i+1, heatmaps[i])
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			b.InferPrepared(t.Context(), 2, func() ([][]float32, [][]float32) { panic("bad picture") })
		}()
		if b.Len() != 0 {
			t.Errorf("%d places taken after a panic", b.Len())
		}
	})
}

func TestOnRun(t *testing.T) {
	var sizes []int
	o := Options{Max: 2, OnRun: func(size int, d time.Duration) {
		if d != 7*ms {
			t.Errorf("run took %v", d)
		}
		sizes = append(sizes, size)
	}}
	bubble(t, o, newFake(7*ms), func(t *testing.T, b *Batcher) {
		if _, err := b.InferAll(t.Context(), [][]float32{crop(1), crop(2), crop(3)}, maps(3)); err != nil {
			t.Fatal(err)
		}
	})
	if !slices.Equal(sizes, []int{2, 1}) {
		t.Errorf("sizes %v", sizes)
	}
}

func TestDefaults(t *testing.T) {
	if o := (Options{}).withDefaults(); o.Max != 16 || o.Queue != 256 {
		t.Errorf("%+v", o)
	}
}

func TestWarmRunsOneAndMax(t *testing.T) {
	r := newFake(ms)
	bubble(t, Options{Max: 4}, r, func(t *testing.T, b *Batcher) {
		if err := b.Warm(); err != nil {
			t.Error(err)
		}
		start(t.Context(), b, 1).ok(t)
	})
	wantRuns(t, r, 1, 4, 1)
}

func TestWarmNamesTheBatchThatFails(t *testing.T) {
	r := newFake(ms)
	r.do = func(n int) error {
		if n > 1 {
			panic("out of memory")
		}
		return nil
	}
	bubble(t, Options{Max: 4}, r, func(t *testing.T, b *Batcher) {
		if err := b.Warm(); !errors.Is(err, errPanic) || !strings.HasPrefix(err.Error(), "batch of 4: ") {
			t.Errorf("error %v", err)
		}
	})
}

func TestWarmWithBatchesOfOne(t *testing.T) {
	r := newFake(ms)
	bubble(t, Options{Max: 1}, r, func(t *testing.T, b *Batcher) {
		if err := b.Warm(); err != nil {
			t.Error(err)
		}
	})
	wantRuns(t, r, 1)
}
