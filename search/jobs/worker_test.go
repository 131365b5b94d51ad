package jobs

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs/jobstest"
)

// closable counts how often it is closed, and whether while it was at work.
type closable struct {
	search.Evaluator
	working, closed, early atomic.Int32
}

func (c *closable) Evaluate(ctx context.Context, job search.Job, parent []byte, progress func(int, float64)) (search.Result, []byte, error) {
	c.working.Add(1)
	defer c.working.Add(-1)
	return c.Evaluator.Evaluate(ctx, job, parent, progress)
}

func (c *closable) Close() error {
	c.closed.Add(1)
	if c.working.Load() > 0 {
		c.early.Add(1)
	}
	return errors.New("told in the log")
}

func (c *closable) check(t *testing.T, closed int32) {
	t.Helper()
	if c.closed.Load() != closed || c.early.Load() > 0 {
		t.Errorf("closed %d times, %d of them at work; want %d", c.closed.Load(), c.early.Load(), closed)
	}
}

// A worker closes what its factory made: when the search ends, and when it is
// interrupted at a job.
func TestEvaluatorIsClosed(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	var made []*closable
	each := func(w *Worker) {
		w.Factory = func(context.Context, Setup) (search.Evaluator, error) {
			made = append(made, &closable{Evaluator: jobstest.Evaluator{Epoch: time.Duration(len(made)) * time.Hour}})
			return made[len(made)-1], nil
		}
	}
	stop := startWorker(t, b.Connection(), nil, each)
	first := open(t, b.Connection(), quick("first"))
	if _, err := first.Evaluate(t.Context(), generation(2), nil); err != nil {
		t.Fatal(err)
	}
	if err := first.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := open(t, b.Connection(), quick("second"))
	evaluate(t, second, generation(1))
	until(t, "the worker is at a job of the second search", func() bool {
		_, busy, err := second.Workers(t.Context())
		return err == nil && busy == 1
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if len(made) != 2 {
		t.Fatalf("%d evaluators", len(made))
	}
	made[0].check(t, 1)
	made[1].check(t, 1)
}

// An evaluation that hangs still uses its evaluator.
func TestHangingEvaluatorIsNotClosed(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	s := quick("hang")
	s.Hang = 500 * time.Millisecond
	c := open(t, b.Connection(), s)
	release := make(chan struct{})
	defer close(release)
	e := &closable{Evaluator: evaluator(func(context.Context, search.Job) (search.Result, []byte, error) {
		<-release
		return search.Result{}, nil, errors.New("too late")
	})}
	evaluate(t, c, generation(1))
	w := Worker{Connection: b.Connection(), Factory: func(context.Context, Setup) (search.Evaluator, error) { return e, nil }}
	if err := w.Work(t.Context()); !errors.Is(err, errHangs) {
		t.Errorf("error %v", err)
	}
	e.check(t, 0)
}

// A search that is not there is told with those that are, after a wait; one
// that comes meanwhile is worked for.
func TestUnknownSearch(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	w := Worker{Connection: b.Connection(), Search: "nine", Log: logger(t)}
	refused := func(want ...string) {
		t.Helper()
		err := w.Work(t.Context())
		for _, text := range want {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("error %v, want %q", err, text)
			}
		}
	}
	refused("search nine is not on this broker, which has none: check the ID")
	open(t, b.Connection(), quick("one"))
	open(t, b.Connection(), quick("two"))
	refused("which has one, two: check")
	w.Search = "n*"
	refused(`search "n*": want an ID of`)
	late := startWorker(t, b.Connection(), jobstest.Evaluator{}, func(w *Worker) { w.Search, w.Connection.Wait = "late", time.Minute })
	time.Sleep(300 * time.Millisecond)
	c := open(t, b.Connection(), quick("late"))
	if _, err := c.Evaluate(t.Context(), generation(1), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := late(); err != nil {
		t.Errorf("the worker of a removed search: %v", err)
	}
}

// A worker that comes late to a job, whose parent's weights nobody needs any
// more, has not failed.
func TestLateForDroppedWeights(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	c := open(t, b.Connection(), quick("late"))
	late := func(id int) error {
		m := &member{assets: c.assets, record: c.record, evaluator: jobstest.Evaluator{}}
		return (&task{member: m, job: search.Job{ID: id, ParentWeights: strings.Repeat("a", 64)}}).call(t.Context(), nil).err
	}
	if err := late(1); !errors.Is(err, errNoFile) {
		t.Errorf("without a result: error %v", err)
	}
	if _, err := c.kv.Create(t.Context(), resultKey(2), []byte(`{"id":2}`)); err != nil {
		t.Fatal(err)
	}
	if err := late(2); !errors.Is(err, errDone) {
		t.Errorf("with a result: error %v", err)
	}
}
