package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/evopose/evopose/search"
)

// member is a worker in a search.
type member struct {
	assets
	worker    Worker
	record    record
	searches  searches
	evaluator search.Evaluator
	queue     jetstream.Consumer // nil after an error
	parents   recent             // weights to start from
	failures  int                // evaluations in a row that were errors
}

const (
	fetchWait    = 30 * time.Second // longest time of one request for a job
	mostFailures = 3                // errors in a row after which a worker gives up
)

// run does jobs until the search or the context ends, or the worker cannot
// work.
func (m *member) run(ctx context.Context) error {
	for try := 0; ; {
		msg, err := m.next(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			if m.ended(ctx) {
				return errEnded
			}
			m.log.Debug("asking for a job", zap.Error(err))
			if err := sleep(ctx, min(backoff(try), 2*time.Second)); err != nil {
				return err
			}
			try++
			continue
		}
		try = 0
		if msg == nil {
			continue
		}
		if err := m.handle(ctx, msg); err != nil {
			return err
		}
	}
}

// next asks for one job; nil if none came in time.
func (m *member) next(ctx context.Context) (msg jetstream.Msg, err error) {
	defer func() {
		if err != nil {
			m.queue = nil
		}
	}()
	if m.queue == nil {
		attempt, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		if m.queue, err = m.js.Consumer(attempt, m.stream(), m.consumer()); err != nil {
			return nil, err
		}
	}
	fetch, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	beat := min(5*time.Second, max(m.record.heartbeat(), 500*time.Millisecond))
	batch, err := m.queue.Fetch(1, jetstream.FetchContext(fetch), jetstream.FetchHeartbeat(beat))
	if err != nil {
		return nil, err
	}
	if msg = <-batch.Messages(); msg != nil {
		return msg, nil
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	return nil, nil
}

// ended reports whether the search is over; while the broker is away it is not.
func (m *member) ended(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, found, err := m.searches.get(ctx, m.id)
	return err == nil && (!found || r.Ended)
}

// trouble tells the coordinator what goes wrong here.
func (m *member) trouble(err error) {
	_ = m.nc.Publish(m.names.trouble(), fmt.Appendf(nil, "worker %s: %v", m.worker.Name, err)) // may be lost
}

// weights returns the file with a job's weights to start from; nil for none.
func (m *member) weights(ctx context.Context, j search.Job) ([]byte, error) {
	if j.ParentWeights == "" {
		return nil, nil
	}
	if data, ok := m.parents.get(j.ParentWeights); ok {
		return data, nil
	}
	data, err := m.store.get(ctx, fmt.Sprintf("weights of job %d", j.Parent), j.ParentWeights)
	if err == nil {
		m.parents.add(j.ParentWeights, data)
	}
	return data, err
}

// recent keeps a few files in memory: children of one parent often come to the
// same worker.
type recent struct {
	names []string
	files [][]byte
}

const mostRecent = 4

func (r *recent) get(name string) ([]byte, bool) {
	for i, n := range r.names {
		if n == name {
			return r.files[i], true
		}
	}
	return nil, false
}

func (r *recent) add(name string, data []byte) {
	r.names, r.files = append(r.names, name), append(r.files, data)
	if len(r.names) > mostRecent {
		r.names, r.files = r.names[1:], r.files[1:]
	}
}
