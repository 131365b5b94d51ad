package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/evopose/evopose/search"
)

// waitForWorkers is how long nobody may ask for jobs before a user is told.
const waitForWorkers = 10 * time.Second

// batch is one call of Evaluate.
type batch struct {
	c       *Coordinator
	open    map[int]search.Job // without a result
	payload map[int][]byte
	done    func(search.Result)
	idle    time.Time // since when no worker works or asks for work
	told    bool
}

// Evaluate implements search.Engine. Jobs whose results the broker has are not
// done again. Several calls may run at once.
func (c *Coordinator) Evaluate(ctx context.Context, jobs []search.Job, done func(search.Result)) ([]search.Result, error) {
	b := &batch{c: c, open: map[int]search.Job{}, payload: map[int][]byte{}, done: done, idle: time.Now()}
	if b.done == nil {
		b.done = func(search.Result) {}
	}
	if err := b.add(ctx, jobs); err != nil {
		return nil, err
	}
	if err := b.wait(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	results := make([]search.Result, len(jobs))
	for i, j := range jobs {
		results[i] = c.results[j.ID]
	}
	return results, nil
}

// add checks all jobs before it submits the first.
func (b *batch) add(ctx context.Context, jobs []search.Job) error {
	for _, j := range jobs {
		if _, ok := b.open[j.ID]; ok {
			return fmt.Errorf("job %d is there twice", j.ID)
		}
		data, err := json.Marshal(j)
		if err != nil {
			return fmt.Errorf("job %d: %w", j.ID, err)
		}
		if err := b.c.fits(fmt.Sprintf("job %d", j.ID), data); err != nil {
			return err
		}
		b.open[j.ID], b.payload[j.ID] = j, data
	}
	b.collect()
	if err := b.checkParents(ctx); err != nil {
		return err
	}
	for _, id := range b.missing() {
		if err := b.c.submit(ctx, id, b.payload[id]); err != nil {
			return err
		}
	}
	return nil
}

// checkParents looks for what the jobs start from. Those of jobs with a result
// may be gone.
func (b *batch) checkParents(ctx context.Context) error {
	checked := map[string]bool{"": true}
	for _, id := range b.missing() {
		j := b.open[id]
		if checked[j.ParentWeights] {
			continue
		}
		checked[j.ParentWeights] = true
		if err := b.c.checkWeights(ctx, j.ParentWeights, j.Parent); err != nil {
			return err
		}
	}
	return nil
}

// checkWeights reports weights to start from that the store does not have.
func (c *Coordinator) checkWeights(ctx context.Context, name string, parent int) error {
	return retry(ctx, c.log, "looking for weights", func(ctx context.Context) error {
		have, err := c.store.has(ctx, name)
		if err == nil && !have {
			err = permanentError{fmt.Errorf("the weights of job %d, %.12s, to start children from: %w: was the search begun with another broker?", parent, name, errNoFile)}
		}
		return err
	})
}

func (b *batch) missing() []int { return slices.Sorted(maps.Keys(b.open)) }

// submit queues a job unless it lies there.
func (c *Coordinator) submit(ctx context.Context, id int, payload []byte) error {
	return retry(ctx, c.log, fmt.Sprintf("submitting job %d", id), func(ctx context.Context) error {
		_, err := c.js.Publish(ctx, c.job(id), payload)
		switch {
		case isTaken(err):
			return nil
		case full(err):
			return permanentError{fmt.Errorf("submitting job %d: %w", id, explainStore(err))}
		}
		return err
	})
}

// wait returns when every job has its result.
func (b *batch) wait(ctx context.Context) error {
	sweep := time.NewTicker(b.c.record.sweepEvery())
	defer sweep.Stop()
	for {
		changed := b.collect()
		if len(b.open) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case <-sweep.C:
			if err := b.sweep(ctx); err != nil {
				return err
			}
		}
	}
}

// collect takes the jobs off the list whose results are there. The channel is
// closed when there are more.
func (b *batch) collect() <-chan struct{} {
	b.c.mu.Lock()
	var arrived []search.Result
	for id := range b.open {
		if r, ok := b.c.results[id]; ok {
			arrived = append(arrived, r)
			delete(b.open, id)
		}
	}
	changed := b.c.changed
	b.c.mu.Unlock()
	slices.SortFunc(arrived, func(a, b search.Result) int { return a.ID - b.ID })
	b.c.telling.Lock()
	defer b.c.telling.Unlock()
	for _, r := range arrived {
		b.done(r)
	}
	return changed
}

// sweep looks for results that the watcher missed, and submits again the jobs
// that are neither in the queue nor have a result. While the broker is away it
// does nothing; the next sweep will.
func (b *batch) sweep(ctx context.Context) error {
	b.lookForWorkers(ctx)
	queued, err := b.c.queued(ctx)
	if err != nil {
		b.c.log.Debug("sweep", zap.Error(err))
		return nil
	}
	for _, id := range b.missing() {
		if queued[id] {
			continue
		}
		switch found, err := b.c.lookUp(ctx, id); {
		case err != nil:
			return nil //nolint:nilerr // the next sweep asks again
		case found:
			continue
		}
		b.c.log.Warn("a job was neither queued nor done; submitted again", zap.Int("job", id))
		if err := b.c.submit(ctx, id, b.payload[id]); err != nil {
			return err
		}
	}
	return nil
}

// queued returns the jobs in the queue, those at work among them.
func (c *Coordinator) queued(ctx context.Context) (map[int]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := c.js.Stream(ctx, c.stream())
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(c.subject("job", "*")))
	if err != nil {
		return nil, err
	}
	all := make(map[int]bool, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		if id, err := lastNumber(subject); err == nil {
			all[id] = true
		}
	}
	return all, nil
}

// lookUp takes the result of a job if the broker has it.
func (c *Coordinator) lookUp(ctx context.Context, id int) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	e, err := c.kv.Get(ctx, resultKey(id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.take(ctx, e)
	return true, nil
}

// lookForWorkers tells, once, that nobody does the jobs.
func (b *batch) lookForWorkers(ctx context.Context) {
	waiting, busy, err := b.c.Workers(ctx)
	if err != nil || waiting+busy > 0 {
		b.idle, b.told = time.Now(), false
		return
	}
	if !b.told && time.Since(b.idle) >= waitForWorkers {
		b.told = true
		b.c.log.Warn("no worker asks for jobs: start one with evopose worker", zap.String("nats", b.c.nc.ConnectedUrlRedacted()), zap.Int("jobs", len(b.open)))
	}
}
