package search

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
)

// shelf replays a search with results that come in any order, and throws away
// at any time what is spent.
type shelf struct {
	*evolution
	t     *testing.T
	rng   *rand.Rand
	there map[string]bool // weights
	kept  map[int]Result  // the journal
}

func newShelf(t *testing.T, seed uint64) *shelf {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := small()
	s.Seed, s.Generations, s.Children = seed, 1+rng.IntN(5), 1+rng.IntN(8)
	s.Parents = 1 + rng.IntN(min(s.Children, 4))
	s.Window = rng.IntN(2) * (1 + rng.IntN(12))
	s.FromScratch = rng.IntN(8) == 0
	if rng.IntN(2) == 0 {
		s.Selection = SelectPareto
	}
	h := &shelf{t: t, rng: rng, there: map[string]bool{"": true}, kept: map[int]Result{}}
	if rng.IntN(4) == 0 {
		s.From = "given"
		h.there[s.From] = true
	}
	h.begin(s)
	return h
}

// begin starts the search, or goes on with it after a kill.
func (h *shelf) begin(s Settings) {
	h.evolution = &evolution{settings: s, observer: Silent{}, seen: map[model.Genotype]bool{}, results: map[int]Result{}}
	h.makeJobs()
}

// makeJobs is what Evolve does; jobs without a result need their weights.
func (h *shelf) makeJobs() {
	for id := len(h.jobs); id < h.settings.Total() && (id == 0 || h.settings.visible(id) < h.complete); id++ {
		job, err := h.make(id)
		if err != nil {
			return // there is no parent
		}
		h.jobs, h.seen[job.Genotype] = append(h.jobs, job), true
		if r, ok := h.kept[id]; ok {
			h.settle(Entry{job, r}, true)
		}
	}
	h.check("made")
}

func (h *shelf) open() []Job {
	var open []Job
	for _, j := range h.jobs {
		if _, ok := h.results[j.ID]; !ok {
			open = append(open, j)
		}
	}
	return open
}

func (h *shelf) check(when string) {
	h.t.Helper()
	for _, j := range h.open() {
		if !h.there[j.ParentWeights] {
			h.t.Errorf("%s: job %d starts from weights that were thrown away: %q; %+v", when, j.ID, j.ParentWeights, h.settings)
		}
	}
}

// arrive gives any of the open jobs a result, of few values so that many are
// equal.
func (h *shelf) arrive(j Job) {
	r := Result{ID: j.ID, Loss: float64(1 + h.rng.IntN(12)), Parameters: int64(1e6 * (1 + h.rng.IntN(12))), Weights: fmt.Sprint("weights of ", j.ID)}
	switch h.rng.IntN(12) {
	case 0:
		r.Stopped = true
	case 1:
		r.Failed, r.Weights = "out of memory", ""
	}
	h.there[r.Weights], h.kept[j.ID] = true, r
	h.settle(Entry{j, r}, false)
}

func (h *shelf) throwAway() {
	for _, r := range h.settings.Spent(h.jobs, h.results) {
		delete(h.there, r.Weights)
	}
	h.check("thrown away")
}

// finish carries the search on to its end, and requires the winner.
func (h *shelf) finish() {
	for open := h.open(); len(open) > 0; open = h.open() {
		h.arrive(open[h.rng.IntN(len(open))])
		switch h.rng.IntN(6) {
		case 0:
			h.throwAway()
		case 1:
			h.begin(h.settings)
		}
		h.makeJobs()
	}
	h.throwAway()
	fittest := h.settings
	fittest.Selection = SelectFitness
	if best := fittest.Best(h.entries(h.complete)); len(best) > 0 && !h.there[best[0].Result.Weights] {
		h.t.Errorf("the winner, %d, was thrown away: %+v", best[0].Job.ID, h.settings)
	}
}

// Whatever results come, in whatever order, killed at any time and made longer
// when it had ended: a job never lacks the weights that it starts from.
func TestSpent(t *testing.T) {
	for seed := range uint64(300) {
		h := newShelf(t, seed)
		for range 3 {
			h.finish()
			if h.settings.Window == 0 && h.settings.Selection == SelectFitness && len(h.there) > h.settings.Parents+2 {
				t.Errorf("%d weights are left: %v; %+v", len(h.there), h.there, h.settings)
			}
			more := h.settings
			more.Generations += h.rng.IntN(3)
			h.begin(more)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// By fitness what is left is what may be a parent; of two objectives whatever
// few others dominate.
func TestSpentKeepsFew(t *testing.T) {
	s := small()
	s.Parents = 2
	results := map[int]Result{}
	for id, at := range []Point{{5, 5}, {4, 6}, {6, 4}, {5, 6}, {5, 7}, {7, 7}, {1, 8}} {
		results[id] = Result{ID: id, Loss: at.Loss, Parameters: int64(1e6 * at.Cost), Weights: fmt.Sprint(id)}
	}
	jobs := make([]Job, 9) // all of the first generation: the next one's parents know them all
	for id := range jobs {
		jobs[id].ID = id
	}
	spent := func() (names []string) {
		for _, r := range s.Spent(jobs, results) {
			names = append(names, r.Weights)
		}
		return names
	}
	want := func(what string, names ...string) {
		t.Helper()
		if diff := cmp.Diff(names, spent()); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
	}
	want("by fitness", "0", "2", "3", "4", "5")
	jobs[8].ParentWeights = "5"
	want("a job starts from 5", "0", "2", "3", "4")
	s.FromScratch = true
	want("from scratch", "0", "1", "2", "3", "4")
	s.FromScratch, jobs[8].ParentWeights, s.Selection = false, "", SelectPareto
	want("two objectives", "3", "4", "5")
}

// A search throws away as it goes.
func TestSearchDropsWeights(t *testing.T) {
	for window, most := range map[int]int{0: 3, 5: 8} {
		dir := t.TempDir()
		s := steady(window)
		entries, err := searchIn(t, dir, s, &fake{delay: true}, 3, nil)
		if err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.onnx"))
		if err != nil || len(files) > most || len(files) < 3 {
			t.Errorf("window %d: %d files of %d evaluations, %v", window, len(files), len(entries), err)
		}
	}
}
