package train

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/evopose/evopose/model/onnx"
)

// latest is the run's last checkpoint.
func latest(t testing.TB, o Options) *Checkpoint {
	t.Helper()
	c, skipped, err := LoadLatest(o.Dir)
	if err != nil || skipped != nil {
		t.Fatal(err, skipped)
	}
	return c
}

// sameRun compares two runs' ends: weights, moving average, moments, curves.
func sameRun(t testing.TB, got, want *Checkpoint) {
	t.Helper()
	if diff := cmp.Diff(want.Tensors, got.Tensors); diff != "" {
		t.Errorf("weights differ:\n%.2000s", diff)
	}
	speed := cmpopts.IgnoreFields(Point{}, "ImagesPerSecond")
	if diff := cmp.Diff(want.Meta.Curves, got.Meta.Curves, speed); diff != "" {
		t.Errorf("curves differ:\n%s", diff)
	}
	if got.Meta.Step != want.Meta.Step || got.Meta.Epoch != want.Meta.Epoch || got.Meta.Best.Step != want.Meta.Best.Step {
		t.Errorf("%d steps, %d epochs, best %d; want %d, %d, %d", got.Meta.Step, got.Meta.Epoch, got.Meta.Best.Step,
			want.Meta.Step, want.Meta.Epoch, want.Meta.Best.Step)
	}
}

func TestRun(t *testing.T) {
	c, o := tinyRun(t)
	r := train(t, c, o)
	if len(r.steps) != 18 || len(r.points) != 3 || len(r.measured[2]) != 1 || r.broken != nil || r.skipped != nil {
		t.Fatalf("%d steps, %d points, broken %v", len(r.steps), len(r.points), r.broken)
	}
	last := r.steps[17]
	if last.Epoch != 3 || last.Step != 6 || last.StepsPerEpoch != 6 || last.Left != 0 || !(last.ImagesPerSecond > 0) || !(last.Waited >= 0 && last.Waited < 1) {
		t.Errorf("%+v", last)
	}
	sum := 0.0
	for _, s := range r.steps[12:] {
		sum += s.Loss
	}
	if p := r.points[2]; p.Epoch != 3 || p.Step != 18 || math.Abs(p.Loss-sum/6) > 1e-9 || p.Rate != last.Rate || !(p.Val > 0) {
		t.Errorf("%+v", p)
	}
	for _, name := range []string{LatestFile, PreviousFile, BestFile, BestONNX, CurvesCSV, CurvesPNG, ReportFile} {
		if _, err := os.Stat(filepath.Join(o.Dir, name)); err != nil {
			t.Error(err)
		}
	}
	if points, err := LoadCurves(o.Dir); err != nil || len(points) != 3 {
		t.Errorf("curves %v %v", points, err)
	}
}

// A run that is interrupted within an epoch, between an epoch and its
// measurement, and in the measurement after the last, and goes on each time,
// is the run that was never interrupted.
func TestResumedRunIsTheSame(t *testing.T) {
	c, o := tinyRun(t)
	train(t, c, o)
	want := latest(t, o)
	o.Dir += "-interrupted" // Run makes it
	for i, at := range [][2]int{{1, 4}, {1, 6}, {3, 1}, {3, 6}} {
		o.Resume = i > 0
		err := trainUntil(t, c, o, at[0], at[1])
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted in %v: error %v", at, err)
		}
		if text := "go on with --out " + o.Dir + " --resume"; !strings.Contains(err.Error(), text) {
			t.Errorf("error %q, want %q in it", err, text)
		}
	}
	r := train(t, Config{}, o)
	if len(r.steps) != 0 || len(r.points) != 1 {
		t.Errorf("at last %d steps and %d points, want a measurement only", len(r.steps), len(r.points))
	}
	sameRun(t, latest(t, o), want)
	if r := train(t, Config{}, o); len(r.steps) != 0 || r.epoch != 3 || len(r.points) != 0 {
		t.Errorf("a run that is done went on: %+v", r)
	}
}

func TestInterruptedMessage(t *testing.T) {
	c, o := tinyRun(t)
	for _, tt := range []struct {
		epoch, step int
		want        string
	}{{1, 2, "epoch 1 of 3 after step 2 of 6"}, {2, 3, "epoch 2 of 3 after step 3 of 6"}, {3, 6, "epoch 3 of 3 after step 6 of 6"}} {
		if err := trainUntil(t, c, o, tt.epoch, tt.step); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
		o.Resume = true
	}
}

// Interrupted before the first step, a run leaves nothing behind.
func TestInterruptedAtTheStart(t *testing.T) {
	c, o := tinyRun(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, c, o); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("error %v", err)
	}
	train(t, c, o)
}

// A rate far too high ends the run with a word on what to do; what was saved
// before it is good.
func TestDivergence(t *testing.T) {
	for name, tt := range map[string]struct {
		step  int // after it
		rate  float64
		every time.Duration
		want  string
	}{
		"loss":    {2, 1e30, time.Hour, "the loss is "},
		"weights": {2, 1e60, time.Nanosecond, "a weight is "},
		"last":    {5, 1e60, time.Hour, "a weight is "}, // of an epoch
	} {
		t.Run(name, func(t *testing.T) {
			c, o := tinyRun(t)
			o.Every = tt.every
			var r *run
			o.Progress = &recorder{onStep: func(s StepReport) {
				if s.Epoch == 2 && s.Step == tt.step {
					r.schedule.Rate = tt.rate
				}
			}}
			r, err := newRun(t.Context(), c, o)
			if err != nil {
				t.Fatal(err)
			}
			err = errors.Join(r.all(t.Context()), r.close())
			if !errors.Is(err, errDiverged) || !strings.Contains(err.Error(), tt.want) ||
				!strings.Contains(err.Error(), "--from "+filepath.Join(o.Dir, BestONNX)+" with a --rate below") || !strings.Contains(err.Error(), LatestFile+" is from before") {
				t.Errorf("error %v", err)
			}
			o.Resume, o.Progress = true, nil
			rec := train(t, Config{}, o)
			if len(rec.points) != 2 || !finite(rec.points[1].Loss) || !finite(rec.points[1].Val) {
				t.Errorf("resumed: %+v", rec.points)
			}
		})
	}
}

func TestDivergenceInTheFirstSteps(t *testing.T) {
	c, o := tinyRun(t)
	r, err := newRun(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	r.schedule.Rate = 1e30
	err = errors.Join(r.all(t.Context()), r.close())
	if !errors.Is(err, errDiverged) || !strings.Contains(err.Error(), "start again with a --rate below") || strings.Contains(err.Error(), LatestFile) {
		t.Errorf("error %v", err)
	}
	if _, _, err := LoadLatest(o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a checkpoint was written: %v", err)
	}
}

// Checkpoints come within an epoch, too, when it takes longer than Every.
func TestEvery(t *testing.T) {
	c, o := tinyRun(t)
	o.Every = time.Nanosecond
	var saved []int
	o.Progress = &recorder{onStep: func(s StepReport) {
		if s.Step > 1 {
			saved = append(saved, latest(t, o).Meta.Step)
		}
	}}
	c.Epochs = 1
	if err := Run(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1, 2, 3, 4, 5}, saved); diff != "" {
		t.Error(diff)
	}
}

// A failure between checkpoints loses nothing: here the pictures vanish.
func TestFailureSaves(t *testing.T) {
	c, o := tinyRun(t)
	dir := c.Val[0].Images
	r, err := newRun(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	clear(r.validators[0].pictures) // as if they were too many to be kept
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(r.all(t.Context()), r.close())
	if err == nil || !strings.Contains(err.Error(), "validation: open "+c.Val[0].Images) {
		t.Errorf("error %v", err)
	}
	if ckpt := latest(t, o); ckpt.Meta.Step != 6 || len(ckpt.Meta.Curves) != 0 {
		t.Errorf("saved step %d, %d points", ckpt.Meta.Step, len(ckpt.Meta.Curves))
	}
	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	rec := train(t, Config{}, o)
	if len(rec.points) != 3 || len(rec.steps) != 12 || !math.IsNaN(rec.points[0].ImagesPerSecond) {
		t.Errorf("%d points, %d steps", len(rec.points), len(rec.steps))
	}
}

// best.onnx and best.ckpt are the network of the best validation.
func TestBest(t *testing.T) {
	c, o := tinyRun(t)
	r := train(t, c, o)
	best := Point{}
	for _, p := range r.points {
		if p.better(best) {
			best = p
		}
	}
	ckpt, err := Load(filepath.Join(o.Dir, BestFile))
	if err != nil || ckpt.Meta.Step != best.Step || ckpt.Meta.Best != best {
		t.Fatalf("%v %+v, want %+v", err, ckpt.Meta.Best, best)
	}
	data, err := os.ReadFile(filepath.Join(o.Dir, BestONNX))
	if err != nil {
		t.Fatal(err)
	}
	w, card, err := onnx.Weights(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ckpt.Group(GroupEMA), w); diff != "" {
		t.Errorf("weights differ:\n%.500s", diff)
	}
	if card.Input != c.Native || card.Genotype != c.Genotype || !card.Trained || len(card.Lineage) != 2 || card.Data != "train/labels" {
		t.Errorf("%+v", card)
	}
}

func TestBetter(t *testing.T) {
	best := Point{Step: 9, AP: 0.5, Val: 10}
	for _, tt := range []struct {
		p    Point
		best Point
		want bool
	}{
		{Point{AP: 0.6, Val: 20}, best, true},
		{Point{AP: 0.5, Val: 9}, best, true},
		{Point{AP: 0.5, Val: 10}, best, false},
		{Point{AP: 0.4, Val: 1}, best, false},
		{Point{AP: 0.9, Val: nan}, best, false},
		{Point{Val: nan}, Point{}, false},
		{Point{Val: math.Inf(1)}, Point{}, false},
		{Point{Val: 1000}, Point{}, true},
	} {
		if got := tt.p.better(tt.best); got != tt.want {
			t.Errorf("%+v better than %+v: %v", tt.p, tt.best, got)
		}
	}
}
