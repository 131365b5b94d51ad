package train

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// askedContext is cancelled when it has been asked for its error so many times
// since it was armed: validation asks before each of its batches.
type askedContext struct {
	context.Context
	cancel context.CancelFunc
	armed  atomic.Bool
	left   atomic.Int32
}

func (c *askedContext) Err() error {
	if c.armed.Load() && c.left.Add(-1) == 0 {
		c.cancel()
	}
	return c.Context.Err()
}

// armer arms a context at the end of an epoch and, when a run goes on, at its
// start: what it goes on with is the measurement.
type armer struct {
	recorder
	asked *askedContext
}

func (a *armer) Started(_ *Config, _ *Start, epoch, step, _ int, _ error) {
	a.asked.armed.Store(epoch+step > 0)
}

func (a *armer) Stepped(s StepReport) { a.asked.armed.Store(s.Step == s.StepsPerEpoch) }

// Interrupted in the middle of a measurement, in a set's later batch or in a
// later set, a run measures again and is the run that was never interrupted.
func TestInterruptedWithinValidation(t *testing.T) {
	c, o := tinyRun(t)
	c.Epochs = 2
	c.Val = []DataSet{writeSet(t, filepath.Join(filepath.Dir(o.Dir), "three-batches"), 2*validBatch+3, 3), c.Val[0]}
	train(t, c, o)
	want := latest(t, o)
	o.Dir += "-interrupted"
	for batch := int32(1); batch <= 4; batch++ {
		ctx, cancel := context.WithCancel(t.Context())
		a := &armer{asked: &askedContext{Context: ctx, cancel: cancel}}
		a.asked.left.Store(batch)
		o.Progress = a
		err := Run(a.asked, c, o)
		cancel()
		if !errors.Is(err, context.Canceled) || len(a.points) != 0 {
			t.Fatalf("interrupted before batch %d: error %v, %d measurements", batch, err, len(a.points))
		}
		o.Resume = true
	}
	train(t, Config{}, o)
	sameRun(t, latest(t, o), want)
}
