package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/evopose/evopose/search"
)

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
func (t *task) evaluate(ctx context.Context) outcome {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := t.beat(inner)
	defer stop()
	held, err := t.nc.Subscribe(t.holding(t.job.ID), func(q *nats.Msg) { _ = q.Respond([]byte(t.worker.Name)) })
	if err == nil {
		defer held.Unsubscribe() //nolint:errcheck // the connection knows
	}
	alive := make(chan struct{}, 1)
	ended := make(chan outcome, 1)
	go func() { ended <- t.call(inner, alive) }()
	return t.supervise(ctx, cancel, alive, ended)
}

// supervise waits for the evaluation. One that shows no life is left behind.
func (t *task) supervise(ctx context.Context, cancel context.CancelCauseFunc, alive <-chan struct{}, ended <-chan outcome) outcome {
	hang := time.NewTimer(t.record.Hang)
	defer hang.Stop()
	look := time.NewTicker(t.record.AckWait)
	defer look.Stop()
	interrupted := ctx.Done()
	for {
		select {
		case o := <-ended:
			if interrupted != nil && ctx.Err() != nil {
				t.handBack(ctx)
			}
			return o
		case <-alive:
			hang.Reset(t.record.Hang)
		case <-look.C:
			if t.doneElsewhere(ctx) {
				cancel(errDone)
			}
		case <-interrupted:
			interrupted = nil
			t.handBack(ctx)
		case <-hang.C:
			err := fmt.Errorf("%s: %w: no epoch ended within %v", t.name, errHangs, t.record.Hang)
			cancel(err)
			return outcome{err: t.abandon(ctx, err)}
		}
	}
}

// call is the evaluation itself; a panic is an error.
func (t *task) call(ctx context.Context, alive chan<- struct{}) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			t.log.Error("evaluation panicked", zap.Int("job", t.job.ID), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			o.err = fmt.Errorf("panic: %v", p)
		}
		if cause := context.Cause(ctx); o.err != nil && cause != nil {
			o.err = cause
		}
	}()
	parent, err := t.weights(ctx, t.job)
	if errors.Is(err, errNoFile) && t.doneElsewhere(ctx) {
		err = errDone // and nobody needs its parent any more
	}
	if err != nil {
		return outcome{err: err}
	}
	t.report(0, 0)
	o.result, o.weights, o.err = t.evaluator.Evaluate(ctx, t.job, parent, func(epoch int, loss float64) {
		select {
		case alive <- struct{}{}:
		default:
		}
		t.report(epoch, loss)
	})
	return o
}

// report tells whoever listens how far the job is.
func (t *task) report(epoch int, loss float64) {
	if !isNumber(loss) {
		loss = 0
	}
	data, err := json.Marshal(Progress{Job: t.job.ID, Worker: t.worker.Name, Epoch: epoch, Loss: loss})
	if err == nil {
		_ = t.nc.Publish(t.progress(t.job.ID), data) // may be lost
	}
}

// doneElsewhere reports whether the job got its result while this worker was
// cut off and another one took it.
func (t *task) doneElsewhere(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := t.kv.Get(ctx, resultKey(t.job.ID))
	return err == nil
}

// handBack puts the job of an interrupted worker back into the queue, and the
// try does not count.
func (t *task) handBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	if err := t.endTry(ctx, t.job.ID, t.id, t.worker.Name, ""); err != nil {
		t.log.Debug("forgetting the try", zap.Error(err))
	}
	if err := errors.Join(t.msg.Nak(), t.nc.FlushWithContext(ctx)); err != nil {
		t.log.Warn("the job could not be handed back; it is given to another worker after a while", zap.Int("job", t.job.ID), zap.Duration("while", t.record.AckWait), zap.Error(err))
		return
	}
	t.log.Info("job handed back", zap.Int("job", t.job.ID))
}

// abandon hands a hanging job to other workers; this one's end is the error.
func (t *task) abandon(ctx context.Context, reason error) error {
	t.trouble(reason)
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := t.endTry(ctx, t.job.ID, t.id, t.worker.Name, reason.Error())
	return errors.Join(reason, err, t.msg.Nak(), t.nc.FlushWithContext(ctx))
}

// beat tells the broker that the job is being worked at, until it is stopped
// or the context ends.
func (t *task) beat(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(t.record.heartbeat())
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = t.msg.InProgress() // lost while the connection is broken
			}
		}
	}()
	return func() { cancel(); <-ended }
}
