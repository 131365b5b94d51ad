package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs/jobstest"
)

// counting is an evaluator that counts its jobs and stops after some; -1: never.
type counting struct {
	mu    sync.Mutex
	jobs  map[string]int
	after int
}

func (c *counting) Evaluate(ctx context.Context, job search.Job, parent []byte, progress func(int, float64)) (search.Result, []byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.after == 0 {
		return search.Result{}, nil, context.Canceled
	}
	c.after--
	c.jobs[fmt.Sprint(job.Seed, job.Genotype, job.ParentWeights)]++
	return jobstest.Evaluator{}.Evaluate(ctx, job, parent, progress)
}

// trainIn carries searches of two seeds out, by an evaluator that stops.
func trainIn(t *testing.T, dir string, after int) (map[string]int, error) {
	t.Helper()
	o := options{seeds: 2, generations: 3, children: 4, workers: 2, training: training{out: dir, size: "64x64"}}
	from := []byte("weights")
	s, err := o.trainedSettings(from)
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{jobs: map[string]int{}, after: after}
	return c.jobs, o.searchAll(t.Context(), search.Header{Settings: s}, c, from)
}

// TestTrainedGoesOn interrupts searches and requires the results of those that
// were not, and that the ways share what they have in common.
func TestTrainedGoesOn(t *testing.T) {
	whole, parts := t.TempDir(), t.TempDir()
	jobs, err := trainIn(t, whole, -1)
	if err != nil {
		t.Fatal(err)
	}
	// 13 evaluations a search; the ancestor and the first children are those of
	// all three ways.
	if most := 2 * (3*13 - 2*5); len(jobs) > most || len(jobs) < 2*13 {
		t.Errorf("%d different jobs, want at most %d", len(jobs), most)
	}
	for job, n := range jobs {
		if n != 1 {
			t.Errorf("%s was carried out %d times", job, n)
		}
	}
	for _, after := range []int{0, 3, 10, 21} {
		if _, err := trainIn(t, parts, after); !errors.Is(err, context.Canceled) {
			t.Errorf("after %d: %v", after, err)
		}
	}
	if _, err := trainIn(t, parts, -1); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(trainedIn(t, whole), trainedIn(t, parts)); diff != "" {
		t.Error(diff)
	}
}

// trainedIn are the losses that a folder's searches found.
func trainedIn(t *testing.T, dir string) map[string][]float64 {
	t.Helper()
	found, err := options{seeds: 2, workers: 2, training: training{out: dir}}.readTrained()
	if err != nil {
		t.Fatal(err)
	}
	losses := map[string][]float64{}
	for way, runs := range found {
		for _, r := range runs {
			for _, e := range r.entries {
				losses[way] = append(losses[way], e.Result.Loss)
			}
		}
	}
	return losses
}

// TestMeasure is calculated by hand.
func TestMeasure(t *testing.T) {
	r := run{settings: plan(1, 1, 3, 0)}
	for id, e := range []search.Result{
		{Loss: 10, Parameters: 4_000_000, Seconds: 5},
		{Loss: 8, Parameters: 4_000_000, Seconds: 2},
		{Loss: 9, Parameters: 2_000_000, Seconds: 1},
		{Failed: "no number", Seconds: 4},
	} {
		e.ID = id
		r.entries = append(r.entries, search.Entry{Job: search.Job{ID: id}, Result: e})
	}
	m := measure([]run{r}, search.Point{Loss: 6}, search.Point{Loss: 10, Cost: 5e6})
	want := measures{fitness: []float64{search.Fitness(search.CostParameters, r.entries[1].Result)},
		volume: []float64{(3*1 + 1*1) / (5.0 * 4)}, size: []float64{2}, time: []float64{4}}
	if f := search.Fitness(search.CostParameters, r.entries[2].Result); f < want.fitness[0] {
		want.fitness[0] = f
	}
	if diff := cmp.Diff(want, m, cmp.AllowUnexported(measures{})); diff != "" {
		t.Error(diff)
	}
	if first := r.bestFitness(1); first != search.Fitness(search.CostParameters, r.entries[0].Result) {
		t.Errorf("the ancestor's fitness is %v", first)
	}
}

// TestTrainedReports draws what is there, and says what is not.
func TestTrainedReports(t *testing.T) {
	dir, images := t.TempDir(), t.TempDir()
	args := []string{"trained", "-report", "-seeds", "2", "-out", dir, "-images", images}
	if err := start(t.Context(), args); err == nil || !strings.Contains(err.Error(), "holds no search") {
		t.Errorf("%v", err)
	}
	if _, err := trainIn(t, dir, 30); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := start(t.Context(), args); err == nil || !strings.Contains(err.Error(), "2 seeds or more") || !strings.Contains(err.Error(), "-2") {
		t.Errorf("one seed is enough: %v", err)
	}
	if _, err := trainIn(t, dir, -1); err != nil {
		t.Fatal(err)
	}
	args[3] = "3" // of which the third is missing
	if err := start(t.Context(), args); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(images, "trained.png")); err != nil || info.Size() > 60_000 {
		t.Errorf("%v %v", info, err)
	}
	for want, more := range map[string][]string{
		"-from":       {"-from", "missing.onnx"},
		"-size":       {"-size", "64"},
		"none.json":   {"-data", "none.json"},
		"children 3:": {"-children", "3"},
	} {
		err := start(t.Context(), append([]string{"trained", "-seeds", "2", "-out", t.TempDir()}, more...))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", more, err)
		}
	}
}
