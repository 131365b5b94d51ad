package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs"
)

// clock is an observer that notes when the ancestor was there: until then all
// but one worker have nothing to do, in every way of searching.
type clock struct {
	search.Silent
	ancestor time.Time
}

// Evaluated implements search.Observer.
func (c *clock) Evaluated(e search.Entry, _ bool) {
	if e.Job.ID == 0 {
		c.ancestor = time.Now()
	}
}

// onBroker carries a search out on a real broker with workers in this process.
// It returns the entries and the seconds since the ancestor was there.
func onBroker(ctx context.Context, s search.Settings, workers int, evaluator surrogate) ([]search.Entry, float64, error) {
	dir, err := os.MkdirTemp("", "options")
	if err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(dir)
	b, err := jobs.Embedded(dir, jobs.BrokerOptions{})
	if err != nil {
		return nil, 0, err
	}
	defer b.Close()
	coordinator, err := jobs.Open(ctx, b.Connection(), jobs.Search{ID: "options"}, jobs.Options{})
	if err != nil {
		return nil, 0, err
	}
	defer coordinator.Close()
	stop := work(ctx, b, workers, evaluator)
	defer stop()
	if err := until(ctx, coordinator, workers); err != nil {
		return nil, 0, err
	}
	var c clock
	entries, err := evolve(ctx, s, coordinator, &c)
	return entries, time.Since(c.ancestor).Seconds(), err
}

// work starts the workers; the function that it returns ends them.
func work(ctx context.Context, b *jobs.Broker, workers int, evaluator surrogate) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for i := range workers {
		w := jobs.Worker{Connection: jobs.Connection{URL: b.URL(), Wait: time.Minute}, Name: fmt.Sprint("w", i), Log: zap.NewNop(),
			Factory: func(context.Context, jobs.Setup) (search.Evaluator, error) { return evaluator, nil }}
		all.Go(func() {
			if err := w.Work(ctx); err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "worker:", err)
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}

// until waits until all workers ask for jobs.
func until(ctx context.Context, c *jobs.Coordinator, workers int) error {
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		waiting, _, err := c.Workers(ctx)
		if err == nil && waiting >= workers || ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(begin) > time.Minute {
			return fmt.Errorf("only %d of %d workers ask for jobs, error %w", waiting, workers, err)
		}
	}
}
