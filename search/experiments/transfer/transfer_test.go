package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/experiments/internal/pairs"
	"github.com/evopose/evopose/search/jobs/jobstest"
)

func settings(n int) search.Settings {
	size := model.Size{H: 64, W: 64}
	return search.Settings{Seed: 1, Ancestor: model.GenotypeS, Native: size, Size: size, Generations: n, Children: 1, Parents: 1,
		AncestorEpochs: 3, Epochs: 3, Cost: search.CostParameters, Selection: search.SelectFitness}
}

// TestReport compares with numbers calculated by hand: differences -2, -1 and
// 0.6 have the mean -0.8, the standard deviation 1.31149, and with t of 2
// degrees 4.30265 the half width 3.25793.
func TestReport(t *testing.T) {
	e := pairs.Experiment{Settings: settings(5), Parent: []float64{9, 6, 5}, Missing: 1, Pairs: []pairs.Pair{
		{Number: 1, Gene: "stage 1 kernel 3 -> 5", Share: 0.9, Start: 7, Transfer: []float64{5, 4.5, 4}, Scratch: []float64{9, 8, 6}},
		{Number: 2, Gene: "stage 2 repeats 3 -> 4", Share: 0.8, Start: 4.9, Transfer: []float64{4, 3, 3}, Scratch: []float64{9, 8, 4}},
		{Number: 3, Gene: "stage 3 kernel 5 -> 3", Share: 0.7, Start: 12, OtherGrid: true, Transfer: []float64{8, 7, 6.6}, Scratch: []float64{9, 8, 6}},
		{Number: 4, Gene: "stage 4 filters/8 9 -> 3", Failed: "the loss is no number"},
	}}
	var w bytes.Buffer
	if err := report(&w, e); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| 1 | stage 1 kernel 3 -> 5 | 90.0 % | 7 | 4 | 6 | -2 | 1 | >3 | 1 |",
		"| 2 | stage 2 repeats 3 -> 4 | 80.0 % | 4.9 | 3 | 4 | -1 | 0 | 3 | 1 |",
		"| 3 | stage 3 kernel 5 -> 3 | 70.0 % | 12 | 6.6 | 6 | +0.6 | other grid | other grid | >3 |",
		"Genes changed: kernel 2, repeats 1.",
		"Left out: pair 4 (stage 4 filters/8 9 -> 3): the loss is no number",
		"Not yet trained: 1 pairs.",
		"Mean difference of the final losses -0.8 (95 % confidence interval -4.06 to +2.46, paired t, n = 3), -15.0 % of the mean from scratch.",
		"With transfer 2 of 3 end lower, 1 higher: p = 1 by",
		"parent's final loss, with transfer: median 0.5, range 0 to 1 of 2.",
		"parent's final loss, from scratch: median >3, range 3 to >3 of 2; 1 of 2 not within 3 epochs (right-censored).",
		"final loss from scratch, with transfer: median 1, range 1 to >3 of 3; 1 of 3",
	} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("no %q in\n%s", want, w.String())
		}
	}
	path := filepath.Join(t.TempDir(), "transfer.png")
	if err := figure(path, e); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil || len(data) > 60_000 || img.Bounds().Dx() != 520 {
		t.Errorf("a figure of %d bytes, %v", len(data), err)
	}
}

func TestReach(t *testing.T) {
	losses := []float64{math.NaN(), 5, 3, 4}
	for bound, want := range map[float64]float64{9: 1, 4: 2, 3: 2, 2: math.Inf(1)} {
		if got := reach(losses, 0, bound); got != want {
			t.Errorf("%v is reached after %v epochs, want %v", bound, got, want)
		}
	}
}

// counting is an evaluator that trains nothing, and stops the experiment after
// some trainings.
type counting struct {
	mu      *sync.Mutex
	trained map[string]int
	after   int
	stop    context.CancelFunc
}

func (c counting) Evaluate(ctx context.Context, job search.Job, parent []byte, progress func(int, float64)) (search.Result, []byte, error) {
	r, file, err := jobstest.Evaluator{}.Evaluate(ctx, job, parent, progress)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.trained) == c.after {
		c.stop()
		return r, nil, context.Canceled
	}
	c.trained[fmt.Sprintf("%d from %d bytes", job.ID, len(parent))]++
	return r, file, err
}

// open runs an experiment until so many trainings are done.
func open(t *testing.T, dir string, n, after int) (map[string]int, error) {
	t.Helper()
	journal, err := search.OpenJournal(dir, search.Header{Settings: settings(n)})
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := counting{&sync.Mutex{}, map[string]int{}, after, cancel}
	e := &experiment{settings: settings(n), dir: dir, workers: 2, journal: journal, evaluator: c, starts: c, progress: &progress{w: io.Discard, workers: 2}}
	return c.trained, e.run(ctx)
}

// TestResume stops an experiment twice and requires of the whole the same as of
// one that was not stopped, and no training twice.
func TestResume(t *testing.T) {
	whole, parts := t.TempDir(), t.TempDir()
	want, err := open(t, whole, 3, -1)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 10 || want["0 from 0 bytes"] != 1 || want["2 from 64 bytes"] != 1 || want["3 from 0 bytes"] != 1 {
		t.Errorf("trained %v", want)
	}
	got := map[string]int{}
	for _, c := range []struct{ pairs, after int }{{2, 0}, {2, 4}, {3, 2}, {3, -1}, {3, -1}} {
		trained, err := open(t, parts, c.pairs, c.after)
		if errors.Is(err, context.Canceled) != (c.after >= 0) {
			t.Errorf("%v", err)
		}
		for job, n := range trained {
			got[job] += n
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	a, err := pairs.Read(whole)
	if err != nil {
		t.Fatal(err)
	}
	b, err := pairs.Read(parts)
	if err != nil {
		t.Fatal(err)
	}
	b.Settings.Generations = 3
	var one, other bytes.Buffer
	if err := errors.Join(report(&one, a), report(&other, b)); err != nil || one.String() != other.String() || len(a.Pairs) != 3 {
		t.Errorf("%v\n%s\n%s", err, one.String(), other.String())
	}
}

func TestOtherParent(t *testing.T) {
	dir := t.TempDir()
	if _, err := open(t, dir, 1, -1); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "parent.onnx"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir, 2, -1); err == nil || !strings.Contains(err.Error(), "put it back") {
		t.Error(err)
	}
}
