package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs/jobstest"
)

// Two workers share the jobs of two generations, the second of which starts
// from the weights of the first.
func TestSearch(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	c := open(t, b.Connection(), quick("one"))
	e := jobstest.Evaluator{Epoch: 10 * time.Millisecond, Size: 3 << 20} // more than a message holds
	startWorker(t, b.Connection(), e)
	startWorker(t, b.Connection(), e)
	first := generation(6)
	got, wait := evaluate(t, c, first)
	wait()
	got.check(t, first)
	weights, err := c.Weights(t.Context(), got.results[2])
	if err != nil || !bytes.Equal(weights, jobstest.Weights(first[2], nil, e.Size)) {
		t.Fatalf("weights of job 2: %d bytes, error %v", len(weights), err)
	}
	second := search.Job{ID: 6, Generation: 2, Parent: 2, Genotype: first[2].Genotype, Seed: 7, Epochs: 2, ParentWeights: got.results[2].Weights}
	results, err := c.Evaluate(t.Context(), []search.Job{second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := jobstest.Loss(jobstest.Weights(second, weights, e.Size)); results[0].Loss != want || results[0].Transfer != "3145728 bytes" {
		t.Errorf("child: loss %v, transfer %s; want %v", results[0].Loss, results[0].Transfer, want)
	}
	if len(results[0].Losses) != 2 || results[0].Seconds == 0 || !strings.HasPrefix(results[0].Worker, "w") {
		t.Errorf("child: %+v", results[0])
	}
}

// Two searches on one broker have nothing in common; a worker that is bound to
// one ends with it.
func TestTwoSearches(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	one, two := open(t, b.Connection(), quick("one")), open(t, b.Connection(), quick("two"))
	stop := startWorker(t, b.Connection(), jobstest.Evaluator{}, func(w *Worker) { w.Search = "one" })
	startWorker(t, b.Connection(), offset{1}, func(w *Worker) { w.Search = "two" })
	jobs := generation(3)
	a, waitA := evaluate(t, one, jobs)
	z, waitZ := evaluate(t, two, jobs)
	waitA()
	waitZ()
	a.check(t, jobs)
	for i, r := range z.results {
		if r.Loss != a.results[i].Loss+1 {
			t.Errorf("job %d: loss %v in one search, %v in the other", i, a.results[i].Loss, r.Loss)
		}
	}
	if err := one.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Errorf("a worker of an ended search: %v", err)
	}
	if err := two.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// offset adds to the simulated loss.
type offset struct{ by float64 }

func (o offset) Evaluate(ctx context.Context, job search.Job, parent []byte, progress func(int, float64)) (search.Result, []byte, error) {
	r, w, err := jobstest.Evaluator{}.Evaluate(ctx, job, parent, progress)
	r.Loss += o.by
	return r, w, err
}

// evaluator is a function.
type evaluator func(ctx context.Context, job search.Job) (search.Result, []byte, error)

func (f evaluator) Evaluate(ctx context.Context, job search.Job, _ []byte, _ func(int, float64)) (search.Result, []byte, error) {
	return f(ctx, job)
}

// What is no loss is a failed result; errors and panics are tried again and
// given up in the end, and the other jobs have their results.
func TestFailures(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	s := quick("failures")
	s.Tries = 2
	c := open(t, b.Connection(), s)
	e := evaluator(func(ctx context.Context, job search.Job) (search.Result, []byte, error) {
		switch job.ID {
		case 1:
			return search.Result{Loss: math.NaN(), Losses: []float64{2, math.NaN()}}, []byte("w"), nil
		case 2:
			return search.Result{Failed: "does not fit into memory", Loss: 5}, nil, nil
		case 3:
			return search.Result{}, nil, errors.New("no such device")
		case 4:
			panic("index out of range")
		}
		return jobstest.Evaluator{}.Evaluate(ctx, job, nil, nil)
	})
	startWorker(t, b.Connection(), e)
	startWorker(t, b.Connection(), e)
	results, err := c.Evaluate(t.Context(), generation(8), nil)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[int]string{1: "the loss is NaN", 2: "does not fit into memory", 3: "given up after 2 tries", 4: "panic: index out of range"} {
		if r := results[id]; !strings.Contains(r.Failed, want) || r.Weights != "" || r.Loss != 0 {
			t.Errorf("job %d: %+v, want failed with %q", id, r, want)
		}
	}
	if !strings.Contains(results[3].Failed, "no such device") || len(results[1].Losses) != 1 {
		t.Errorf("jobs 3 and 1: %q, %v", results[3].Failed, results[1].Losses)
	}
	for _, id := range []int{0, 5, 6, 7} {
		if results[id].Failed != "" || results[id].Loss != want(generation(8))[id] {
			t.Errorf("job %d: %+v", id, results[id])
		}
	}
	if _, err := c.Weights(t.Context(), results[1]); err == nil || !strings.Contains(err.Error(), "the loss is NaN") {
		t.Errorf("weights of a failed job: %v", err)
	}
}

// A worker whose every evaluation is an error gives up and says why.
func TestWorkerThatCannotWork(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	c := open(t, b.Connection(), quick("broken"))
	jobs := generation(4)
	got, wait := evaluate(t, c, jobs)
	broken := evaluator(func(context.Context, search.Job) (search.Result, []byte, error) {
		return search.Result{}, nil, errors.New("no GPU")
	})
	w := Worker{Connection: b.Connection(), Factory: func(context.Context, Setup) (search.Evaluator, error) { return broken, nil }}
	if err := w.Work(t.Context()); err == nil || !strings.Contains(err.Error(), "3 evaluations in a row failed") || !strings.Contains(err.Error(), "no GPU") {
		t.Errorf("error %v", err)
	}
	startWorker(t, b.Connection(), jobstest.Evaluator{})
	wait()
	got.check(t, jobs)
}

// A search that is opened again must be the same one.
func TestOpenAgain(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	c := open(t, b.Connection(), quick("again"))
	other := quick("again")
	other.Settings = json.RawMessage(`{"epochs": 4}`)
	if _, err := Open(t.Context(), b.Connection(), other, Options{}); err == nil || !strings.Contains(err.Error(), "with other settings") {
		t.Errorf("other settings: %v", err)
	}
	if _, err := Open(t.Context(), b.Connection(), Search{ID: "a b"}, Options{}); err == nil || !strings.Contains(err.Error(), `search "a b"`) {
		t.Errorf("bad ID: %v", err)
	}
	if err := c.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	same := quick("again")
	same.Settings = json.RawMessage(`{ "epochs" :3}`)
	c = open(t, b.Connection(), same)
	startWorker(t, b.Connection(), jobstest.Evaluator{})
	jobs := generation(2)
	got, wait := evaluate(t, c, jobs)
	wait()
	got.check(t, jobs)
}

// Jobs that cannot be are refused before the first is submitted.
func TestBadJobs(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	c := open(t, b.Connection(), quick("bad"))
	twice := []search.Job{{ID: 1}, {ID: 1}}
	orphan := []search.Job{{ID: 1}, {ID: 2, Parent: 1, ParentWeights: strings.Repeat("a", 64)}}
	large := []search.Job{{ID: 1}, {ID: 2, Mutations: []string{strings.Repeat("m", 2<<20)}}}
	notFinite := []search.Job{{ID: 1}, {ID: 2, StopAbove: []float64{math.Inf(1)}}}
	for want, jobs := range map[string][]search.Job{"job 1 is there twice": twice, "not in the search's store": orphan, "messages of at most 1048576": large, "job 2: json": notFinite} {
		if _, err := c.Evaluate(t.Context(), jobs, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	until(t, "the queue is empty", func() bool { queued, err := c.queued(t.Context()); return err == nil && len(queued) == 0 })
}
