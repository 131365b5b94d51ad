package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/evopose/evopose/search"
)

// handle does one job. It returns an error if the worker cannot go on.
func (m *member) handle(ctx context.Context, msg jetstream.Msg) error {
	var job search.Job
	if err := json.Unmarshal(msg.Data(), &job); err != nil {
		m.log.Error("not a job; dropped", zap.String("subject", msg.Subject()), zap.Error(err))
		return msg.Term()
	}
	mine, err := m.claim(ctx, msg, job)
	if err != nil || !mine {
		return err
	}
	begin := time.Now()
	m.log.Info("job begins", zap.Int("job", job.ID), zap.Int("generation", job.Generation), zap.Int("parent", job.Parent), zap.Strings("mutations", job.Mutations))
	r, weights, err := m.evaluate(ctx, msg, job)
	switch {
	case errors.Is(err, errDone):
		m.log.Info("job was done by another worker", zap.Int("job", job.ID))
		return m.acknowledge(ctx, msg)
	case errors.Is(err, errHangs):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return m.failed(ctx, msg, job, err)
	}
	m.failures = 0
	if err := m.finish(ctx, msg, job, tidy(r, job, m.worker.Name, time.Since(begin)), weights); err != nil {
		return err
	}
	m.log.Info("job ends", zap.Int("job", job.ID), zap.Float64("loss", r.Loss), zap.String("failed", r.Failed), zap.Duration("took", time.Since(begin)))
	return nil
}

// claim decides whether to do a job: one that has its result is done, one that
// another worker still works at is left to it, and one at which enough workers
// died is given up.
func (m *member) claim(ctx context.Context, msg jetstream.Msg, job search.Job) (bool, error) {
	if meta, err := msg.Metadata(); err == nil && meta.NumDelivered > 1 {
		switch done, err := m.hasResult(ctx, job.ID); {
		case err != nil:
			return false, err
		case done:
			return false, m.acknowledge(ctx, msg)
		}
		if worker, held := m.holder(job.ID); held {
			m.log.Info("another worker is at the job", zap.Int("job", job.ID), zap.String("by", worker))
			return false, msg.NakWithDelay(m.record.AckWait)
		}
	}
	before, err := m.beginTry(ctx, job.ID, m.worker.Name)
	if err != nil || len(before) < m.record.Tries {
		return err == nil, err
	}
	r := search.Result{ID: job.ID, Worker: m.worker.Name, Failed: describe(before)}
	m.log.Warn("job given up", zap.Int("job", job.ID), zap.String("failed", r.Failed))
	return false, m.finish(ctx, msg, job, r, nil)
}

func (m *member) hasResult(ctx context.Context, job int) (done bool, err error) {
	err = retry(ctx, m.log, fmt.Sprintf("looking for the result of job %d", job), func(ctx context.Context) error {
		_, err := m.kv.Get(ctx, resultKey(job))
		done = err == nil
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil
		}
		return err
	})
	return done, err
}

// holder asks whether a worker is at the job.
func (m *member) holder(job int) (string, bool) {
	answer, err := m.nc.Request(m.holding(job), nil, time.Second)
	if err != nil {
		return "", false
	}
	return string(answer.Data), true
}

// failed notes an evaluation that ended in an error, and hands the job back.
func (m *member) failed(ctx context.Context, msg jetstream.Msg, job search.Job, err error) error {
	m.failures++
	err = fmt.Errorf("job %d: %w", job.ID, err)
	m.log.Error("evaluation failed", zap.Int("job", job.ID), zap.Error(err))
	m.trouble(err)
	if err := m.endTry(ctx, job.ID, m.worker.Name, err.Error()); err != nil {
		return err
	}
	pause := backoff(m.failures)
	if err := msg.NakWithDelay(pause / 2); err != nil {
		m.log.Debug("handing the job back", zap.Error(err)) // it comes back after AckWait
	}
	if m.failures >= mostFailure {
		return fmt.Errorf("%d evaluations in a row failed, the last with: %w", m.failures, err)
	}
	return sleep(ctx, pause)
}

// finish stores weights and result and takes the job off the queue, in this
// order: whatever dies in between, the job is done again or not at all.
func (m *member) finish(ctx context.Context, msg jetstream.Msg, job search.Job, r search.Result, weights []byte) error {
	stop := m.beat(ctx, msg)
	defer stop()
	if r.Failed == "" {
		name, err := m.store.put(ctx, fmt.Sprintf("weights of job %d", job.ID), weights, m.trouble)
		if err != nil {
			return err
		}
		r.Weights = name
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("result of job %d: %w", job.ID, err)
	}
	if err := m.fits(fmt.Sprintf("the result of job %d", job.ID), data); err != nil {
		return err
	}
	err = retry(ctx, m.log, fmt.Sprintf("storing the result of job %d", job.ID), func(ctx context.Context) error {
		_, err := m.kv.Create(ctx, resultKey(job.ID), data)
		if errors.Is(err, jetstream.ErrKeyExists) {
			return nil // the first one counts
		}
		if full(err) {
			m.trouble(fmt.Errorf("storing the result of job %d: %w", job.ID, explainStore(err)))
		}
		return err
	})
	if err != nil {
		return err
	}
	return m.acknowledge(ctx, msg)
}

// acknowledge takes a job off the queue. If that does not work it comes again,
// to a worker that finds its result.
func (m *member) acknowledge(ctx context.Context, msg jetstream.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := msg.DoubleAck(ctx); err != nil {
		m.log.Debug("taking a job off the queue", zap.Error(err))
	}
	return nil
}

// tidy makes a result one that can be told: its losses are numbers, and
// without a loss it is a failed one.
func tidy(r search.Result, job search.Job, worker string, took time.Duration) search.Result {
	r.ID, r.Worker = job.ID, worker
	if r.Seconds == 0 || !isNumber(r.Seconds) {
		r.Seconds = took.Seconds()
	}
	if !isNumber(r.Latency) {
		r.Latency = 0
	}
	for i, l := range r.Losses {
		if !isNumber(l) {
			r.Losses = r.Losses[:i]
			break
		}
	}
	if r.Failed == "" && !isNumber(r.Loss) {
		r.Failed = fmt.Sprintf("the loss is %v", r.Loss)
	}
	if r.Failed != "" {
		r.Loss, r.Weights = 0, ""
	}
	return r
}

func isNumber(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

var (
	errDone  = errors.New("another worker has done the job")
	errHangs = errors.New("the evaluation hangs")
)

// outcome is what an evaluation returned.
type outcome struct {
	result  search.Result
	weights []byte
	err     error
}

// evaluate runs the evaluation with its signs of life. When the context ends
// the job goes back to the queue at once.
func (m *member) evaluate(ctx context.Context, msg jetstream.Msg, job search.Job) (search.Result, []byte, error) {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := m.beat(inner, msg)
	defer stop()
	held, err := m.nc.Subscribe(m.holding(job.ID), func(q *nats.Msg) { _ = q.Respond([]byte(m.worker.Name)) })
	if err == nil {
		defer held.Unsubscribe() //nolint:errcheck // the connection knows
	}
	alive := make(chan struct{}, 1)
	ended := make(chan outcome, 1)
	go func() { ended <- m.call(inner, job, alive) }()
	return m.supervise(ctx, cancel, msg, job, alive, ended)
}

// supervise waits for the evaluation. One that shows no life is left behind.
func (m *member) supervise(ctx context.Context, cancel context.CancelCauseFunc, msg jetstream.Msg, job search.Job, alive <-chan struct{}, ended <-chan outcome) (search.Result, []byte, error) {
	hang := time.NewTimer(m.record.Hang)
	defer hang.Stop()
	look := time.NewTicker(m.record.AckWait)
	defer look.Stop()
	interrupted := ctx.Done()
	for {
		select {
		case o := <-ended:
			if cause := context.Cause(ctx); cause != nil {
				o.err = cause
			}
			return o.result, o.weights, o.err
		case <-alive:
			hang.Reset(m.record.Hang)
		case <-look.C:
			if m.doneElsewhere(ctx, job.ID) {
				cancel(errDone)
			}
		case <-interrupted:
			interrupted = nil
			m.handBack(ctx, msg, job)
		case <-hang.C:
			err := fmt.Errorf("job %d: %w: no epoch ended within %v", job.ID, errHangs, m.record.Hang)
			cancel(err)
			return search.Result{}, nil, m.abandon(ctx, msg, job, err)
		}
	}
}

// call is the evaluation itself; a panic is an error.
func (m *member) call(ctx context.Context, job search.Job, alive chan<- struct{}) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			m.log.Error("evaluation panicked", zap.Int("job", job.ID), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			o.err = fmt.Errorf("panic: %v", p)
		}
	}()
	parent, err := m.weights(ctx, job)
	if err != nil {
		return outcome{err: err}
	}
	m.report(job.ID, 0, 0)
	o.result, o.weights, o.err = m.evaluator.Evaluate(ctx, job, parent, func(epoch int, loss float64) {
		select {
		case alive <- struct{}{}:
		default:
		}
		m.report(job.ID, epoch, loss)
	})
	if cause := context.Cause(ctx); o.err != nil && cause != nil {
		o.err = cause
	}
	return o
}

// report tells whoever listens how far a job is.
func (m *member) report(job, epoch int, loss float64) {
	if !isNumber(loss) {
		loss = 0
	}
	data, err := json.Marshal(Progress{Job: job, Worker: m.worker.Name, Epoch: epoch, Loss: loss})
	if err == nil {
		_ = m.nc.Publish(m.progress(job), data) // may be lost
	}
}

// doneElsewhere reports whether the job got its result while this worker was
// cut off and another one took it.
func (m *member) doneElsewhere(ctx context.Context, job int) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := m.kv.Get(ctx, resultKey(job))
	return err == nil
}

// handBack puts the job of an interrupted worker back into the queue, and the
// try does not count.
func (m *member) handBack(ctx context.Context, msg jetstream.Msg, job search.Job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	if err := m.endTry(ctx, job.ID, m.worker.Name, ""); err != nil {
		m.log.Debug("forgetting the try", zap.Error(err))
	}
	err := msg.Nak()
	if err == nil {
		err = m.nc.FlushWithContext(ctx)
	}
	if err != nil {
		m.log.Warn("the job could not be handed back; it is given to another worker after a while", zap.Int("job", job.ID), zap.Duration("while", m.record.AckWait), zap.Error(err))
		return
	}
	m.log.Info("job handed back", zap.Int("job", job.ID))
}

// abandon hands a hanging job to other workers; this one's end is the error.
func (m *member) abandon(ctx context.Context, msg jetstream.Msg, job search.Job, reason error) error {
	m.trouble(reason)
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := m.endTry(ctx, job.ID, m.worker.Name, reason.Error())
	return errors.Join(reason, err, msg.Nak(), m.nc.FlushWithContext(ctx))
}

// beat tells the broker that the job is being worked at, until it is stopped
// or the context ends.
func (m *member) beat(ctx context.Context, msg jetstream.Msg) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(m.record.heartbeat())
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				_ = msg.InProgress() // lost while the connection is broken
			}
		}
	}()
	return func() { cancel(); <-ended }
}
