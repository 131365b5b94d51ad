package search

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
)

// fake is an Evaluator whose losses are a function of the job: the loss falls
// with the epochs and with the distance from a genotype that is best.
type fake struct {
	delay  bool             // evaluations take up to a millisecond
	fail   func(Job) string // why a job fails
	loss   func(Job) float64
	broken func(Job) error

	mu      sync.Mutex
	ids     []int // in order of their ends
	running atomic.Int32
	most    atomic.Int32
}

func (f *fake) Evaluate(ctx context.Context, job Job, parent []byte, progress func(int, float64)) (Result, []byte, error) {
	if now := f.running.Add(1); now > f.most.Load() {
		f.most.Store(now)
	}
	defer f.running.Add(-1)
	if f.delay {
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
	}
	if ctx.Err() != nil {
		return Result{}, nil, ctx.Err()
	}
	if f.broken != nil {
		if err := f.broken(job); err != nil {
			return Result{}, nil, err
		}
	}
	if want := job.ParentWeights; (want == "") != (parent == nil) || parent != nil && SumOf(parent) != want {
		return Result{}, nil, fmt.Errorf("weights %q of the parent, want those of %s", parent, want)
	}
	r := f.result(job, progress)
	f.mu.Lock()
	f.ids = append(f.ids, job.ID)
	f.mu.Unlock()
	return r, fmt.Appendf(nil, "weights of %d", job.ID), nil
}

func (f *fake) result(job Job, progress func(int, float64)) Result {
	r := Result{ID: job.ID, Parameters: int64(4e6 + 1e5*float64(job.Genotype[6].Filters)), MultiplyAdds: 1e9}
	if f.fail != nil {
		r.Failed = f.fail(job)
	}
	for epoch := 1; epoch <= job.Epochs && r.Failed == ""; epoch++ {
		r.Loss = fakeLoss(job.Genotype) + 3/float64(epoch)
		if f.loss != nil {
			r.Loss = f.loss(job)
		}
		r.Losses = append(r.Losses, r.Loss)
		progress(epoch, r.Loss)
		if job.Hopeless(epoch, r.Loss) {
			r.Stopped = true
			break
		}
	}
	return r
}

// fakeLoss is least at model.GenotypeS.
func fakeLoss(g model.Genotype) float64 {
	sum := 10.0
	for _, m := range Mutations(model.GenotypeS, g) {
		sum += float64(max(m.From-m.To, m.To-m.From)) / 10
	}
	return sum
}

// small is a search of 1 + 4*8 evaluations.
func small() Settings {
	return Settings{Seed: 3, Ancestor: model.GenotypeDefault, Native: model.Size{H: 256, W: 192}, Size: model.Size{H: 128, W: 96},
		Generations: 4, Children: 8, Parents: 3, AncestorEpochs: 4, Epochs: 3, Cost: CostParameters, Selection: SelectFitness}
}

// searchIn carries a search out in a folder.
func searchIn(t testing.TB, dir string, s Settings, f *fake, workers int, o Observer) ([]Entry, error) {
	t.Helper()
	engine, err := NewLocal(f, workers, dir)
	if err != nil {
		t.Fatal(err)
	}
	return searchOn(t, dir, s, engine, o)
}

func searchOn(t testing.TB, dir string, s Settings, engine Engine, o Observer) ([]Entry, error) {
	t.Helper()
	j, err := OpenJournal(dir, Header{Settings: s})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if o == nil {
		o = Silent{}
	}
	return Evolve(t.Context(), s, engine, j, o)
}

func searchAll(t testing.TB, s Settings, f *fake, workers int) []Entry {
	t.Helper()
	entries, err := searchIn(t, t.TempDir(), s, f, workers, nil)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func steady(window int) Settings {
	s := small()
	s.Window = window
	return s
}

// Two runs, and runs with other numbers of workers whose results come in any
// order, give the same genotypes, results and order of fitness.
func TestSearchIsDeterministic(t *testing.T) {
	pareto, stopping, scratch := small(), small(), small()
	pareto.Selection = SelectPareto
	stopping.StopFactor = 1
	scratch.FromScratch = true
	for name, s := range map[string]Settings{"generations": small(), "pareto": pareto, "stopping": stopping, "scratch": scratch,
		"steady": steady(5), "steady, one at a time": steady(1), "steady, wide": steady(20)} {
		t.Run(name, func(t *testing.T) {
			want := searchAll(t, s, &fake{}, 1)
			if len(want) != 33 {
				t.Fatalf("%d entries", len(want))
			}
			for _, workers := range []int{1, 3, 8} {
				f := &fake{delay: true}
				got := searchAll(t, s, f, workers)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("%d workers:\n%s", workers, diff)
				}
				if diff := cmp.Diff(s.Rank(want), s.Rank(got)); diff != "" {
					t.Error(diff)
				}
				if most := int(f.most.Load()); most > workers || s.Window == 0 && most < min(workers, 2) {
					t.Errorf("%d evaluations at a time with %d workers", most, workers)
				}
			}
		})
	}
	other := small()
	other.Seed = 4
	if a, b := searchAll(t, small(), &fake{}, 1), searchAll(t, other, &fake{}, 1); a[1].Job.Genotype == b[1].Job.Genotype && a[2].Job.Genotype == b[2].Job.Genotype {
		t.Error("another seed makes the same children")
	}
}

// The search finds better networks, and what it makes holds the rules: children
// are new, their parents are the best of all survivors, each with its share.
func TestGenerations(t *testing.T) {
	s := small()
	entries := searchAll(t, s, &fake{delay: true}, 4)
	seen := map[model.Genotype]bool{}
	for id, e := range entries {
		j := e.Job
		if j.ID != id || e.Result.ID != id || j.Generation != (id+7)/8 || seen[j.Genotype] {
			t.Errorf("%d: %+v", id, e)
		}
		seen[j.Genotype] = true
		if id == 0 {
			continue
		}
		before := entries[:1+8*(j.Generation-1)]
		best := s.Best(before)
		if j.Generation > 1 && len(best) != 3 {
			t.Fatalf("%d parents in generation %d", len(best), j.Generation)
		}
		if parent := best[(id-1)%8*len(best)/8]; j.Parent != parent.Job.ID || j.ParentWeights != parent.Result.Weights || j.ParentWeights == "" {
			t.Errorf("%d has the parent %d, want %d", id, j.Parent, parent.Job.ID)
		}
		var names []string
		for _, m := range Mutations(entries[j.Parent].Job.Genotype, j.Genotype) {
			names = append(names, m.String())
		}
		if !slices.Equal(names, j.Mutations) || len(names) != 1 || j.Epochs != 3 || j.StopAbove != nil {
			t.Errorf("%+v", j)
		}
	}
	if first, best := Fitness(s.Cost, entries[0].Result), Fitness(s.Cost, s.Best(entries)[0].Result); !(best < first) {
		t.Errorf("the best %v is no better than the ancestor %v", best, first)
	}
}

// In a steady state a child knows the results up to i-window and no others.
func TestSteady(t *testing.T) {
	s := steady(5)
	entries := searchAll(t, s, &fake{delay: true}, 4)
	for id, e := range entries[1:] {
		id++
		best := s.Best(entries[:max(0, id-5)+1])
		if parent := best[id%len(best)]; e.Job.Parent != parent.Job.ID {
			t.Errorf("%d has the parent %d, want %d", id, e.Job.Parent, parent.Job.ID)
		}
	}
}

// A steady search has no barrier: with a job that hangs, those within the
// window go on.
func TestSteadyHasNoBarrier(t *testing.T) {
	s := steady(6)
	hang := make(chan struct{})
	f := &fake{}
	f.broken = func(j Job) error {
		if j.ID == 2 {
			select {
			case <-hang:
			case <-time.After(time.Minute):
				t.Error("evaluation 7 waits for 2")
			}
		}
		if j.ID == 7 { // the last that does not need 2
			close(hang)
		}
		return nil
	}
	searchAll(t, s, f, 8)
	if slices.Index(f.ids, 8) < slices.Index(f.ids, 2) {
		t.Errorf("evaluation 8 did not wait for 2: %v", f.ids)
	}
}

// What fails, gives NaN or is stopped never becomes a parent.
func TestFailuresNeverWin(t *testing.T) {
	for name, f := range map[string]*fake{
		"failed": {fail: func(j Job) string { return failing(j, "out of memory") }},
		"NaN": {loss: func(j Job) float64 {
			if failing(j, "NaN") != "" {
				return nan
			}
			return 10
		}},
		"minus infinity": {loss: func(j Job) float64 {
			if failing(j, "inf") != "" {
				return -inf
			}
			return 10
		}},
	} {
		entries := searchAll(t, small(), f, 3)
		for _, e := range entries[1:] {
			if p := entries[e.Job.Parent]; p.Result.Failed != "" || failing(p.Job, "x") != "" {
				t.Errorf("%s: %d has a parent that failed: %+v", name, e.Job.ID, p)
			}
		}
		for _, e := range entries {
			if (failing(e.Job, "x") != "") != (e.Result.Failed != "") || e.Result.Failed != "" && (e.Result.Weights != "" || e.Result.Loss != 0) {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
}

// failing is why every third child fails.
func failing(j Job, why string) string {
	if j.ID%3 == 1 {
		return why
	}
	return ""
}

func TestAncestorFails(t *testing.T) {
	f := &fake{fail: func(Job) string { return "out of memory" }}
	entries, err := searchIn(t, t.TempDir(), small(), f, 1, nil)
	if err == nil || !strings.Contains(err.Error(), "nothing to go on from") || !strings.Contains(err.Error(), "out of memory") || len(entries) != 1 {
		t.Errorf("error %v", err)
	}
}

// An evaluator that cannot work ends the search with its error; what is there
// is kept, and the search goes on from it.
func TestBrokenEvaluator(t *testing.T) {
	dir := t.TempDir()
	want := searchAll(t, small(), &fake{}, 1)
	disk := errors.New("no space left on device")
	f := &fake{delay: true, broken: func(j Job) error {
		if j.ID == 20 {
			return disk
		}
		return nil
	}}
	if _, err := searchIn(t, dir, small(), f, 3, nil); !errors.Is(err, disk) || !strings.Contains(err.Error(), "evaluation 20") {
		t.Fatalf("error %v", err)
	}
	done := len(f.ids)
	f.broken = nil
	got, err := searchIn(t, dir, small(), f, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// Evaluations that ended after the failure are lost, at most one a worker.
	if again := len(f.ids) - 33; done < 17 || again < 0 || again > 2 {
		t.Errorf("%d evaluations were done twice: %v", again, f.ids)
	}
}

// Interrupted anywhere, a search that goes on is the one that was not.
func TestInterrupted(t *testing.T) {
	for name, s := range map[string]Settings{"generations": small(), "steady": steady(4)} {
		t.Run(name, func(t *testing.T) {
			want := searchAll(t, s, &fake{}, 1)
			dir := t.TempDir()
			var got []Entry
			stops := 0
			for got == nil {
				ctx, cancel := context.WithCancel(t.Context())
				entries, err := searchFor(t, ctx, dir, s, &stopper{after: 7, stop: cancel})
				cancel()
				switch {
				case err == nil:
					got = entries
				case !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "of 33 evaluations done, all saved"):
					t.Fatalf("error %v", err)
				}
				stops++
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if stops < 4 {
				t.Errorf("%d stops", stops)
			}
		})
	}
}

func searchFor(t *testing.T, ctx context.Context, dir string, s Settings, o Observer) ([]Entry, error) {
	t.Helper()
	j, err := OpenJournal(dir, Header{Settings: s})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	engine, err := NewLocal(&fake{delay: true}, 3, dir)
	if err != nil {
		t.Fatal(err)
	}
	return Evolve(ctx, s, engine, j, o)
}

// stopper stops a search after some new evaluations.
type stopper struct {
	Silent
	after int
	stop  func()
}

func (s *stopper) Evaluated(_ Entry, kept bool) {
	if !kept {
		s.after--
	}
	if s.after == 0 {
		s.stop()
	}
}

// teller records what an observer is told.
type teller struct {
	started     [2]int
	proposed    int
	kept, fresh int
	generations []int
	entries     []int
}

func (o *teller) Started(done, total int) { o.started = [2]int{done, total} }
func (o *teller) Proposed(jobs []Job)     { o.proposed += len(jobs) }
func (o *teller) Evaluated(_ Entry, kept bool) {
	if kept {
		o.kept++
	} else {
		o.fresh++
	}
}

func (o *teller) Generation(g int, entries []Entry) {
	o.generations, o.entries = append(o.generations, g), append(o.entries, len(entries))
}

// A search that is done is told in full, evaluates nothing, and may be made
// longer.
func TestObserverAndMoreGenerations(t *testing.T) {
	dir, s := t.TempDir(), small()
	s.Generations = 2
	for _, tt := range []struct {
		generations int
		want        teller
	}{
		{2, teller{[2]int{0, 17}, 17, 0, 17, []int{0, 1, 2}, []int{1, 9, 17}}},
		{2, teller{[2]int{17, 17}, 0, 17, 0, []int{0, 1, 2}, []int{1, 9, 17}}},
		{3, teller{[2]int{17, 25}, 8, 17, 8, []int{0, 1, 2, 3}, []int{1, 9, 17, 25}}},
		{0, teller{[2]int{1, 1}, 0, 1, 0, []int{0}, []int{1}}},
	} {
		var o teller
		s.Generations = tt.generations
		if _, err := searchIn(t, dir, s, &fake{}, 2, &o); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, o, cmp.AllowUnexported(teller{})); diff != "" {
			t.Errorf("%d generations: %s", tt.generations, diff)
		}
	}
}

// forgetful is an engine that breaks its contract.
type forgetful struct{ results []Result }

func (f forgetful) Evaluate(context.Context, []Job, func(Result)) ([]Result, error) {
	return f.results, nil
}

func (f forgetful) Weights(context.Context, Result) ([]byte, error) { return nil, nil }

func (f forgetful) Drop(context.Context, []Result) {}

func TestFaultyEngine(t *testing.T) {
	for want, f := range map[string]forgetful{
		"without the result of evaluation 0": {},
		"evaluation 5, which was not asked":  {[]Result{{ID: 5, Loss: 1}}},
	} {
		j, err := OpenJournal(t.TempDir(), Header{Settings: small()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Evolve(t.Context(), small(), f, j, Silent{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		_ = j.Close()
	}
}
