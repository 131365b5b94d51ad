package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/evopose/evopose/search"
)

// task is a worker's attempt at a job.
type task struct {
	*member
	msg  jetstream.Msg
	job  search.Job
	id   string // of this attempt
	name string // of the job, for messages
}

// handle does one job. It returns an error if the worker cannot go on.
func (m *member) handle(ctx context.Context, msg jetstream.Msg) error {
	t := &task{member: m, msg: msg, id: uuid.NewString()}
	if err := json.Unmarshal(msg.Data(), &t.job); err != nil {
		m.log.Error("not a job; dropped", zap.String("subject", msg.Subject()), zap.Error(err))
		return msg.Term()
	}
	t.name = fmt.Sprintf("job %d", t.job.ID)
	mine, err := t.claim(ctx)
	if err != nil || !mine {
		return err
	}
	return t.do(ctx)
}

func (t *task) do(ctx context.Context) error {
	begin, number := time.Now(), zap.Int("job", t.job.ID)
	t.log.Info("job begins", number, zap.Int("generation", t.job.Generation), zap.Int("parent", t.job.Parent), zap.Strings("mutations", t.job.Mutations))
	o := t.evaluate(ctx)
	switch {
	case errors.Is(o.err, errDone):
		t.log.Info("job was done by another worker", number)
		t.acknowledge()
		return nil
	case errors.Is(o.err, errHangs):
		return o.err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case o.err != nil:
		return t.failed(ctx, o.err)
	}
	t.failures = 0
	r := tidy(o.result, t.job, t.worker.Name, time.Since(begin))
	if err := t.finish(ctx, r, o.weights); err != nil {
		return err
	}
	t.log.Info("job ends", number, zap.Float64("loss", r.Loss), zap.String("failed", r.Failed), zap.Duration("took", time.Since(begin)))
	return nil
}

// claim reports whether to do the job: one that has its result is done, one
// that another worker still works at is left to it, and one at which enough
// workers died is given up.
func (t *task) claim(ctx context.Context) (bool, error) {
	switch done, err := t.hasResult(ctx); {
	case err != nil:
		return false, err
	case done:
		t.acknowledge()
		return false, nil
	}
	if meta, err := t.msg.Metadata(); err == nil && meta.NumDelivered > 1 {
		if worker, held := t.holder(); held {
			t.log.Info("another worker is at the job", zap.Int("job", t.job.ID), zap.String("by", worker))
			return false, t.msg.NakWithDelay(t.record.AckWait)
		}
	}
	before, err := t.beginTry(ctx, t.job.ID, t.id, t.worker.Name)
	if err != nil || len(before) < t.record.Tries {
		return err == nil, err
	}
	r := search.Result{ID: t.job.ID, Worker: t.worker.Name, Failed: describe(before)}
	t.log.Warn("job given up", zap.Int("job", t.job.ID), zap.String("failed", r.Failed))
	return false, t.finish(ctx, r, nil)
}

func (t *task) hasResult(ctx context.Context) (done bool, err error) {
	err = retry(ctx, t.log, "looking for the result of "+t.name, func(ctx context.Context) error {
		_, err := t.kv.Get(ctx, resultKey(t.job.ID))
		done = err == nil
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil
		}
		return err
	})
	return done, err
}

// holder asks whether a worker is at the job.
func (t *task) holder() (string, bool) {
	answer, err := t.nc.Request(t.holding(t.job.ID), nil, time.Second)
	if err != nil {
		return "", false
	}
	return string(answer.Data), true
}

// failed notes an evaluation that ended in an error, and hands the job back.
func (t *task) failed(ctx context.Context, reason error) error {
	t.failures++
	t.log.Error("evaluation failed", zap.Int("job", t.job.ID), zap.Error(reason))
	t.trouble(fmt.Errorf("%s: %w", t.name, reason))
	if err := t.endTry(ctx, t.job.ID, t.id, t.worker.Name, reason.Error()); err != nil {
		return err
	}
	pause := backoff(t.failures)
	// The job stays away for longer than this worker pauses: a worker that
	// cannot work shall fail at several jobs rather than give one up.
	if err := t.msg.NakWithDelay(10 * pause); err != nil {
		t.log.Debug("handing the job back", zap.Error(err)) // it comes back after AckWait
	}
	if t.failures >= mostFailures {
		return fmt.Errorf("%d evaluations in a row failed, the last, %s, with: %w", t.failures, t.name, reason)
	}
	return sleep(ctx, pause)
}

// finish stores weights and result and takes the job off the queue, in this
// order: whatever dies in between, the job is done again or not at all.
func (t *task) finish(ctx context.Context, r search.Result, weights []byte) error {
	stop := t.beat(ctx)
	defer stop()
	if r.Failed == "" {
		name, err := t.store.put(ctx, "weights of "+t.name, weights, t.trouble)
		if err != nil {
			return err
		}
		r.Weights = name
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("result of %s: %w", t.name, err)
	}
	if err := t.fits("the result of "+t.name, data); err != nil {
		return err
	}
	if err := t.putResult(ctx, data); err != nil {
		return err
	}
	t.acknowledge()
	return nil
}

func (t *task) putResult(ctx context.Context, data []byte) error {
	what := "storing the result of " + t.name
	return retry(ctx, t.log, what, func(ctx context.Context) error {
		_, err := t.kv.Create(ctx, resultKey(t.job.ID), data)
		if errors.Is(err, jetstream.ErrKeyExists) {
			return nil // the first one counts
		}
		if full(err) {
			t.trouble(fmt.Errorf("%s: %w", what, explainStore(err)))
		}
		return err
	})
}

// acknowledge takes the job off the queue. If that does not work it comes
// again, to a worker that finds its result.
func (t *task) acknowledge() {
	if err := t.msg.Ack(); err != nil {
		t.log.Debug("taking a job off the queue", zap.Error(err))
	}
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
