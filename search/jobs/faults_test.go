package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs/jobstest"
)

// slow evaluations take 0.6 s, of 3 epochs.
var slow = jobstest.Evaluator{Epoch: 200 * time.Millisecond}

// counting counts the evaluations that were begun, by job.
type counting struct {
	search.Evaluator
	mu    sync.Mutex
	begun map[int]int
}

func (c *counting) Evaluate(ctx context.Context, job search.Job, parent []byte, progress func(int, float64)) (search.Result, []byte, error) {
	c.mu.Lock()
	if c.begun == nil {
		c.begun = map[int]int{}
	}
	c.begun[job.ID]++
	c.mu.Unlock()
	return c.Evaluator.Evaluate(ctx, job, parent, progress)
}

func (c *counting) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, k := range c.begun {
		n += k
	}
	return n
}

// A worker that is killed in the middle of a job loses it to another one.
func TestKilledWorker(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	c := open(t, b.Connection(), quick("killed"))
	jobs := generation(5)
	victim := child{Worker: &childWorker{URL: b.URL(), Name: "victim", Epoch: time.Hour}}.start(t)
	got, wait := evaluate(t, c, jobs)
	until(t, "the victim is at a job", func() bool { _, busy, err := c.Workers(t.Context()); return err == nil && busy == 1 })
	startWorker(t, b.Connection(), slow)
	until(t, "others are done", func() bool { return got.count() >= 2 })
	kill(victim)
	wait()
	got.check(t, jobs)
}

// A genotype that kills each of its workers is given up after three.
func TestPoison(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	c := open(t, b.Connection(), quick("poison"))
	jobs := generation(4)
	for _, name := range []string{"a", "b", "c"} {
		child{Worker: &childWorker{URL: b.URL(), Name: name, Epoch: time.Millisecond, Poison: 2}}.start(t)
	}
	got, wait := evaluate(t, c, jobs)
	until(t, "three others are done", func() bool { return got.count() == 3 })
	until(t, "three died", func() bool {
		e, err := c.kv.Get(t.Context(), triesKey(2))
		return err == nil && strings.Count(string(e.Value()), "worker") == 3
	})
	startWorker(t, b.Connection(), jobstest.Evaluator{})
	wait()
	r := got.results[2]
	if !strings.HasPrefix(r.Failed, "given up after 3 tries: ") || strings.Count(r.Failed, " died") != 3 || r.Loss != 0 {
		t.Errorf("the poisoned job: %+v", r)
	}
	got.results[2] = search.Result{ID: 2, Loss: want(jobs)[2]} // the others are as ever
	got.check(t, jobs)
}

// A coordinator that is killed, and its broker with it, goes on where it was.
func TestKilledCoordinator(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, dir, BrokerOptions{}) // only to find a port
	address := b.server.Addr().String()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	e := &counting{Evaluator: slow}
	startWorker(t, Connection{URL: "nats://" + address, Wait: 20 * time.Second}, e)
	s := childSearch{Dir: dir, Listen: address, Jobs: 6, Results: filepath.Join(dir, "results.json")}
	cmd := child{Search: &s}.start(t)
	until(t, "two jobs are done", func() bool { m, _ := filepath.Glob(filepath.Join(dir, "done-*")); return len(m) >= 2 })
	kill(cmd)
	if _, err := os.Stat(s.Results); err == nil {
		t.Fatal("the search ended before it was killed")
	}
	time.Sleep(500 * time.Millisecond) // the worker has a result for nobody
	again := child{Search: &s}.start(t)
	if err := again.Wait(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(s.Results)
	if err != nil {
		t.Fatal(err)
	}
	var results []search.Result
	if err := json.Unmarshal(data, &results); err != nil {
		t.Fatal(err)
	}
	jobs := generation(s.Jobs)
	for i, r := range results {
		if r.Loss != want(jobs)[i] || r.ID != i {
			t.Errorf("job %d: %+v", i, r)
		}
	}
	if len(results) != 6 || e.total() != 6 {
		t.Errorf("%d results of %d evaluations, want 6 of 6", len(results), e.total())
	}
}

// The broker stops and starts again on the same directory and address.
func TestBrokerRestarts(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, dir, BrokerOptions{})
	url := b.URL()
	c := open(t, b.Connection(), quick("restart"))
	e := &counting{Evaluator: slow}
	startWorker(t, b.Connection(), e)
	startWorker(t, b.Connection(), e)
	jobs := generation(8)
	got, wait := evaluate(t, c, jobs)
	until(t, "two are done", func() bool { return got.count() >= 2 })
	if _, err := Embedded(dir, BrokerOptions{}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second broker: error %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(700 * time.Millisecond)
	if b = startBroker(t, dir, BrokerOptions{}); b.URL() != url {
		t.Fatalf("the broker is now at %s, was at %s", b.URL(), url)
	}
	wait()
	got.check(t, jobs)
	if e.total() > len(jobs)+2 {
		t.Errorf("%d evaluations of %d jobs", e.total(), len(jobs))
	}
}

// Connections break, and are silent, for longer than it takes to be thought
// dead.
func TestConnectionCut(t *testing.T) {
	for name, hole := range map[string]bool{"dropped": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			b := startBroker(t, t.TempDir(), BrokerOptions{})
			toWorker, toSearch := startProxy(t, b.server.Addr().String()), startProxy(t, b.server.Addr().String())
			c := open(t, Connection{URL: toSearch.url()}, quick("cut"))
			startWorker(t, Connection{URL: toWorker.url()}, slow)
			startWorker(t, b.Connection(), slow)
			jobs := generation(8)
			got, wait := evaluate(t, c, jobs)
			until(t, "two are done", func() bool { return got.count() >= 2 })
			for _, p := range []*proxy{toWorker, toSearch} {
				p.set(hole, !hole)
				if !hole {
					p.drop()
				}
			}
			time.Sleep(1500 * time.Millisecond)
			toWorker.set(false, false)
			toSearch.set(false, false)
			wait()
			got.check(t, jobs)
		})
	}
}

// A worker whose evaluation never ends hands the job on and ends.
func TestHangingWorker(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	s := quick("hang")
	s.Hang = 1500 * time.Millisecond
	c := open(t, b.Connection(), s)
	release := make(chan struct{})
	defer close(release)
	hanging := evaluator(func(context.Context, search.Job) (search.Result, []byte, error) {
		<-release
		return search.Result{}, nil, errors.New("too late")
	})
	stop := startWorker(t, b.Connection(), hanging)
	jobs := generation(4)
	got, wait := evaluate(t, c, jobs)
	until(t, "the worker hangs", func() bool { _, busy, err := c.Workers(t.Context()); return err == nil && busy == 1 })
	startWorker(t, b.Connection(), slow)
	wait()
	got.check(t, jobs)
	if err := stop(); err != nil && !errors.Is(err, errHangs) {
		t.Errorf("the hanging worker: %v", err)
	}
}

// Two workers do the same job, because one was silent: its result counts once.
func TestSameJobTwice(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	p := startProxy(t, b.server.Addr().String())
	c := open(t, b.Connection(), quick("twice"))
	release := make(chan struct{})
	var begun, returned atomic.Bool
	late := evaluator(func(ctx context.Context, job search.Job) (search.Result, []byte, error) {
		begun.Store(true)
		<-release
		r, w, err := jobstest.Evaluator{}.Evaluate(context.WithoutCancel(ctx), job, nil, nil)
		r.Loss++ // this worker computes otherwise
		returned.Store(true)
		return r, w, err
	})
	startWorker(t, Connection{URL: p.url()}, late)
	jobs := generation(2)
	got, wait := evaluate(t, c, jobs)
	until(t, "the worker is at a job", begun.Load)
	p.set(true, false)
	startWorker(t, b.Connection(), slow)
	wait()
	got.check(t, jobs)
	close(release)
	p.set(false, false)
	until(t, "the silent worker returns", returned.Load)
	time.Sleep(300 * time.Millisecond)
	again, wait := evaluate(t, c, jobs)
	wait()
	again.check(t, jobs)
	fresh := open(t, b.Connection(), quick("twice"))
	fromStore, wait := evaluate(t, fresh, jobs)
	wait()
	fromStore.check(t, jobs)
}

// While one worker is at a job that was delivered again, no other takes it.
func TestHeldJob(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	p := startProxy(t, b.server.Addr().String())
	c := open(t, b.Connection(), quick("held"))
	e := &counting{Evaluator: jobstest.Evaluator{Epoch: 1500 * time.Millisecond}}
	startWorker(t, Connection{URL: p.url()}, e)
	jobs := generation(1)
	got, wait := evaluate(t, c, jobs)
	until(t, "the worker is at the job", func() bool { return e.total() == 1 })
	p.set(true, false)
	time.Sleep(1800 * time.Millisecond)
	p.set(false, false)
	time.Sleep(500 * time.Millisecond)
	startWorker(t, b.Connection(), e)
	wait()
	got.check(t, jobs)
	if e.total() != 1 {
		t.Errorf("%d evaluations of 1 job", e.total())
	}
}

// An interrupted worker hands its job back at once, and it does not count as a
// failure.
func TestInterruptedWorker(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	s := quick("interrupted")
	s.AckWait, s.Tries = time.Minute, 1
	c := open(t, b.Connection(), s)
	jobs := generation(2)
	got, wait := evaluate(t, c, jobs)
	for range 3 {
		e := &counting{Evaluator: jobstest.Evaluator{Epoch: time.Hour}}
		stop := startWorker(t, b.Connection(), e)
		until(t, "the worker is at a job", func() bool { return e.total() == 1 })
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	startWorker(t, b.Connection(), jobstest.Evaluator{})
	begin := time.Now()
	wait()
	got.check(t, jobs)
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("the jobs came back after %v", took)
	}
}

// What is no result of the job is removed, and the job done again; what
// vanished from the queue is submitted again.
func TestLostAndInvalid(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	c := open(t, b.Connection(), quick("lost"))
	for key, text := range map[string]string{resultKey(0): "{", resultKey(1): `{"id":7,"loss":0.5}`} {
		if _, err := c.kv.Create(t.Context(), key, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	jobs := generation(3)
	got, wait := evaluate(t, c, jobs)
	until(t, "the jobs are queued", func() bool { q, err := c.queued(t.Context()); return err == nil && len(q) == 3 })
	stream, err := c.js.Stream(t.Context(), c.stream())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	startWorker(t, b.Connection(), jobstest.Evaluator{})
	wait()
	got.check(t, jobs)
}

// A full store is told to worker and coordinator, in words that help; when
// there is room again the search goes on.
func TestFullStore(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, dir, BrokerOptions{MaxStore: 2 << 20})
	c := open(t, b.Connection(), quick("full"))
	trouble := make(chan string, 100)
	sub, err := c.nc.Subscribe(c.trouble(), func(m *nats.Msg) { trouble <- string(m.Data) })
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	startWorker(t, b.Connection(), jobstest.Evaluator{Size: 3 << 20})
	jobs := generation(1)
	got, wait := evaluate(t, c, jobs)
	select {
	case text := <-trouble:
		if !strings.Contains(text, "weights of job 0") || !strings.Contains(text, "limit is full") {
			t.Errorf("told: %s", text)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody is told")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	startBroker(t, dir, BrokerOptions{})
	wait()
	got.check(t, jobs)
}
