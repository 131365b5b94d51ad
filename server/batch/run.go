package batch

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// input is an input tensor and the crops in it: places[i] is crop i. Only the
// gathering goroutine changes it until its run begins, and appends to places
// under Batcher.mu.
type input struct {
	crops  []float32
	places []*place
}

func (b *Batcher) newInput() *input {
	return &input{
		crops:  make([]float32, b.options.Max*b.cropLen),
		places: make([]*place, 0, b.options.Max),
	}
}

// slot returns the tensor's part for crop i.
func (b *Batcher) slot(in *input, i int) []float32 {
	return in.crops[i*b.cropLen : (i+1)*b.cropLen]
}

// run is a batch on its way through the network.
type run struct {
	in    *input
	out   *output
	began time.Time
}

// gatherLoop collects crops and starts runs until the batcher is closed and
// drained.
func (b *Batcher) gatherLoop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer close(b.runs)
	for {
		b.gather()
		r, wait, more := b.next(time.Now())
		switch {
		case r != nil:
			b.runs <- r
		case !more:
			return
		case wait > 0:
			timer.Reset(wait)
			select {
			case <-b.wake:
			case <-timer.C:
			}
		default:
			<-b.wake
		}
	}
}

// gather fills the input with crops that wait, over the places of those that
// left meanwhile.
func (b *Batcher) gather() {
	for b.compact() {
	}
	for {
		p, i := b.take()
		if p == nil {
			return
		}
		p.request.read(p.index, b.slot(b.filling, i))
	}
}

// compact removes one crop that left, moving the last one into its place, and
// reports whether there was one.
func (b *Batcher) compact() bool {
	b.mu.Lock()
	in := b.filling
	hole := slices.IndexFunc(in.places, b.dropEnded)
	if hole < 0 {
		b.mu.Unlock()
		return false
	}
	last := len(in.places) - 1
	in.places[hole] = in.places[last]
	in.places[last] = nil
	in.places = in.places[:last]
	b.mu.Unlock()
	if hole != last {
		copy(b.slot(in, hole), b.slot(in, last)) // outside the lock: it may be a megabyte
	}
	return true
}

// dropEnded reports whether a crop must not enter a run: its caller has left,
// or is about to because its context ended. b.mu is held.
func (b *Batcher) dropEnded(p *place) bool {
	if p.request.ctx.Err() != nil {
		b.drop(p)
	}
	return p.state == gone
}

// take moves the first waiting crop to the input and returns it and its slot;
// nil when the input is full or nothing waits.
func (b *Batcher) take() (*place, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.filling
	for len(b.queue) > 0 && len(in.places) < b.options.Max {
		p := b.queue[0]
		b.queue[0] = nil
		b.queue = b.queue[1:]
		if b.dropEnded(p) {
			continue
		}
		in.places = append(in.places, p)
		return p, len(in.places) - 1
	}
	return nil, 0
}

// next returns the gathered batch when it is time to run it. Otherwise it
// says how long to wait (0: until woken), or that there is no more to come.
func (b *Batcher) next(now time.Time) (r *run, wait time.Duration, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.filling
	n := len(in.places)
	if b.closed && n == 0 && len(b.queue) == 0 {
		return nil, 0, false
	}
	out := b.freeOutput()
	if n == 0 || b.running || out == nil {
		return nil, 0, true
	}
	if slices.ContainsFunc(in.places, b.dropEnded) {
		b.poke() // gather again, then come back
		return nil, 0, true
	}
	if n < b.options.Max && !b.closed {
		if wait := b.options.Delay - now.Sub(oldest(in.places)); wait > 0 {
			return nil, wait, true
		}
	}
	return b.start(in, out, now), 0, true
}

// start turns the gathered crops into a run; b.mu is held.
func (b *Batcher) start(in *input, out *output, now time.Time) *run {
	for _, p := range in.places {
		p.state = entered
	}
	b.waiting -= len(in.places)
	b.running = true
	b.filling, b.spare = b.spare, nil
	out.users.Store(int32(len(in.places)))
	return &run{in: in, out: out, began: now}
}

func (b *Batcher) freeOutput() *output {
	for _, o := range b.outputs {
		if o.users.Load() == 0 {
			return o
		}
	}
	return nil
}

// oldest returns when the first of the crops arrived.
func oldest(places []*place) time.Time {
	first := places[0].request.arrived
	for _, p := range places[1:] {
		if p.request.arrived.Before(first) {
			first = p.request.arrived
		}
	}
	return first
}

// runLoop runs batches one after the other.
func (b *Batcher) runLoop() {
	defer close(b.stopped)
	var places []*place
	for r := range b.runs {
		n := len(r.in.places)
		err := b.call(r, n)
		ended := time.Now()
		places = append(places[:0], r.in.places...)
		b.finish(r.in) // the next batch can start while results are handed out
		if b.options.OnRun != nil {
			b.options.OnRun(n, ended.Sub(r.began))
		}
		for i, p := range places {
			b.hand(p, result{index: p.index, out: r.out, slot: i, size: n, began: r.began, ended: ended, err: err})
		}
		clear(places)
	}
}

// hand gives one crop its result.
func (b *Batcher) hand(p *place, r result) {
	if r.err != nil {
		b.release(r.out)
		r.out = nil
	}
	if !p.request.deliver(r) {
		b.release(r.out)
	}
}

// finish makes the input of a run free and the network idle.
func (b *Batcher) finish(in *input) {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(in.places)
	in.places = in.places[:0]
	b.spare = in
	b.running = false
	b.poke()
}

// Warm runs the network once on one crop and once on Options.Max of them, all
// zero, so that what cannot run or does not fit into memory shows before the
// first request. Call it before the first Infer.
func (b *Batcher) Warm() error {
	for _, n := range []int{1, b.options.Max} {
		if err := b.call(&run{in: b.spare, out: b.outputs[0]}, n); err != nil {
			return fmt.Errorf("batch of %d: %w", n, err)
		}
		if n == b.options.Max {
			break
		}
	}
	return nil
}

// errPanic is the cause of a run's error when the runner panicked.
var errPanic = errors.New("the network panicked")

// call runs the network; a panic becomes an error, so that one bad run does
// not take the process and its other requests down.
func (b *Batcher) call(r *run, n int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, p, debug.Stack())
		}
	}()
	return b.runner.Run(r.in.crops[:n*b.cropLen], r.out.maps[:n*b.mapLen])
}
