package coco

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/evopose/evopose/model"
)

// Batch is a training batch. Its slices are reused once it is released.
type Batch struct {
	// Crops is [N,3,H,W]: planes R, G, B, normalised as preprocess.Crop does.
	Crops []float32
	// Keypoints is [N,17,3]: u, v in input pixels and the keypoint's weight in
	// the loss, 1 but for LoaderOptions.Balance, if it is labelled and
	// 0 <= u < W, 0 <= v < H. All three are 0 if it is not.
	Keypoints []float32
	N         int
	// Epoch and Step say which batch it is, from 0.
	Epoch, Step int
}

// LoaderOptions says what a Loader loads.
type LoaderOptions struct {
	Sets    []Set
	Input   model.Size
	Batch   int // samples in a batch
	Epoch   int // samples in an epoch; 0: as many as the sets have
	Seed    uint64
	Augment Augment
	// Balance is 0 to 1: the n keypoints that a crop has weigh
	// (17/n)^Balance each. At 0 every keypoint counts the same in the loss, so
	// people with few of them hardly do; at 1 every person counts the same, as
	// in AP.
	Balance float64
	// Pyramid keeps halves, quarters and so on beside every picture and
	// samples the smallest that is not smaller than the crop, so that pictures
	// shrunk by 2 or more do not alias. It takes a third more memory. Off by
	// default: preprocess.Crop, which serving uses, samples the picture itself,
	// and without augmentation the crops are the same.
	Pyramid bool
	Workers int // goroutines that decode and crop; 0: 1
	Ahead   int // batches prepared ahead; 0: 4
	// CacheBytes bounds the decoded pictures kept; those beyond are decoded
	// each time. 0: half of the free memory, at most 4 GiB; below 0: none.
	CacheBytes int64
	// OnBroken, if set, is called once for every picture that cannot be used,
	// by the workers' goroutines, one at a time.
	OnBroken func(error)
}

// Loader prepares training batches ahead of the training step. What it returns
// is a function of the options, epoch and step alone, whatever the number of
// workers and their timing.
//
// A picture that cannot be read is reported by Broken, and its samples are
// replaced by the next good one of the epoch.
//
// Start, Next and Close are for one goroutine; the rest may be called by any.
type Loader struct {
	o        LoaderOptions
	sampler  *sampler
	pictures *pictures
	free     chan *Batch
	run      *run // nil: not started

	mu     sync.Mutex
	waited time.Duration
}

// run is what Start starts.
type run struct {
	ctx     context.Context
	cancel  context.CancelFunc
	pending chan *job // in order
	jobs    chan *job // the same, for the workers
	head    *job      // taken from pending, not returned yet
	group   sync.WaitGroup
}

// job is a batch to prepare.
type job struct {
	epoch, step int
	order       []sample // the epoch's
	batch       *Batch
	err         error
	done        chan struct{} // closed when batch or err is set
}

// NewLoader checks the options. It reads no picture.
func NewLoader(o LoaderOptions) (*Loader, error) {
	if o.Epoch < 0 {
		return nil, fmt.Errorf("epoch of %d: must be 0 or more samples", o.Epoch)
	}
	s, err := newSampler(o.Sets, o.Epoch, o.Seed)
	if err != nil {
		return nil, err
	}
	if err := o.Augment.Validate(); err != nil {
		return nil, err
	}
	if !(o.Balance >= 0 && o.Balance <= 1) {
		return nil, fmt.Errorf("balance %v: must be 0 to 1", o.Balance)
	}
	if o.Input.H < 1 || o.Input.W < 1 {
		return nil, fmt.Errorf("input size %v: must be positive", o.Input)
	}
	if o.Batch < 1 || o.Batch > s.total {
		return nil, fmt.Errorf("batch of %d: must be 1 to %d, the number of samples of an epoch", o.Batch, s.total)
	}
	o.Workers = max(o.Workers, 1)
	if o.Ahead < 1 {
		o.Ahead = 4
	}
	o.Ahead = max(o.Ahead, o.Workers)
	return &Loader{o: o, sampler: s, pictures: newPictures(o, s.pictures()), free: make(chan *Batch, o.Ahead+2)}, nil
}

// Samples returns the number of samples of all sets.
func (l *Loader) Samples() int { return l.sampler.all }

// StepsPerEpoch returns the number of batches of an epoch. The last partial
// batch is dropped.
func (l *Loader) StepsPerEpoch() int { return l.sampler.total / l.o.Batch }

// Start makes the given step of the epoch, both from 0, the next batch. After
// an epoch's last step comes the next epoch. Work in progress is dropped. When
// ctx ends so does the work, and Next returns its cause.
func (l *Loader) Start(ctx context.Context, epoch, step int) {
	l.stop()
	r := &run{pending: make(chan *job, l.o.Ahead), jobs: make(chan *job)}
	r.ctx, r.cancel = context.WithCancel(ctx)
	l.run = r
	steps := l.StepsPerEpoch()
	r.group.Go(func() { l.dispatch(r, epoch+step/steps, step%steps) })
	for range l.o.Workers {
		r.group.Go(func() { l.work(r) })
	}
}

// dispatch hands out the batches from the given one on.
func (l *Loader) dispatch(r *run, epoch, step int) {
	defer close(r.jobs)
	for ; ; epoch, step = epoch+1, 0 {
		order := l.sampler.order(epoch)
		for ; step < l.StepsPerEpoch(); step++ {
			j := &job{epoch: epoch, step: step, order: order, done: make(chan struct{})}
			if !send(r.ctx, r.pending, j) || !send(r.ctx, r.jobs, j) {
				return
			}
		}
	}
}

// send reports whether j was sent before ctx ended.
func send(ctx context.Context, to chan<- *job, j *job) bool {
	select {
	case to <- j:
		return true
	case <-ctx.Done():
		return false
	}
}

// work prepares batches until there are no more.
func (l *Loader) work(r *run) {
	w := newWorker(l)
	for j := range r.jobs {
		j.batch = l.buffer()
		j.err = w.fill(r.ctx, j)
		close(j.done)
	}
}

// buffer returns a released batch or a new one.
func (l *Loader) buffer() *Batch {
	select {
	case b := <-l.free:
		return b
	default:
		n := l.o.Batch
		return &Batch{
			N:         n,
			Crops:     make([]float32, n*3*l.o.Input.Area()),
			Keypoints: make([]float32, n*model.Keypoints*3),
		}
	}
}

// Release gives the batch back; it must not be used any more. A batch that is
// not released is garbage like any other.
func (l *Loader) Release(b *Batch) {
	select {
	case l.free <- b:
	default:
	}
}

// Next returns the next batch, waiting for it if need be. It fails when ctx has
// ended, even if a batch is ready, or Start's context ends, and, then for good,
// when more than 5 % of the pictures and at least 10 are broken, or all of them.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	r := l.run
	if r == nil {
		return nil, errors.New("the loader is not started")
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	defer l.waiting(time.Now())
	if r.head == nil {
		j, err := receive(ctx, r, r.pending)
		if err != nil {
			return nil, err
		}
		r.head = j // kept if ctx ends before it is done
	}
	if _, err := receive(ctx, r, r.head.done); err != nil {
		return nil, err
	}
	if r.head.err != nil {
		return nil, r.head.err
	}
	b := r.head.batch
	r.head = nil
	return b, nil
}

// receive waits for a value, or for the channel to be closed, until ctx or the
// run ends.
func receive[T any](ctx context.Context, r *run, from <-chan T) (value T, err error) {
	select {
	case value = <-from:
	case <-r.ctx.Done():
		err = r.cause()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return value, err
}

// cause returns why the run ended.
func (r *run) cause() error { return context.Cause(r.ctx) }

// waiting adds the time since began to that waited.
func (l *Loader) waiting(began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waited += time.Since(began)
}

// Waited returns the time that callers of Next have waited in all.
func (l *Loader) Waited() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waited
}

// Broken returns an error for every picture that could not be used so far.
func (l *Loader) Broken() []error { return l.pictures.brokenSoFar() }

// stop ends the run, if there is one.
func (l *Loader) stop() {
	if l.run != nil {
		l.run.cancel()
		l.run.group.Wait()
		l.run = nil
	}
}

// Close ends the work and waits for its goroutines. It may be called twice.
func (l *Loader) Close() { l.stop() }
