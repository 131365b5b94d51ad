package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/evopose/evopose/search"
)

// memo is an evaluator that carries each job out once: searches of one seed
// that differ in how parents are chosen have many jobs in common.
type memo struct {
	evaluator search.Evaluator

	mu   sync.Mutex
	kept map[string]evaluated
}

type evaluated struct {
	result search.Result
	file   []byte
}

func newMemo(e search.Evaluator) *memo { return &memo{evaluator: e, kept: map[string]evaluated{}} }

// Evaluate implements search.Evaluator.
func (m *memo) Evaluate(ctx context.Context, job search.Job, parent []byte, progress func(int, float64)) (search.Result, []byte, error) {
	key := fmt.Sprint(job.Genotype, job.Seed, job.Epochs, job.ParentWeights, job.StopAbove)
	m.mu.Lock()
	e, ok := m.kept[key]
	m.mu.Unlock()
	if ok {
		e.result.ID = job.ID
		return e.result, e.file, nil
	}
	r, file, err := m.evaluator.Evaluate(ctx, job, parent, progress)
	if err != nil {
		return r, file, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[key] = evaluated{r, file}
	return r, file, nil
}
