package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort/orttest"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs"
	"github.com/evopose/evopose/search/jobs/jobstest"
	"github.com/evopose/evopose/search/trainer"
)

// running is this binary as the program itself, in the background.
type running struct {
	*exec.Cmd
	mu   sync.Mutex
	text bytes.Buffer
	end  error
	done chan struct{}
}

func (r *running) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *running) printed() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// start runs the program in a folder, until the test ends at the latest.
func start(t *testing.T, dir string, arguments ...string) *running {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Cmd: exec.CommandContext(context.WithoutCancel(t.Context()), self), done: make(chan struct{})}
	r.Dir, r.Stdout, r.Stderr = dir, r, r
	r.Env = append(os.Environ(), argumentsEnv+"="+strings.Join(arguments, "\n"))
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.end = r.Wait(); close(r.done) }()
	t.Cleanup(r.kill)
	return r
}

func (r *running) kill() {
	_ = r.Process.Kill()
	<-r.done
}

// await waits until the program has printed something; a program that ends
// without is a failure.
func (r *running) await(t *testing.T, pattern string) string {
	t.Helper()
	form := regexp.MustCompile(pattern)
	for tick := time.Tick(10 * time.Millisecond); ; <-tick {
		if found := form.FindString(r.printed()); found != "" {
			return found
		}
		select {
		case <-r.done:
			if found := form.FindString(r.printed()); found != "" {
				return found
			}
			t.Fatalf("ended, %v, before it printed %s:\n%s", r.end, pattern, r.printed())
		default:
		}
	}
}

// outline is what a search came to, without times and workers.
func outline(t *testing.T, dir string) (lines []string, workers map[string]int) {
	t.Helper()
	_, entries, err := search.ReadJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	workers = map[string]int{}
	for _, e := range entries {
		workers[e.Result.Worker]++
		line, err := json.Marshal([]any{e.Job, e.Result.Loss, e.Result.Losses, e.Result.Parameters, e.Result.Transfer, e.Result.Weights})
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	return lines, workers
}

// A search whose workers are other processes, with nothing but the broker's
// URL, is the search in one process, also when one of them is killed while it
// trains.
func TestWorkersOfOtherProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("trains in four processes")
	}
	orttest.Init(t) // installs it, if need be
	f := writeEvalFiles(t, nil, 3)
	coordinator := start(t, f.dir, searchWith("--generations", "1", "--children", "3", "--workers", "0", "--send-data", "--listen", "127.0.0.1:0",
		"--dead-after", "2s", "--out", "far")...)
	url := coordinator.await(t, `nats://127\.0\.0\.1:\d+`)
	worker := func(name string) *running {
		return start(t, t.TempDir(), "worker", "--nats", url, "--name", name, "--cache", "cache", "--threads", "1")
	}
	victim := worker("victim")
	victim.await(t, "job begins")
	victim.kill()
	survivor := worker("survivor")
	survivor.await(t, "job begins")
	worker("helper")
	local, err := evopose(t, f.dir, searchWith("--generations", "1", "--children", "3", "--out", "near")...)
	if err != nil {
		t.Fatalf("%v\n%s", err, local)
	}
	if <-coordinator.done; coordinator.end != nil {
		t.Fatalf("%v\n%s\n%s", coordinator.end, coordinator.printed(), survivor.printed())
	}
	far, workers := outline(t, filepath.Join(f.dir, "far"))
	near, _ := outline(t, filepath.Join(f.dir, "near"))
	if strings.Join(far, "\n") != strings.Join(near, "\n") || len(far) != 4 {
		t.Errorf("far\n%s\nnear\n%s", strings.Join(far, "\n"), strings.Join(near, "\n"))
	}
	if workers["victim"] != 0 || workers["survivor"] == 0 || strings.Contains(victim.printed(), "job ends") {
		t.Errorf("evaluations by worker: %v; the victim said\n%s", workers, victim.printed())
	}
}

// workerFails runs evopose worker, which must end with an error.
func workerFails(t *testing.T, dir string, args ...string) error {
	t.Helper()
	out, err := evopose(t, dir, append([]string{"worker"}, args...)...)
	if err == nil {
		t.Fatalf("worker %v: no error\n%s", args, out)
	}
	return err
}

func TestWorkerUsage(t *testing.T) {
	with := func(args ...string) []string { return append([]string{"--nats", "nats://127.0.0.1:1"}, args...) }
	for want, args := range map[string][]string{
		"--nats: missing: want the broker's URL":                    nil,
		`--nats: broker's URL "http://h:1": no broker speaks http`:  {"--nats", "http://me:secret@h:1"},
		`--nats: broker's URL "nats://": it has no host`:            {"--nats", "nats://"},
		`--nats: broker's URL "nats://h:b": invalid port`:           {"--nats", "nats://me:secret@h:b"},
		`--nats: broker's URL "": it has no host: want nats://HOST`: {"--nats", "h:1,"},
		`--provider "tpu": want cpu or cuda`:                        with("--provider", "tpu"),
		`--log-format "xml": want json`:                             with("--log-format", "xml"),
		`--log-level "loud": want debug, info`:                      with("--log-level", "loud"),
		"in pairs":                                                  with("--data", "a.json"),
		`--search: search "a b": want an ID of 1 to 64`:             with("--search", "a b"),
		"--threads -1: want 0":                                      with("--threads", "-1"),
		"--wait -1s: want 0":                                        with("--wait", "-1s"),
		`unknown command "x" for "evopose worker"`:                  with("x"),
	} {
		if err := workerFails(t, t.TempDir(), args...); !isUsage(err) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("worker %v: error %v, want usage %q", args, err, want)
		}
	}
}

// freePort is an address at which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// openSearch begins a search of a set of pictures on a broker.
func openSearch(t *testing.T, b *jobs.Broker, id string, f evalFiles, change func(*jobs.Search)) *jobs.Coordinator {
	t.Helper()
	s := jobs.Search{ID: id, Data: jobs.Data{Train: []jobs.Set{{Annotations: f.data, Images: f.images}}}}
	if change != nil {
		change(&s)
	}
	c, err := jobs.Open(t.Context(), b.Connection(), s, jobs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A worker that cannot work says what is wrong and what to do, and leaves the
// search as it was.
func TestWorkerFails(t *testing.T) {
	orttest.Init(t)
	f, other := writeEvalFiles(t, nil, 2), writeEvalFiles(t, nil, 2)
	for name, text := range map[string]string{"images/2.png": "changed", "cache": "a file"} {
		if err := os.WriteFile(filepath.Join(other.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other.write(t, "other.json", dict{"images": []dict{}, "annotations": []dict{}})
	b, err := jobs.Embedded(t.TempDir(), jobs.BrokerOptions{User: "ann", Password: "right"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	there := openSearch(t, b, "there", f, nil)
	openSearch(t, b, "sent", f, func(s *jobs.Search) { s.SendData = true })
	openSearch(t, b, "newer", f, func(s *jobs.Search) { s.SendData, s.Settings = true, json.RawMessage(`{"batch":"many"}`) })
	with := func(args ...string) []string {
		return append([]string{"--nats", b.URL(), "--nats-user", "ann", "--wait", "0s", "--cache", "new"}, args...)
	}
	for want, args := range map[string][]string{
		"is it running":                                             {"--nats", "nats://" + freePort(t), "--wait", "200ms"},
		"check the credentials":                                     {"--nats", b.URL(), "--nats-user", "bob", "--wait", "1h"},
		"nine is not on this broker":                                with("--search", "nine"),
		"images/2.png: the search's picture is 2.png":               with("--search", "there", "--data", "data.json", "--images", "images"),
		"open none.json: no such file or directory; correct --data": with("--search", "there", "--data", "none.json", "--images", "images"),
		"none of this worker's 1 sets has them: give the same file": with("--search", "there", "--data", "other.json", "--images", "images"),
		"give this worker data.json":                                with("--search", "there"),
		"choose another folder with --cache":                        with("--search", "sent", "--cache", "cache"),
		"is the search of another version of evopose":               with("--search", "newer"),
	} {
		t.Setenv("EVOPOSE_NATS_PASSWORD", "right")
		if err := workerFails(t, other.dir, args...); isUsage(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("worker %v: error %v, want %q", args, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	able := jobs.Worker{Connection: b.Connection(), Search: "there", Data: jobs.Data{Train: []jobs.Set{{Annotations: f.data, Images: f.images}}},
		Factory: func(context.Context, jobs.Setup) (search.Evaluator, error) { return jobstest.Evaluator{}, nil }}
	go able.Work(ctx)
	results, err := there.Evaluate(t.Context(), []search.Job{{Genotype: model.GenotypeS, Epochs: 1}}, nil)
	if err != nil || results[0].Failed != "" {
		t.Errorf("after the others: %+v, error %v", results, err)
	}
}

// Workers of one process share an evaluator, which none of them closes.
func TestSharedEvaluator(t *testing.T) {
	if _, ok := any(shared{&trainer.Evaluator{}}).(io.Closer); ok {
		t.Error("a worker would close what others use")
	}
	if _, ok := any(&trainer.Evaluator{}).(io.Closer); !ok {
		t.Error("a worker would not close its own evaluator")
	}
}
