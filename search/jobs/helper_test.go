package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs/jobstest"
)

// processEnv holds what a process that a test started is to do.
const processEnv = "EVOPOSE_TEST_PROCESS"

func TestMain(m *testing.M) {
	if text := os.Getenv(processEnv); text != "" {
		os.Exit(process(text))
	}
	// nats.go leaves this one behind when what it stored was stored before the
	// goroutine first ran, as on a busy machine: its channel is nil by then.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}

// quick is a search whose dead are noticed soon.
func quick(id string) Search {
	return Search{ID: id, AckWait: time.Second, Settings: json.RawMessage(`{"epochs":3}`)}
}

// generation is n jobs, of 3 epochs.
func generation(n int) []search.Job {
	var all []search.Job
	for i := range n {
		all = append(all, search.Job{ID: i, Generation: 1, Parent: -1, Genotype: model.GenotypeDefault, Seed: uint64(i + 100), Epochs: 3})
	}
	return all
}

// want is what evaluating the jobs gives, without weight transfer.
func want(jobs []search.Job) map[int]float64 {
	losses := map[int]float64{}
	for _, j := range jobs {
		losses[j.ID] = jobstest.Loss(jobstest.Weights(j, nil, 64))
	}
	return losses
}

func startBroker(t *testing.T, dir string, o BrokerOptions) *Broker {
	t.Helper()
	b, err := Embedded(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// logger writes what a user would see into the test's log.
func logger(t *testing.T) *zap.Logger {
	return zaptest.NewLogger(t, zaptest.Level(zap.InfoLevel))
}

func open(t *testing.T, c Connection, s Search) *Coordinator {
	t.Helper()
	c.Ping = 500 * time.Millisecond
	o, err := Open(t.Context(), c, s, Options{Log: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// startWorker works in this process until the test ends or stop is called,
// which returns Work's error.
func startWorker(t *testing.T, c Connection, e search.Evaluator, change ...func(*Worker)) (stop func() error) {
	t.Helper()
	c.Ping = 500 * time.Millisecond
	w := Worker{Connection: c, Log: logger(t), Poll: 100 * time.Millisecond, Name: "w" + fmt.Sprint(time.Now().UnixNano()),
		Factory: func(context.Context, Setup) (search.Evaluator, error) { return e, nil }}
	for _, f := range change {
		f(&w)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- w.Work(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	return stop
}

// evaluated is a call of Evaluate in the background.
type evaluated struct {
	results []search.Result
	err     error
	mu      sync.Mutex
	told    []int // jobs that done was called for
}

func evaluate(t *testing.T, c *Coordinator, jobs []search.Job) (e *evaluated, wait func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	e = &evaluated{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.results, e.err = c.Evaluate(ctx, jobs, func(r search.Result) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.told = append(e.told, r.ID)
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return e, func() { <-ended }
}

func (e *evaluated) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.told)
}

// check requires that each job was told once and has its loss.
func (e *evaluated) check(t *testing.T, jobs []search.Job) {
	t.Helper()
	if e.err != nil {
		t.Fatal(e.err)
	}
	times := map[int]int{}
	for _, id := range e.told {
		times[id]++
	}
	losses := want(jobs)
	for i, j := range jobs {
		r := e.results[i]
		if r.ID != j.ID || r.Loss != losses[j.ID] || r.Failed != "" {
			t.Errorf("job %d: result %+v, want loss %v", j.ID, r, losses[j.ID])
		}
		if times[j.ID] != 1 {
			t.Errorf("job %d: told %d times, want once", j.ID, times[j.ID])
		}
	}
}

// until waits for a condition, for at most 30 s.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for begin := time.Now(); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("after 30 s still not: %s", what)
		}
	}
}

// child is a process of this test binary.
type child struct {
	Worker    *childWorker
	Search    *childSearch
	Evolution *childEvolution
}

type childWorker struct {
	URL, Name string
	Epoch     time.Duration
	Poison    int // job that ends the process; 0 for none
}

type childSearch struct {
	Dir, Listen string
	Jobs        int
	Results     string // file for the results
}

func (c child) start(t *testing.T) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), processEnv+"="+string(text))
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func process(text string) int {
	var c child
	err := json.Unmarshal([]byte(text), &c)
	switch {
	case err != nil:
	case c.Worker != nil:
		err = c.Worker.run()
	case c.Search != nil:
		err = c.Search.run()
	default:
		err = c.Evolution.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (c childWorker) run() error {
	w := Worker{Connection: Connection{URL: c.URL, Ping: 500 * time.Millisecond, Wait: 10 * time.Second}, Name: c.Name, Poll: 100 * time.Millisecond, Log: zap.NewExample(),
		Factory: func(context.Context, Setup) (search.Evaluator, error) {
			return poisoned{jobstest.Evaluator{Epoch: c.Epoch}, c.Poison}, nil
		}}
	return w.Work(context.Background())
}

// poisoned ends the process at a job.
type poisoned struct {
	search.Evaluator
	job int
}

func (p poisoned) Evaluate(ctx context.Context, job search.Job, parent []byte, progress func(int, float64)) (search.Result, []byte, error) {
	if job.ID == p.job && p.job != 0 {
		os.Exit(3)
	}
	return p.Evaluator.Evaluate(ctx, job, parent, progress)
}

func (c childSearch) run() error {
	b, err := Embedded(c.Dir, BrokerOptions{Listen: c.Listen})
	if err != nil {
		return err
	}
	defer b.Close()
	o, err := Open(context.Background(), b.Connection(), quick("killed"), Options{Log: zap.NewExample()})
	if err != nil {
		return err
	}
	defer o.Close()
	results, err := o.Evaluate(context.Background(), generation(c.Jobs), func(r search.Result) {
		_ = os.WriteFile(filepath.Join(c.Dir, fmt.Sprintf("done-%d", r.ID)), nil, 0o600)
	})
	if err != nil {
		return err
	}
	data, err := json.Marshal(results)
	if err != nil {
		return err
	}
	return os.WriteFile(c.Results, data, 0o600)
}
