package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/renameio/v2/maybe"
	"golang.org/x/sync/errgroup"

	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/experiments/internal/pairs"
)

// experiment trains what its journal does not have yet.
type experiment struct {
	settings search.Settings
	from     []byte // weights that the parent starts from; nil: initial ones
	dir      string
	workers  int
	journal  *search.Journal
	// evaluator trains; starts, with a learning rate of almost nothing and a
	// step, finds the loss right after the transfer.
	evaluator, starts search.Evaluator
	progress          *progress

	mu sync.Mutex // of the journal
}

// missing returns the jobs that the journal lacks. A journal whose trainings
// are not those of the plan is refused.
func missing(j *search.Journal, jobs []search.Job) ([]search.Job, error) {
	kept := map[int]search.Job{}
	for _, e := range j.Entries() {
		kept[e.Job.ID] = e.Job
	}
	var left []search.Job
	for _, job := range jobs {
		old, ok := kept[job.ID]
		if !ok {
			left = append(left, job)
		} else if old.Genotype != job.Genotype || old.Seed != job.Seed || old.ParentWeights != job.ParentWeights {
			return nil, fmt.Errorf("%s: training %d is of %v, want %v: it is of another version of this program; choose another folder",
				j.Path(), job.ID, old.Genotype, job.Genotype)
		}
	}
	return left, nil
}

// run trains the parent, then the pairs.
func (e *experiment) run(ctx context.Context) error {
	parent, err := e.parent(ctx)
	if err != nil {
		return err
	}
	left, err := missing(e.journal, pairs.Jobs(e.settings, search.SumOf(parent)))
	if err != nil {
		return err
	}
	e.progress.expect(left)
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(e.workers)
	for _, job := range left {
		all.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			start := parent
			if job.ParentWeights == "" {
				start = nil
			}
			_, err := e.train(ctx, job, start)
			return err
		})
	}
	return all.Wait()
}

// parent returns the file of the trained parent, after training it if need be.
func (e *experiment) parent(ctx context.Context) ([]byte, error) {
	path := filepath.Join(e.dir, "parent.onnx")
	for _, entry := range e.journal.Entries() {
		if entry.Job.ID == 0 {
			data, err := os.ReadFile(path)
			if err == nil && search.SumOf(data) != entry.Result.Weights {
				err = fmt.Errorf("%s is not the parent that was trained: put it back, or choose another folder", path)
			}
			return data, err
		}
	}
	e.progress.expect(append(pairs.Jobs(e.settings, ""), pairs.Parent(e.settings)))
	return e.train(ctx, pairs.Parent(e.settings), e.from)
}

// train carries a job out and keeps its result.
func (e *experiment) train(ctx context.Context, job search.Job, start []byte) ([]byte, error) {
	evaluator, told := e.evaluator, e.progress.of(job)
	if _, purpose := pairs.Of(job.ID); job.ID > 0 && purpose == pairs.Start {
		evaluator, told = e.starts, nil
	}
	r, file, err := evaluator.Evaluate(ctx, job, start, told)
	if err != nil {
		return nil, err
	}
	r.ID = job.ID
	r = r.Checked()
	if job.ID == 0 {
		if r.Failed != "" {
			return nil, fmt.Errorf("the parent cannot be trained: %s", r.Failed)
		}
		r.Weights = search.SumOf(file)
		if err := maybe.WriteFile(filepath.Join(e.dir, "parent.onnx"), file, 0o644); err != nil {
			return nil, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return file, e.journal.Append(search.Entry{Job: job, Result: r})
}
