// Package batch lets the crops of different requests share one run of a
// network. It knows no HTTP.
//
// One goroutine gathers waiting crops into an input tensor while another runs
// the network on the tensor gathered before, so that under load batches fill
// by themselves and copying costs the network nothing.
//
// Memory: the batcher owns two input and two output tensors of Options.Max
// crops each, allocated once. A caller's crop is read only by the gathering
// goroutine and only while the caller is inside Infer; a caller's heatmaps are
// written only by the caller's own goroutine. So whenever Infer returns, for
// whatever reason, both slices are the caller's again.
package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/evopose/evopose/model"
)

var (
	// ErrQueueFull means that the crops were not admitted because the queue
	// has too few free places; trying again later may succeed.
	ErrQueueFull = errors.New("queue full")
	// ErrClosed means that the batcher takes no more crops.
	ErrClosed = errors.New("batcher closed")
	// ErrTooMany means that one call brought more crops than the whole queue
	// holds; trying again cannot succeed.
	ErrTooMany = errors.New("more crops at once than the queue holds")
)

// Options are the limits of a Batcher.
type Options struct {
	// Max is the largest number of crops in a run; 0 means 16.
	Max int
	// Delay is how long the first waiting crop may wait for company while the
	// network is idle; 0 means that an idle network starts at once.
	Delay time.Duration
	// Queue is the largest number of admitted crops that are not yet in a run,
	// those being prepared included; 0 means 16*Max.
	Queue int
	// OnRun is called after each run with its number of crops and duration,
	// from one goroutine; it must be quick. Nil means none.
	OnRun func(size int, run time.Duration)
}

func (o Options) withDefaults() Options {
	if o.Max <= 0 {
		o.Max = 16
	}
	if o.Queue <= 0 {
		o.Queue = 16 * o.Max
	}
	return o
}

// Timing tells where a call's time went: Queue + Run is all of it but the
// copying out.
type Timing struct {
	// Queue is the time from admission until the first crop's run began.
	Queue time.Duration
	// Run is the time from then until the last crop's run ended. With more
	// crops than fit one run it includes the waiting between runs.
	Run time.Duration
	// Batch is the size of the largest run that took part.
	Batch int
}

// Batcher feeds a Runner with batches. It is safe for concurrent use.
type Batcher struct {
	runner  model.Runner
	options Options
	cropLen int // values of one crop: 3*H*W
	mapLen  int // values of one crop's heatmaps: 17*h*w

	wake    chan struct{} // tells the gathering goroutine that something changed
	runs    chan *run     // to the running goroutine
	stopped chan struct{} // closed when both goroutines have ended

	mu      sync.Mutex
	queue   []*place // admitted, not yet gathered; in order of arrival
	waiting int      // places taken: reserved, queued and gathered
	running bool
	closed  bool
	filling *input
	spare   *input // belongs to the run in progress while running
	outputs [2]*output
}

// New starts a batcher for r. The caller closes r after Close has returned.
func New(r model.Runner, o Options) *Batcher {
	o = o.withDefaults()
	card := r.Card()
	b := &Batcher{
		runner:  r,
		options: o,
		cropLen: 3 * card.Input.Area(),
		mapLen:  model.Keypoints * card.Heatmap.Area(),
		wake:    make(chan struct{}, 1),
		runs:    make(chan *run, 1),
		stopped: make(chan struct{}),
	}
	b.filling, b.spare = b.newInput(), b.newInput()
	for i := range b.outputs {
		b.outputs[i] = &output{maps: make([]float32, o.Max*b.mapLen)}
	}
	go b.gatherLoop()
	go b.runLoop()
	return b
}

// Len returns the number of crops that are being prepared or wait for a run;
// it never exceeds Options.Queue.
func (b *Batcher) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting
}

// Infer computes the heatmaps of one crop and returns when they are written.
// See InferPrepared.
func (b *Batcher) Infer(ctx context.Context, crop, heatmaps []float32) (Timing, error) {
	return b.InferAll(ctx, [][]float32{crop}, [][]float32{heatmaps})
}

// InferAll computes the heatmaps of several crops. See InferPrepared.
func (b *Batcher) InferAll(ctx context.Context, crops, heatmaps [][]float32) (Timing, error) {
	return b.InferPrepared(ctx, len(crops), func() ([][]float32, [][]float32) { return crops, heatmaps })
}

// InferPrepared computes the heatmaps of n crops. Either all are admitted to
// the queue or none. Only when they are, prepare makes them and the slices to
// write to, so that the crops in memory are never more than the queue holds,
// and no work goes into crops that are refused. Each crop is NCHW RGB, 3*H*W
// values, and each of heatmaps 17*h*w values.
//
// When ctx ends first it returns ctx's error at once: crops that wait give
// their places back and are not run, the results of those inside a run are
// discarded. Other errors: ErrQueueFull, ErrTooMany, ErrClosed, a slice of
// the wrong length, or the error of a run that one of the crops was in. After
// an error the contents of heatmaps are unspecified.
func (b *Batcher) InferPrepared(ctx context.Context, n int, prepare func() (crops, heatmaps [][]float32)) (Timing, error) {
	if err := ctx.Err(); err != nil || n == 0 {
		return Timing{}, err
	}
	if err := b.reserve(n); err != nil {
		return Timing{}, err
	}
	reserved := true
	defer func() {
		if reserved { // prepare panicked, or what it made was refused
			b.giveBack(n)
		}
	}()
	crops, heatmaps := prepare()
	if err := b.check(n, crops, heatmaps); err != nil {
		return Timing{}, err
	}
	q := newRequest(ctx, crops)
	if err := b.enqueue(q); err != nil {
		return Timing{}, err
	}
	reserved = false
	return b.await(q, heatmaps)
}

func (b *Batcher) check(n int, crops, heatmaps [][]float32) error {
	if len(crops) != n || len(heatmaps) != n {
		return fmt.Errorf("batch: %d crops and %d heatmaps to fill, want %d of each", len(crops), len(heatmaps), n)
	}
	for i := range crops {
		if len(crops[i]) != b.cropLen {
			return fmt.Errorf("batch: crop %d has %d values, want %d", i, len(crops[i]), b.cropLen)
		}
		if len(heatmaps[i]) != b.mapLen {
			return fmt.Errorf("batch: heatmaps %d have %d values, want %d", i, len(heatmaps[i]), b.mapLen)
		}
	}
	return nil
}

// reserve takes n places of the queue, or none.
func (b *Batcher) reserve(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return ErrClosed
	case n > b.options.Queue:
		return fmt.Errorf("%w: %d crops, queue %d", ErrTooMany, n, b.options.Queue)
	case b.waiting+n > b.options.Queue:
		return ErrQueueFull
	}
	b.waiting += n
	return nil
}

func (b *Batcher) giveBack(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting -= n
}

// enqueue puts all crops of q on their reserved places.
func (b *Batcher) enqueue(q *request) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	for i := range q.places {
		b.queue = append(b.queue, &q.places[i])
	}
	b.poke()
	return nil
}

// await copies results out as they come, until all have or one failed.
func (b *Batcher) await(q *request, heatmaps [][]float32) (Timing, error) {
	var first, last time.Time
	var t Timing
	for range q.places {
		var r result
		select {
		case r = <-q.done:
		case <-q.ctx.Done():
			b.leave(q)
			return Timing{}, q.ctx.Err()
		}
		if r.err != nil {
			b.leave(q)
			return Timing{}, r.err
		}
		copy(heatmaps[r.index], r.out.maps[r.slot*b.mapLen:])
		b.release(r.out)
		if first.IsZero() {
			first = r.began
		}
		last, t.Batch = r.ended, max(t.Batch, r.size)
	}
	t.Queue, t.Run = first.Sub(q.arrived), last.Sub(first)
	return t, nil
}

// leave ends q before all its results came. After it neither the gathering
// nor the running goroutine touches anything of the caller's.
func (b *Batcher) leave(q *request) {
	b.mu.Lock()
	b.queue = slices.DeleteFunc(b.queue, func(p *place) bool { return p.request == q })
	for i := range q.places {
		b.drop(&q.places[i])
	}
	b.poke()
	b.mu.Unlock()

	q.mu.Lock() // waits for a copy in progress
	q.left = true
	q.mu.Unlock()
	for {
		select {
		case r := <-q.done:
			b.release(r.out)
		default:
			return
		}
	}
}

// drop gives the place of a crop that has not entered a run back; b.mu is held.
func (b *Batcher) drop(p *place) {
	if p.state == waits {
		p.state = gone
		b.waiting--
	}
}

// Close takes no more crops, waits until those admitted have their results
// and stops. When ctx ends first, crops that still wait get ErrClosed and
// Close returns ctx's error without waiting for the run in progress; calling
// it again waits for that. It does not close the Runner.
func (b *Batcher) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	b.poke()
	b.mu.Unlock()
	select {
	case <-b.stopped:
		return nil
	case <-ctx.Done():
	}
	b.abort()
	return ctx.Err()
}

// abort answers everything that has not entered a run with ErrClosed.
func (b *Batcher) abort() {
	b.mu.Lock()
	places := append(b.queue, b.filling.places...)
	b.queue = nil
	alive := places[:0]
	for _, p := range places {
		if p.state == waits {
			alive = append(alive, p)
			b.drop(p)
		}
	}
	b.poke()
	b.mu.Unlock()
	for _, p := range alive {
		p.request.deliver(result{index: p.index, err: ErrClosed})
	}
}

// poke wakes the gathering goroutine; it never blocks.
func (b *Batcher) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// release gives an output back once every crop of its run has let go of it.
func (b *Batcher) release(o *output) {
	if o != nil && o.users.Add(-1) == 0 {
		b.poke()
	}
}
