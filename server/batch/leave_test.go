package batch

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A crop whose caller left frees its place at once and is not run; those
// gathered around it still get their own results.
func TestCancelledCropsAreNotRun(t *testing.T) {
	r := newFake(10 * ms)
	bubble(t, Options{Max: 4, Queue: 8}, r, func(t *testing.T, b *Batcher) {
		start(t.Context(), b, 0)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		var stay, leave []*call
		for v := 1; v <= 8; v++ { // 1..4 are gathered, 5..8 queued
			if v%2 == 1 {
				leave = append(leave, start(ctx, b, v))
			} else {
				stay = append(stay, start(t.Context(), b, v))
			}
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		if b.Len() != 4 {
			t.Errorf("%d places taken after four left, want 4", b.Len())
		}
		for _, c := range leave {
			c.fails(t, context.Canceled)
			if c.took != 0 {
				t.Errorf("crop %d left after %v", c.v, c.took)
			}
		}
		for _, c := range stay {
			c.timed(t, Timing{Queue: 10 * ms, Run: 10 * ms, Batch: 4})
		}
		wantRuns(t, r, 1, 4)
	})
}

func TestDeadlineInTheQueue(t *testing.T) {
	r := newFake(10 * ms)
	bubble(t, Options{Max: 4}, r, func(t *testing.T, b *Batcher) {
		start(t.Context(), b, 0)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 4*ms)
		defer cancel()
		late := start(ctx, b, 1)
		late.fails(t, context.DeadlineExceeded)
		if late.took != 4*ms {
			t.Errorf("returned after %v", late.took)
		}
	})
	wantRuns(t, r, 1)
}

func TestEndedContextIsNotAdmitted(t *testing.T) {
	r := newFake(0)
	bubble(t, Options{}, r, func(t *testing.T, b *Batcher) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start(ctx, b, 1).fails(t, context.Canceled)
	})
	wantRuns(t, r)
}

// A caller that leaves during its run returns at once, and its heatmaps stay
// as they were.
func TestLeaveDuringARun(t *testing.T) {
	r := newFake(10 * ms)
	bubble(t, Options{Max: 2}, r, func(t *testing.T, b *Batcher) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*ms)
		defer cancel()
		c := start(ctx, b, 1)
		c.fails(t, context.DeadlineExceeded)
		if c.took != 3*ms {
			t.Errorf("returned after %v", c.took)
		}
		time.Sleep(20 * ms)
		for j, v := range c.heatmaps {
			if v != 0 {
				t.Fatalf("heatmap value %d was written after return: %v", j, v)
			}
		}
		for v := range 5 { // the abandoned output is free again
			start(t.Context(), b, v).ok(t)
		}
	})
}

func TestErrorGoesToEveryCropOfTheRun(t *testing.T) {
	broken := errors.New("broken")
	r := newFake(10 * ms)
	r.do = func(n int) error {
		if n == 2 {
			return broken
		}
		return nil
	}
	bubble(t, Options{Max: 2}, r, func(t *testing.T, b *Batcher) {
		first := start(t.Context(), b, 0)
		synctest.Wait()
		c1, c2 := start(t.Context(), b, 1), start(t.Context(), b, 2)
		synctest.Wait()
		c3 := start(t.Context(), b, 3)
		first.ok(t)
		c1.fails(t, broken)
		c2.fails(t, broken)
		c3.ok(t)
	})
}

// When one run of a call fails, its other crops are not run any more.
func TestErrorDropsTheRestOfTheCall(t *testing.T) {
	broken := errors.New("broken")
	r := newFake(10 * ms)
	r.do = func(int) error { return broken }
	bubble(t, Options{Max: 1, Queue: 8}, r, func(t *testing.T, b *Batcher) {
		_, err := b.InferAll(t.Context(), [][]float32{crop(1), crop(2), crop(3), crop(4)}, maps(4))
		if !errors.Is(err, broken) {
			t.Fatalf("error %v", err)
		}
		if b.Len() != 0 {
			t.Errorf("%d places taken", b.Len())
		}
	})
	if n := len(r.runs()); n > 2 { // the second may begin before the first's error arrives
		t.Errorf("%d runs", n)
	}
}

func TestPanicBecomesAnError(t *testing.T) {
	r := newFake(ms)
	r.do = func(int) error { panic("out of memory") }
	bubble(t, Options{Max: 2}, r, func(t *testing.T, b *Batcher) {
		c := start(t.Context(), b, 1)
		c.fails(t, errPanic)
		if !strings.Contains(c.err.Error(), "out of memory") {
			t.Errorf("error %v", c.err)
		}
		r.do = nil
		start(t.Context(), b, 2).ok(t)
	})
}

func TestCloseDrains(t *testing.T) {
	r := newFake(10 * ms)
	synctest.Test(t, func(t *testing.T) {
		b := New(r, Options{Max: 2, Delay: time.Hour})
		var calls []*call
		for v := range 5 {
			calls = append(calls, start(t.Context(), b, v))
		}
		synctest.Wait()
		began := time.Now()
		closeNow(t, b)
		if d := time.Since(began); d != 30*ms {
			t.Errorf("drained in %v, want three runs without delay", d)
		}
		for _, c := range calls {
			c.ok(t)
		}
		start(t.Context(), b, 9).fails(t, ErrClosed)
		closeNow(t, b) // again
	})
	wantRuns(t, r, 2, 2, 1)
}

// Crops that were being prepared when the batcher was closed are refused.
func TestCloseWhilePreparing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(newFake(ms), Options{Max: 2})
		_, err := b.InferPrepared(t.Context(), 1, func() ([][]float32, [][]float32) {
			closeNow(t, b)
			return [][]float32{crop(1)}, maps(1)
		})
		if !errors.Is(err, ErrClosed) || b.Len() != 0 {
			t.Errorf("error %v, %d places taken", err, b.Len())
		}
	})
}

func TestCloseGivesUp(t *testing.T) {
	r := newFake(10 * ms)
	synctest.Test(t, func(t *testing.T) {
		b := New(r, Options{Max: 2, Queue: 8})
		inRun := start(t.Context(), b, 0)
		synctest.Wait()
		var waiting []*call
		for v := 1; v <= 5; v++ { // two gathered, three queued
			waiting = append(waiting, start(t.Context(), b, v))
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 4*ms)
		defer cancel()
		if err := b.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		for _, c := range waiting {
			c.fails(t, ErrClosed)
			if c.took != 4*ms {
				t.Errorf("crop %d: told after %v", c.v, c.took)
			}
		}
		inRun.ok(t)
		closeNow(t, b)
		if b.Len() != 0 {
			t.Errorf("%d places taken", b.Len())
		}
	})
	wantRuns(t, r, 1)
}

// Many callers, some impatient, each with one to five crops and buffers that
// they use again at once: everybody gets exactly their own results, and the
// queue never exceeds its bound. Run with -race this also proves that the
// buffers are the caller's when Infer returns.
func TestManyCallers(t *testing.T) {
	r := newFake(100 * time.Microsecond)
	o := Options{Max: 7, Delay: 50 * time.Microsecond, Queue: 24}
	b := New(r, o)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() { hammer(t, b, g, o.Queue) })
	}
	wg.Wait()
	closeNow(t, b)
	if b.Len() != 0 {
		t.Errorf("%d places taken at the end", b.Len())
	}
	for _, n := range r.runs() {
		if n < 1 || n > o.Max {
			t.Errorf("a run of %d", n)
		}
	}
}

func hammer(t *testing.T, b *Batcher, g, queue int) {
	rng := rand.New(rand.NewPCG(1, uint64(g)))
	crops, heatmaps := make([][]float32, 5), maps(5)
	for i := range crops {
		crops[i] = make([]float32, cropLen)
	}
	served := 0
	for round := range 300 {
		n := 1 + rng.IntN(5)
		for i := range n {
			crops[i][0] = float32(g*5000 + round*5 + i)
		}
		ctx, cancel := context.WithCancel(context.Background())
		if rng.IntN(3) == 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(400))*time.Microsecond)
		}
		_, err := b.InferAll(ctx, crops[:n], heatmaps[:n])
		cancel()
		switch {
		case err == nil:
			served++
			for i := range n {
				own(t, int(crops[i][0]), heatmaps[i])
			}
		case errors.Is(err, ErrQueueFull):
			time.Sleep(100 * time.Microsecond)
		case !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("unexpected error %v", err)
		}
		if l := b.Len(); l > queue {
			t.Errorf("%d wait, the queue holds %d", l, queue)
		}
	}
	if served == 0 {
		t.Errorf("caller %d was never served", g)
	}
}
