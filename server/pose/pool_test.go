package pose

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/modeltest"
	"github.com/evopose/evopose/server/batch"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is a network of EvoPose2D S's shape with few pixels.
func small(name string) model.Card {
	return model.Card{Name: name, Genotype: model.GenotypeS, Input: model.Size{H: 128, W: 96},
		Heatmap: model.Size{H: 64, W: 48}, Licence: "Apache-2.0", Data: "none"}
}

// shelf is a registry of two models and the fake runners opened from it.
type shelf struct {
	options PoolOptions
	prepare func(*modeltest.Runner) error // what opening a model does

	mu      sync.Mutex
	runners map[string]*modeltest.Runner
	opened  atomic.Int32
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	onnx := func() ([]byte, error) { return []byte("onnx"), nil }
	registry, err := model.OpenRegistry("",
		model.Builtin{Card: small("evopose2d-s"), Build: onnx},
		model.Builtin{Card: small("evopose2d-m"), Build: onnx})
	if err != nil || len(registry.Names()) != 2 {
		t.Fatal(err, registry.Broken())
	}
	s := &shelf{runners: map[string]*modeltest.Runner{}, prepare: func(*modeltest.Runner) error { return nil }}
	s.options = PoolOptions{Registry: registry, Open: s.open, Batch: batch.Options{Max: 4, Delay: ms}}
	return s
}

const ms = time.Millisecond

func (s *shelf) open(onnx []byte, card model.Card) (model.Runner, error) {
	s.opened.Add(1)
	if string(onnx) != "onnx" {
		return nil, errors.New("wrong bytes")
	}
	r := modeltest.New(card)
	s.mu.Lock()
	s.runners[card.Name] = r
	s.mu.Unlock()
	return r, s.prepare(r)
}

func (s *shelf) runner(name string) *modeltest.Runner {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runners[name]
}

func closePool(t *testing.T, p *Pool) {
	t.Helper()
	if err := p.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestGetLoadsOnceAndWarms(t *testing.T) {
	s := newShelf(t)
	synctest.Test(t, func(t *testing.T) {
		s.prepare = func(r *modeltest.Runner) error { r.Delay = ms; time.Sleep(10 * ms); return nil }
		p := NewPool(s.options)
		defer closePool(t, p)
		models := make([]*Model, 20)
		var wg sync.WaitGroup
		for i := range models {
			wg.Go(func() {
				m, err := p.Get(t.Context(), []string{"evopose2d-s", "s"}[i%2])
				if err != nil {
					t.Error(err)
				}
				models[i] = m
			})
		}
		wg.Wait()
		for _, m := range models {
			if m != models[0] {
				t.Fatal("two models were loaded")
			}
		}
		if got := s.runner("evopose2d-s").BatchSizes(); !slices.Equal(got, []int{1, 4}) || s.opened.Load() != 1 {
			t.Errorf("opened %d times, warm-up runs %v", s.opened.Load(), got)
		}
	})
}

func TestLoadedIsSorted(t *testing.T) {
	p := NewPool(newShelf(t).options)
	defer closePool(t, p)
	if got := p.Loaded(); len(got) != 0 {
		t.Errorf("%d models before the first Get", len(got))
	}
	for _, name := range []string{"s", "m"} {
		if _, err := p.Get(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	got := p.Loaded()
	if len(got) != 2 || got[0].Card.Name != "evopose2d-m" || got[1].Card.Name != "evopose2d-s" {
		t.Errorf("loaded %v", got)
	}
}

func TestUnknownModel(t *testing.T) {
	p := NewPool(newShelf(t).options)
	defer closePool(t, p)
	if _, err := p.Get(t.Context(), "xl"); !errors.Is(err, model.ErrUnknownModel) {
		t.Errorf("error %v", err)
	}
}

func TestFailedLoadMayBeTriedAgain(t *testing.T) {
	broken := errors.New("broken")
	for name, prepare := range map[string]func(*modeltest.Runner) error{
		"open":    func(*modeltest.Runner) error { return broken },
		"warm-up": func(r *modeltest.Runner) error { r.Before = func(int) error { return broken }; return nil },
		"batch":   func(r *modeltest.Runner) error { r.Before = failAt(4, broken); return nil },
		"panic":   func(r *modeltest.Runner) error { r.Before = func(int) error { panic("broken") }; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			p := NewPool(s.options)
			defer closePool(t, p)
			s.prepare = prepare
			_, err := p.Get(t.Context(), "s")
			if err == nil || name != "panic" && !errors.Is(err, broken) {
				t.Fatalf("error %v", err)
			}
			if r := s.runner("evopose2d-s"); name != "open" && !r.Closed() {
				t.Error("the runner was left open")
			}
			s.prepare = func(*modeltest.Runner) error { return nil }
			if _, err := p.Get(t.Context(), "s"); err != nil {
				t.Errorf("second try: %v", err)
			}
		})
	}
}

func failAt(size int, err error) func(n int) error {
	return func(n int) error {
		if n == size {
			return err
		}
		return nil
	}
}

func TestImpatientGetLeavesTheLoadGoingOn(t *testing.T) {
	s := newShelf(t)
	synctest.Test(t, func(t *testing.T) {
		s.prepare = func(*modeltest.Runner) error { time.Sleep(10 * ms); return nil }
		p := NewPool(s.options)
		defer closePool(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), 3*ms)
		defer cancel()
		if _, err := p.Get(ctx, "s"); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrLoading) {
			t.Errorf("error %v", err)
		}
		if _, err := p.Get(t.Context(), "s"); err != nil || s.opened.Load() != 1 {
			t.Errorf("error %v, opened %d times", err, s.opened.Load())
		}
	})
}

func TestOnRunNamesTheModelAndLeavesWarmUpsOut(t *testing.T) {
	s := newShelf(t)
	var runs []string
	s.options.OnRun = func(name string, size int, _ time.Duration) {
		if size != 1 {
			t.Errorf("a run of %d", size)
		}
		runs = append(runs, name)
	}
	p := NewPool(s.options)
	for _, name := range []string{"m", "s"} {
		m, err := p.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := m.Estimate(t.Context(), picture(1), nil, Options{}); err != nil {
			t.Fatal(err)
		}
		closeBatcher(t, m) // OnRun comes from the batcher's goroutine
	}
	closePool(t, p)
	if !slices.Equal(runs, []string{"evopose2d-m", "evopose2d-s"}) {
		t.Errorf("runs %v", runs)
	}
}

func closeBatcher(t *testing.T, m *Model) {
	t.Helper()
	if err := m.Batcher.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestCloseDrainsThenClosesRunners(t *testing.T) {
	s := newShelf(t)
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(s.options)
		m, err := p.Get(t.Context(), "s")
		if err != nil {
			t.Fatal(err)
		}
		s.runner("evopose2d-s").Before = func(int) error { time.Sleep(10 * ms); return nil }
		var wg sync.WaitGroup
		for i := range 9 {
			wg.Go(func() {
				if _, _, err := m.Estimate(t.Context(), picture(i), nil, Options{}); err != nil {
					t.Errorf("estimate %d: %v", i, err) // a run after Close would be an error
				}
			})
		}
		synctest.Wait()
		closePool(t, p)
		wg.Wait()
		if !s.runner("evopose2d-s").Closed() {
			t.Error("the runner was left open")
		}
		if _, err := p.Get(t.Context(), "s"); !errors.Is(err, ErrClosed) {
			t.Errorf("Get after Close: %v", err)
		}
		if len(p.Loaded()) != 0 {
			t.Error("models after Close")
		}
	})
}

func TestCloseDuringALoad(t *testing.T) {
	s := newShelf(t)
	synctest.Test(t, func(t *testing.T) {
		s.prepare = func(*modeltest.Runner) error { time.Sleep(10 * ms); return nil }
		p := NewPool(s.options)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := p.Get(t.Context(), "s"); !errors.Is(err, ErrClosed) {
				t.Errorf("Get: %v", err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*ms)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		closePool(t, p)
		wg.Wait()
		if !s.runner("evopose2d-s").Closed() {
			t.Error("the runner was left open")
		}
	})
}
