package pose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/server/batch"
	"golang.org/x/sync/singleflight"
)

// ErrClosed means that the pool has been closed.
var ErrClosed = batch.ErrClosed

// ErrLoading means that a model was not yet loaded when the caller's time was up.
var ErrLoading = errors.New("the model is still being loaded")

// OpenFunc opens a network for running; ort.Open is one.
type OpenFunc func(onnx []byte, card model.Card) (model.Runner, error)

// PoolOptions are what a Pool works with.
type PoolOptions struct {
	// Registry holds the models that can be loaded.
	Registry *model.Registry
	// Open opens a loaded model.
	Open OpenFunc
	// Batch is each model's batching; its OnRun is not used.
	Batch batch.Options
	// OnRun is called after each run of a model with its number of crops and
	// duration; it must be quick. Nil means none.
	OnRun func(model string, size int, run time.Duration)
}

// Model is a loaded, warmed model. It estimates people through its batcher.
type Model struct {
	Card    model.Card
	Runner  model.Runner
	Batcher *batch.Batcher
	*Estimator
}

// Pool keeps loaded models warm. It is safe for concurrent use.
type Pool struct {
	options PoolOptions
	flight  singleflight.Group
	loading sync.WaitGroup

	mu     sync.Mutex
	models map[string]*Model
	closed bool
}

// NewPool returns a pool without loaded models.
func NewPool(o PoolOptions) *Pool {
	return &Pool{options: o, models: map[string]*Model{}}
}

// Get returns a model by its name, or by the short form that the registry
// resolves. The first call loads it and runs it once with one crop and once
// with the largest batch, so that memory that is too small shows now and not
// under load; callers meanwhile share that load. A failed load may be tried
// again. When ctx ends first the load goes on without the caller.
//
// Errors: ErrLoading with that of ctx, model.ErrUnknownModel, model.ErrChecksum, ErrClosed, or why the
// model could not be opened or run.
func (p *Pool) Get(ctx context.Context, name string) (*Model, error) {
	name = p.options.Registry.Resolve(name)
	if m, err := p.loaded(name); m != nil || err != nil {
		return m, err
	}
	load := func() (any, error) { return p.load(name) } //nolint:contextcheck // it outlives the caller that began it
	select {
	case r := <-p.flight.DoChan(name, load):
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*Model), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %s: %w", ErrLoading, name, ctx.Err())
	}
}

// loaded returns the model if it is there.
func (p *Pool) loaded(name string) (*Model, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	return p.models[name], nil
}

func (p *Pool) load(name string) (*Model, error) {
	if m, err := p.enter(name); m != nil || err != nil {
		return m, err // another flight landed between the caller's look and this one
	}
	defer p.loading.Done()
	m, err := p.open(name)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed { // nobody knows of m, so closing it waits for nothing
		return nil, errors.Join(ErrClosed, m.close(context.Background()))
	}
	p.models[name] = m
	return m, nil
}

// enter is loaded, and announces a load when there is nothing to return.
func (p *Pool) enter(name string) (*Model, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if m := p.models[name]; m != nil {
		return m, nil
	}
	p.loading.Add(1)
	return nil, nil
}

// open reads, opens and warms a model.
func (p *Pool) open(name string) (*Model, error) {
	onnx, card, err := p.options.Registry.Load(name)
	if err != nil {
		return nil, err
	}
	runner, err := p.options.Open(onnx, card)
	if err != nil {
		return nil, err // names the model
	}
	m := p.newModel(name, runner)
	if err := m.Batcher.Warm(); err != nil {
		return nil, errors.Join(fmt.Errorf("model %s: warm-up run: %w", name, err), m.close(context.Background()))
	}
	return m, nil
}

func (p *Pool) newModel(name string, r model.Runner) *Model {
	o := p.options.Batch
	o.OnRun = nil
	if f := p.options.OnRun; f != nil {
		o.OnRun = func(size int, run time.Duration) { f(name, size, run) }
	}
	b := batch.New(r, o)
	return &Model{Card: r.Card(), Runner: r, Batcher: b, Estimator: NewEstimator(b, r.Card())}
}

// close drains the batcher and then closes the runner.
func (m *Model) close(ctx context.Context) error {
	return errors.Join(m.Batcher.Close(ctx), m.Runner.Close())
}

// Loaded returns the models that are loaded and warm, sorted by name.
func (p *Pool) Loaded() []*Model {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sorted()
}

func (p *Pool) sorted() []*Model {
	models := make([]*Model, 0, len(p.models))
	for _, m := range p.models {
		models = append(models, m)
	}
	slices.SortFunc(models, func(a, b *Model) int { return cmp.Compare(a.Card.Name, b.Card.Name) })
	return models
}

// Close takes no more work, waits until the admitted crops have their results
// and then closes the runners. When ctx ends first, crops that still wait get
// ErrClosed, only the runs in progress are waited for, and a load in progress
// closes its model by itself when it is done.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	models := p.sorted()
	clear(p.models)
	p.mu.Unlock()
	errs := make([]error, len(models))
	var wg sync.WaitGroup
	for i, m := range models {
		wg.Go(func() { errs[i] = m.close(ctx) })
	}
	wg.Wait()
	return errors.Join(append(errs, p.awaitLoads(ctx))...)
}

func (p *Pool) awaitLoads(ctx context.Context) error {
	done := make(chan struct{})
	go func() { p.loading.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
