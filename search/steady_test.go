package search

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// sleeper is an Evaluator that takes a job's own time: from 1 to 3 minutes, as
// networks of this space differ in speed, and now and then four times as long.
type sleeper struct{ fake }

func (s *sleeper) Evaluate(ctx context.Context, job Job, _ []byte, progress func(int, float64)) (Result, []byte, error) {
	rng := rand.New(rand.NewPCG(job.Seed, 99))
	minutes := 1 + 2*rng.Float64()
	if rng.IntN(20) == 0 {
		minutes *= 4
	}
	select {
	case <-time.After(time.Duration(minutes * float64(time.Minute))):
	case <-ctx.Done():
		return Result{}, nil, ctx.Err()
	}
	r := s.result(job, progress)
	r.Seconds = 60 * minutes
	return r, fmt.Appendf(nil, "weights of %d", job.ID), nil
}

// efficiency is the share of the workers' time in which they work, in a search
// of 6 generations of 32 children.
func efficiency(t *testing.T, workers int, window int) (share float64, best float64) {
	s := small()
	s.Generations, s.Children, s.Parents, s.Window = 6, 32, 4, window
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j, err := OpenJournal(dir, Header{Settings: s})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		engine, err := NewLocal(&sleeper{}, workers, dir)
		if err != nil {
			t.Fatal(err)
		}
		var began time.Time
		entries, err := Evolve(t.Context(), s, engine, j, &starter{began: &began})
		if err != nil {
			t.Fatal(err)
		}
		worked := 0.0
		for _, e := range entries[1:] {
			worked += e.Result.Seconds
		}
		share = worked / (time.Since(began).Seconds() * float64(workers))
		best = Fitness(s.Cost, s.Best(entries)[0].Result)
	})
	return share, best
}

// starter notes when the ancestor, which only one worker can train, is there.
type starter struct {
	Silent
	began *time.Time
}

func (s *starter) Generation(g int, _ []Entry) {
	if g == 0 {
		*s.began = time.Now()
	}
}

// Without a barrier workers do not wait for the slowest child of a generation,
// and what is found is about as good. That they wait at all is for the slowest
// evaluation in the window, and at the end.
func TestSteadyStateKeepsWorkersBusy(t *testing.T) {
	const workers = 8
	barrier, found := efficiency(t, workers, 0)
	steady, foundSteady := efficiency(t, workers, 64)
	t.Logf("busy %.3f of the time with generations (best %.3f), %.3f in a steady state (best %.3f)", barrier, found, steady, foundSteady)
	if steady < barrier+0.05 {
		t.Errorf("%.3f of the time at work in a steady state, %.3f with generations", steady, barrier)
	}
	if foundSteady > 1.05*found {
		t.Errorf("the steady state found %.3f, generations %.3f", foundSteady, found)
	}
}
