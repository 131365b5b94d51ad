package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evopose/evopose/model"
	"gonum.org/v1/gonum/stat"
)

// bench measures a network alone and behind a handler, in turns.
type bench struct {
	runner  model.Runner
	handler http.Handler // serves POST /v1/pose from runner, whose runs log records
	log     *runLog
	jobs    []job
	batch   int
	clients int
}

// runLog records the server's runs.
type runLog struct {
	mu   sync.Mutex
	runs []runEnd
}

// runEnd is a run that ended with so many crops.
type runEnd struct {
	at   time.Time
	size int
}

func (l *runLog) add(size int, _ time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = append(l.runs, runEnd{time.Now(), size})
}

// since returns how many runs ended after a time.
func (l *runLog) since(t time.Time) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.runs {
		if r.at.After(t) {
			n++
		}
	}
	return n
}

// take returns the runs recorded since it was last called.
func (l *runLog) take() []runEnd {
	l.mu.Lock()
	defer l.mu.Unlock()
	runs := l.runs
	l.runs = nil
	return runs
}

// measure takes turns between raw and served slices for the given time.
func (b *bench) measure(ctx context.Context, total time.Duration) (benchReport, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return benchReport{}, err
	}
	server := &http.Server{Handler: b.handler, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener)                         //nolint:errcheck // returns when closed
	defer server.Shutdown(context.WithoutCancel(ctx)) //nolint:errcheck // its clients have gone
	l := newLoad("http://"+listener.Addr().String(), b.jobs, b.clients)
	defer l.client.CloseIdleConnections()

	run, err := b.raw(ctx, 0) // one run: how long does it take?
	if err != nil {
		return benchReport{}, err
	}
	if err := l.warm(ctx); err != nil {
		return benchReport{}, err
	}
	slice, pairs := plan(total, time.Duration(float64(b.batch)/run*float64(time.Second)))
	var m measured
	for i := range pairs {
		if err := b.pair(ctx, l, slice, i%2 == 1, &m); err != nil {
			return benchReport{}, err
		}
	}
	return b.report(m), nil
}

// plan splits the time into pairs of slices of about a second, but at
// least six runs long.
func plan(total, run time.Duration) (slice time.Duration, pairs int) {
	slice = max(time.Second, 6*run)
	pairs = max(1, int(total/(2*slice)))
	return max(total/time.Duration(2*pairs), 6*run), pairs
}

// measured is what the slices gave so far.
type measured struct {
	raw, served, ratio, images []float64
	answers                    []answer
	crops, runs                int
}

// pair measures one raw and one served slice, in either order.
func (b *bench) pair(ctx context.Context, l *load, slice time.Duration, servedFirst bool, m *measured) error {
	var raw, served float64
	steps := []func() error{
		func() (err error) { raw, err = b.raw(ctx, slice); return err },
		func() (err error) { served, err = b.served(ctx, l, slice, m); return err },
	}
	if servedFirst {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	m.raw, m.served, m.ratio = append(m.raw, raw), append(m.served, served), append(m.ratio, served/raw)
	return nil
}

// raw runs full batches for so long, at least one, and returns crops a second.
func (b *bench) raw(ctx context.Context, d time.Duration) (float64, error) {
	card := b.runner.Card()
	crops := make([]float32, b.batch*3*card.Input.Area())
	heatmaps := make([]float32, b.batch*model.Keypoints*card.Heatmap.Area())
	began, n := time.Now(), 0
	for n == 0 || time.Since(began) < d {
		if err := errors.Join(ctx.Err(), b.runner.Run(crops, heatmaps)); err != nil {
			return 0, err
		}
		n += b.batch
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// leastRuns is how many runs a served slice has to see.
const leastRuns = 3

// served keeps all clients busy for so long, or longer if the network is slow,
// and returns crops a second. The first fifth is not counted: batches have to
// fill first. The rate is taken between the ends of two runs, so that a slice
// need not be a whole number of batches long.
func (b *bench) served(ctx context.Context, l *load, d time.Duration, m *measured) (float64, error) {
	b.log.take()
	began := time.Now()
	from, to := began.Add(d/5), began.Add(d)
	answers, err := l.run(ctx, func() bool { return time.Now().After(to) && b.log.since(from) >= leastRuns })
	if err != nil {
		return 0, err
	}
	ends := b.log.take()
	if enough := nthAfter(ends, from, leastRuns); enough.After(to) {
		to = enough
	}
	rate, crops, runs := rateBetween(ends, from, to)
	counted := answers[:0]
	for _, a := range answers {
		if a.at.After(from) && !a.at.After(to) {
			counted = append(counted, a)
		}
	}
	m.answers = append(m.answers, counted...)
	m.images = append(m.images, rate*float64(len(counted))/float64(max(1, l.crops(counted))))
	m.crops, m.runs = m.crops+crops, m.runs+runs
	return rate, nil
}

// nthAfter returns when the nth run after a time ended; there are as many.
func nthAfter(ends []runEnd, t time.Time, n int) time.Time {
	for _, e := range ends {
		if e.at.After(t) {
			if n--; n == 0 {
				return e.at
			}
		}
	}
	return t
}

// rateBetween returns the rate of crops from the end of the first run in the
// interval to the end of the last, and the crops and runs that it counts.
func rateBetween(ends []runEnd, from, to time.Time) (rate float64, crops, runs int) {
	var first, last time.Time
	for _, e := range ends {
		switch {
		case e.at.Before(from) || e.at.After(to):
		case first.IsZero():
			first = e.at
		default:
			last, crops, runs = e.at, crops+e.size, runs+1
		}
	}
	if runs == 0 {
		return 0, 0, 0
	}
	return float64(crops) / last.Sub(first).Seconds(), crops, runs
}

func (b *bench) report(m measured) benchReport {
	return benchReport{
		Batch: b.batch, Concurrency: b.clients, Slices: len(m.ratio), Requests: len(m.answers),
		Raw: median(m.raw), Served: median(m.served), Ratio: median(m.ratio), Images: median(m.images),
		MeanBatch: float64(m.crops) / float64(m.runs),
		Stages:    stages(m.answers),
	}
}

// stages returns the distributions of the answers' stages, in the order in
// which the server names them, and of the whole request.
func stages(answers []answer) []stageReport {
	var names []string
	times := map[string][]float64{}
	for _, a := range answers {
		for _, s := range append(a.stages, stageTime{"request", a.took.Seconds() * 1000}) {
			if times[s.name] == nil && s.name != "request" {
				names = append(names, s.name)
			}
			times[s.name] = append(times[s.name], s.ms)
		}
	}
	reports := []stageReport{}
	for _, name := range append(names, "request") {
		if t := times[name]; t != nil {
			reports = append(reports, stageReport{Stage: name, P50: quantile(0.5, t), P99: quantile(0.99, t)})
		}
	}
	return reports
}

func median(x []float64) float64 { return quantile(0.5, x) }

func quantile(p float64, x []float64) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	return stat.Quantile(p, stat.Empirical, x, nil)
}

// load is a number of clients that post pictures.
type load struct {
	url     string
	jobs    []job
	clients int
	client  *http.Client
	next    atomic.Int64
}

func newLoad(url string, jobs []job, clients int) *load {
	transport := &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}
	return &load{url: url, jobs: jobs, clients: clients, client: &http.Client{Transport: transport}}
}

// answer is a request that was answered.
type answer struct {
	job    int
	at     time.Time
	took   time.Duration
	stages []stageTime
}

// stageTime is one entry of Server-Timing.
type stageTime struct {
	name string
	ms   float64
}

func (l *load) crops(answers []answer) (n int) {
	for _, a := range answers {
		n += l.jobs[a.job].crops
	}
	return n
}

// warm lets every client post once.
func (l *load) warm(ctx context.Context) error {
	_, err := l.run(ctx, func() bool { return true })
	return err
}

// run keeps the clients posting until done says so, each at least once, and
// waits for their last answers. Anything but 200 is an error.
func (l *load) run(ctx context.Context, done func() bool) ([]answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var all []answer
	var wg sync.WaitGroup
	for range l.clients {
		wg.Go(func() {
			for first := true; first || !done(); first = false {
				a, err := l.post(ctx, int(l.next.Add(1)-1)%len(l.jobs))
				if err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				all = append(all, a)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all, context.Cause(ctx)
}

func (l *load) post(ctx context.Context, i int) (answer, error) {
	j := l.jobs[i]
	began := time.Now()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+"/v1/pose?"+j.query, bytes.NewReader(j.body))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", j.contentType)
	response, err := l.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	if response.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("%s: the server answered %s: %s", j.name, response.Status, body)
	}
	ended := time.Now()
	return answer{job: i, at: ended, took: ended.Sub(began), stages: parseTiming(response.Header.Get("Server-Timing"))}, nil
}

// parseTiming reads a Server-Timing header, `decode;dur=1.5, crop;dur=0.2`;
// entries without a duration are left out.
func parseTiming(header string) []stageTime {
	var stages []stageTime
	for entry := range strings.SplitSeq(header, ",") {
		name, rest, _ := strings.Cut(strings.TrimSpace(entry), ";")
		for parameter := range strings.SplitSeq(rest, ";") {
			value, ok := strings.CutPrefix(strings.TrimSpace(parameter), "dur=")
			if ms, err := strconv.ParseFloat(value, 64); ok && err == nil {
				stages = append(stages, stageTime{name, ms})
			}
		}
	}
	return stages
}
