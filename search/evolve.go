package search

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/evopose/evopose/model"
)

// Entry is a job with its result.
type Entry struct {
	Job    Job    `json:"job"`
	Result Result `json:"result"`
}

// Observer is told how a search goes, one call at a time.
type Observer interface {
	// Started tells how many evaluations of all are there already.
	Started(done, total int)
	// Proposed tells of jobs that are given to the engine.
	Proposed(jobs []Job)
	// Evaluated tells of an evaluation that is there; kept reports that it was
	// so before this process.
	Evaluated(e Entry, kept bool)
	// Generation tells that all evaluations of a generation and those before
	// it are there; entries are these, by ID.
	Generation(generation int, entries []Entry)
}

// Evolve carries a search out: (mu + lambda) evolution among all that were
// evaluated so far. It returns the entries by ID.
//
// Every job is a function of the settings and of the results that it may
// depend on (Settings.Window), whatever the order in which results arrive, so
// a search that was interrupted goes on as if it had not been: what journal
// holds is not evaluated again. Each result is in the journal before anything
// is made of it. What is not deterministic is the evaluator's: training on
// another machine or with other threads rounds differently, latency varies.
//
// With ctx cancelled it returns its cause after the results that are there are
// kept.
func Evolve(ctx context.Context, s Settings, engine Engine, journal *Journal, o Observer) ([]Entry, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	e := &evolution{settings: s, engine: engine, journal: journal, observer: o, seen: map[model.Genotype]bool{},
		results: map[int]Result{}, arrived: make(chan Result), ended: make(chan error)}
	o.Started(min(len(journal.Entries()), s.Total()), s.Total())
	err := e.run(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("stopped with %d of %d evaluations done, all saved; the same command goes on: %w",
			len(e.results), s.Total(), context.Cause(ctx))
	}
	return e.entries(e.complete), err
}

// evolution is a search under way. Only the goroutine of Evolve touches it.
type evolution struct {
	settings Settings
	engine   Engine
	journal  *Journal
	observer Observer

	jobs     []Job // proposed, by ID
	seen     map[model.Genotype]bool
	results  map[int]Result // by ID
	complete int            // results 0..complete-1 are there
	known    int            // parents are the best of the first so many
	parents  []Entry
	tidy     bool // a generation was completed since the last drop

	arrived chan Result
	ended   chan error // of each call of the engine
	calls   int        // of the engine, under way
}

// run proposes what can be proposed and waits for results until all are there.
// It returns when no call of the engine is left.
func (e *evolution) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for err == nil && e.complete < e.settings.Total() {
		if err = e.propose(ctx); err != nil {
			break
		}
		e.drop(ctx) // while the new jobs are evaluated
		if e.complete < e.settings.Total() {
			err = e.wait()
		}
	}
	if err == nil {
		e.drop(ctx)
	}
	cancel()
	for e.calls > 0 { // what still comes is kept
		if late := e.wait(); err == nil && !errors.Is(late, context.Canceled) {
			err = late
		}
	}
	return err
}

// propose makes all jobs that can be made now and gives those without a result
// to the engine.
func (e *evolution) propose(ctx context.Context) error {
	var jobs []Job
	for id := len(e.jobs); id < e.settings.Total() && (id == 0 || e.settings.visible(id) < e.complete); id++ {
		job, err := e.make(id)
		if err != nil {
			return err
		}
		e.jobs, e.seen[job.Genotype] = append(e.jobs, job), true
		kept, ok := e.journal.find(id)
		if !ok {
			jobs = append(jobs, job)
			continue
		}
		if err := e.journal.same(kept.Job, job); err != nil {
			return err
		}
		e.settle(Entry{job, kept.Result}, true)
	}
	if len(jobs) > 0 {
		e.observer.Proposed(jobs)
		e.calls++
		go e.evaluate(ctx, jobs)
	}
	return nil
}

// drop removes the weights that are of no use any more. It is called after
// generations only, since each time it looks at all results.
func (e *evolution) drop(ctx context.Context) {
	if e.tidy {
		e.tidy = false
		e.engine.Drop(ctx, e.settings.Spent(e.jobs, e.results))
	}
}

func (e *evolution) make(id int) (Job, error) {
	if id == 0 {
		return e.settings.ancestor(), nil
	}
	if known := e.settings.visible(id) + 1; known != e.known {
		e.known, e.parents = known, e.settings.Best(e.entries(known))
	}
	if len(e.parents) == 0 {
		return Job{}, fmt.Errorf("no evaluation so far has a loss, so there is nothing to go on from; the first failed: %s", e.results[0].Failed)
	}
	return e.settings.child(id, e.parents, e.seen), nil
}

// entries returns the first n entries.
func (e *evolution) entries(n int) []Entry {
	list := make([]Entry, n)
	for id := range list {
		list[id] = Entry{e.jobs[id], e.results[id]}
	}
	return list
}

// evaluate is a call of the engine. Results come twice, the second time from
// what the engine returns; the second of an ID does not count.
func (e *evolution) evaluate(ctx context.Context, jobs []Job) {
	results, err := e.engine.Evaluate(ctx, slices.Clone(jobs), func(r Result) { e.arrived <- r })
	for _, r := range results {
		if err == nil {
			e.arrived <- r
		}
	}
	e.ended <- err
}

// wait waits for a result, or the end of a call.
func (e *evolution) wait() error {
	select {
	case r := <-e.arrived:
		return e.place(r.Checked())
	case err := <-e.ended:
		e.calls--
		if err == nil && e.calls == 0 && e.complete < len(e.jobs) {
			return fmt.Errorf("the engine returned without the result of evaluation %d", e.complete)
		}
		return err
	}
}

// place keeps a new result.
func (e *evolution) place(r Result) error {
	if r.ID < 0 || r.ID >= len(e.jobs) {
		return fmt.Errorf("a result came for evaluation %d, which was not asked for", r.ID)
	}
	if _, ok := e.results[r.ID]; ok {
		return nil
	}
	entry := Entry{e.jobs[r.ID], r}
	if err := e.journal.Append(entry); err != nil {
		return err
	}
	e.settle(entry, false)
	return nil
}

// settle counts an entry in and tells of it, and of generations that it
// completes.
func (e *evolution) settle(entry Entry, kept bool) {
	e.results[entry.Job.ID] = entry.Result
	e.observer.Evaluated(entry, kept)
	for {
		if _, ok := e.results[e.complete]; !ok {
			return
		}
		e.complete++
		if last := e.complete - 1; last%e.settings.Children == 0 {
			e.tidy = true
			e.observer.Generation(last/e.settings.Children, e.entries(e.complete))
		}
	}
}

// Silent is an Observer that tells nobody.
type Silent struct{}

// Started implements Observer.
func (Silent) Started(int, int) {}

// Proposed implements Observer.
func (Silent) Proposed([]Job) {}

// Evaluated implements Observer.
func (Silent) Evaluated(Entry, bool) {}

// Generation implements Observer.
func (Silent) Generation(int, []Entry) {}
