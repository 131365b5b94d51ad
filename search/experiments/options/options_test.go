package main

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/experiments/internal/pairs"
)

func TestHypervolume(t *testing.T) {
	ideal, reference := search.Point{Loss: 100}, search.Point{Loss: 110, Cost: 10}
	for _, c := range []struct {
		points []search.Point
		want   float64 // of the 10 x 10
	}{
		{nil, 0},
		{[]search.Point{{Loss: 105, Cost: 5}}, 25},
		{[]search.Point{{Loss: 102, Cost: 8}, {Loss: 105, Cost: 5}, {Loss: 106, Cost: 6}, {Loss: 109, Cost: 1}}, 2*3 + 5*4 + 9},
		{[]search.Point{{Loss: 120, Cost: 1}, {Loss: 101, Cost: 11}, {Loss: 110, Cost: 5}}, 0}, // beyond the reference
		{[]search.Point{{Loss: 90, Cost: -3}}, 100},                                            // better than ideal
	} {
		if got := hypervolume(c.points, ideal, reference); math.Abs(got-c.want/100) > 1e-12 {
			t.Errorf("%v: %v, want %v", c.points, got, c.want/100)
		}
	}
}

func entriesOf(seconds ...float64) []search.Entry {
	var entries []search.Entry
	for id, s := range seconds {
		entries = append(entries, search.Entry{Job: search.Job{ID: id}, Result: search.Result{ID: id, Seconds: s}})
	}
	return entries
}

// TestSchedule is drawn by hand: an ancestor, then two generations of three on
// two workers.
func TestSchedule(t *testing.T) {
	entries := entriesOf(2, 1, 4, 1, 1, 1, 1)
	for _, c := range []struct {
		window int
		want   []float64
	}{
		{0, []float64{2, 3, 6, 4, 7, 7, 8}},  // the second generation waits for 2
		{3, []float64{2, 3, 6, 4, 5, 7, 7}},  // 4 needs only 1, 5 needs 2
		{2, []float64{2, 3, 6, 4, 7, 7, 8}},  // 4 needs 2
		{99, []float64{2, 3, 6, 4, 5, 6, 7}}, // none needs any but the ancestor
	} {
		got := schedule(plan(1, 2, 3, c.window), entries, 2)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("window %d: %s", c.window, diff)
		}
	}
	if got := by(entries, []float64{2, 3, 6, 4, 7, 7, 8}, 4); len(got) != 3 || got[2].Job.ID != 3 {
		t.Errorf("%v", got)
	}
}

// TestScheduleIsTheEngines compares the virtual schedule with a search on a real
// broker: workers can only be slower.
func TestScheduleIsTheEngines(t *testing.T) {
	for _, window := range []int{0, 3} {
		s := plan(1, 2, 4, window)
		entries, took, err := onBroker(t.Context(), s, 3, surrogate{second: 0.02, sigma: 0.5, sleeps: true})
		if err != nil {
			t.Fatal(err)
		}
		again, err := evolve(t.Context(), s, atOnce{surrogate{second: 0.02, sigma: 0.5}}, search.Silent{})
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			if e.Result.Seconds != again[i].Result.Seconds || e.Job.Genotype != again[i].Job.Genotype {
				t.Errorf("evaluation %d: %+v, at once %+v", i, e, again[i])
			}
		}
		ends := schedule(s, entries, 3)
		if ideal := ends[len(ends)-1] - ends[0]; took < ideal-0.001 {
			t.Errorf("took %v, less than the %v of its schedule", took, ideal)
		}
	}
}

func TestSurrogate(t *testing.T) {
	// By hand: capacities 1, 2, 2, 3, 3, 4, 1; kernels as wished but stage 4's 3;
	// a stride of 2 in stage 6; no filters differ by more than a factor of 4.
	want := 100 + 6*(2*math.Exp(-1)+2*math.Exp(-2)+2*math.Exp(-3)+math.Exp(-4)) + 0.8 + 3
	if got := trueLoss(model.GenotypeDefault); math.Abs(got-want) > 1e-9 {
		t.Errorf("the default genotype's loss is %v, want %v", got, want)
	}
	s := surrogate{second: 1}
	r, _, err := s.Evaluate(t.Context(), search.Job{Genotype: model.GenotypeDefault, Seed: 3}, nil, nil)
	if err != nil || r.Seconds != 1 || math.Abs(r.Loss-want) > 4*lossNoise {
		t.Errorf("%+v %v", r, err)
	}
	sum := 0.0
	for seed := range uint64(2000) {
		sum += surrogate{second: 1, sigma: 0.5}.seconds(search.Job{Seed: seed}, r) / 2000
	}
	if math.Abs(sum-1) > 0.05 {
		t.Errorf("the mean time is %v, want 1", sum)
	}
}

func TestStopping(t *testing.T) {
	g := group{"", [][]float64{{11, 8, 4}, {10, 9, 9}, {13, 9.5, 5}, {12, 12, 12}}}
	// The best is the first: bounds are 11 and 8 times the factor.
	for _, c := range []struct {
		factor float64
		ends   []int
		saved  float64
	}{
		{1.1, []int{3, 2, 1, 2}, 4.0 / 12},
		{1.15, []int{3, 3, 1, 2}, 3.0 / 12},
		{1.6, []int{3, 3, 3, 3}, 0},
		{1, []int{3, 2, 1, 1}, 5.0 / 12},
	} {
		if diff := cmp.Diff(c.ends, g.stopped(c.factor)); diff != "" {
			t.Errorf("factor %v: %s", c.factor, diff)
		}
		if got := g.saved(c.factor); math.Abs(got-c.saved) > 1e-12 {
			t.Errorf("factor %v saves %v, want %v", c.factor, got, c.saved)
		}
	}
	if g.lost(1) != 0 || (group{"", [][]float64{{20, 1}, {1, 2}, {9, 3}, {9, 4}, {30, 1.1}, {9, 5}, {9, 6}, {9, 7}}}).lost(1.1) != 1 {
		t.Error("the best that are ended are miscounted")
	}
}

// TestCommands runs what needs no training and no wall clock.
func TestCommands(t *testing.T) {
	journal, transfer, images := t.TempDir(), t.TempDir(), t.TempDir()
	writeSearch(t, journal)
	writeTransfer(t, transfer)
	for _, args := range [][]string{
		{"pareto", "-seeds", "2", "-generations", "2", "-children", "4", "-journal", journal, "-images", images},
		{"stop", "-transfer", transfer, "-images", images},
	} {
		if err := start(t.Context(), args); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	for _, name := range []string{"pareto.png", "stopping.png"} {
		if info, err := os.Stat(filepath.Join(images, name)); err != nil || info.Size() > 60_000 {
			t.Errorf("%v %v", info, err)
		}
	}
	for want, args := range map[string][]string{
		"one of cost, pareto, steady, stop, trained": {"speed"},
		"holds no search":  {"pareto", "-seeds", "2", "-generations", "1", "-journal", images},
		"-seeds 1: want 2": {"steady", "-seeds", "1"},
		"want 3 or more":   {"cost", "-journal", transfer},
	} {
		if err := start(t.Context(), args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// writeSearch writes the journal of a small search on the surrogate.
func writeSearch(t *testing.T, dir string) {
	t.Helper()
	s := plan(1, 1, 4, 0)
	journal, err := search.OpenJournal(dir, search.Header{Settings: s})
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	if _, err := search.Evolve(context.Background(), s, atOnce{surrogate{}}, journal, search.Silent{}); err != nil {
		t.Fatal(err)
	}
}

// writeTransfer writes an experiment of three pairs.
func writeTransfer(t *testing.T, dir string) {
	t.Helper()
	s := plan(1, 3, 1, 0)
	s.Parents, s.AncestorEpochs = 1, 3
	journal, err := search.OpenJournal(dir, search.Header{Settings: s})
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	for i, job := range append(pairs.Jobs(s, "sum"), pairs.Parent(s)) {
		r := search.Result{ID: job.ID, Losses: []float64{9, 8 - float64(i%4), 7 - float64(i)/10}}
		if err := journal.Append(search.Entry{Job: job, Result: r}); err != nil {
			t.Fatal(err)
		}
	}
}
