package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/evopose/evopose/search"
)

// Coordinator is the engine of a search whose workers are behind a broker. It
// keeps nothing that the broker has not: killed and opened again, it finds the
// results that came while it was away.
type Coordinator struct {
	assets
	record   record
	searches searches
	progress func(Progress)
	cancel   context.CancelFunc
	watching sync.WaitGroup

	telling sync.Mutex // one call of any done at a time

	mu      sync.Mutex
	results map[int]search.Result
	changed chan struct{} // closed at the next result
}

var _ search.Engine = (*Coordinator)(nil)

// Progress is a sign of life of a job. Such signs may be lost.
type Progress struct {
	Job    int    `json:"job"`
	Worker string `json:"worker"`
	// Epoch is the last one done, 0 at the start; Loss is its validation loss.
	Epoch int     `json:"epoch"`
	Loss  float64 `json:"loss"`
}

// Options are the parts of a coordinator that the broker needs not know.
type Options struct {
	// Log gets what goes wrong and what a user has to do; nil means nowhere.
	Log *zap.Logger
	// Progress is told of jobs at work, one call at a time; nil for nobody.
	Progress func(Progress)
}

// Open opens a search on a broker: a new one, or one of the same ID, settings
// and data that was interrupted.
func Open(ctx context.Context, connection Connection, s Search, o Options) (*Coordinator, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if connection.Name == "" {
		connection.Name = "evopose search " + s.ID
	}
	nc, err := connection.Connect(ctx, o.Log)
	if err != nil {
		return nil, err
	}
	c := &Coordinator{progress: o.Progress, results: map[int]search.Result{}, changed: make(chan struct{})}
	if c.assets, err = newAssets(nc, s.ID, o.Log); err == nil {
		err = c.open(ctx, s.withDefaults())
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *Coordinator) open(ctx context.Context, s Search) error {
	if err := c.create(ctx); err != nil {
		return err
	}
	manifest, err := c.putData(ctx, s)
	if err != nil {
		return err
	}
	if c.record, err = c.register(ctx, s.record(manifest)); err != nil {
		return err
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	if err := c.watch(ctx, background); err != nil {
		cancel()
		return err
	}
	return c.listen()
}

// register enters the search into the broker's list, once its queue is there.
func (c *Coordinator) register(ctx context.Context, now record) (record, error) {
	err := retry(ctx, c.log, "entering the search into the broker's list", func(ctx context.Context) (err error) {
		if c.searches, err = openSearches(ctx, c.js); err != nil {
			return err
		}
		old, found, err := c.searches.get(ctx, now.ID)
		if err != nil {
			return err
		}
		if found {
			if now, err = old.resume(now); err != nil {
				return permanentError{err}
			}
		}
		return nil
	})
	if err != nil {
		return now, err
	}
	if err := c.createQueue(ctx, now); err != nil {
		return now, err
	}
	return now, c.put(ctx, now)
}

func (c *Coordinator) put(ctx context.Context, r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("settings of search %s: %w", r.ID, err)
	}
	if err := c.fits("the settings of search "+r.ID, data); err != nil {
		return err
	}
	return retry(ctx, c.log, "entering the search into the broker's list", func(ctx context.Context) error { return c.searches.put(ctx, r) })
}

// watch follows the results. It returns when it knows those that are there.
func (c *Coordinator) watch(ctx, background context.Context) error {
	var w jetstream.KeyWatcher
	err := retry(ctx, c.log, "watching the results", func(context.Context) (err error) {
		w, err = c.kv.Watch(background, "result.*")
		return err
	})
	if err != nil {
		return err
	}
	ready := make(chan struct{})
	c.watching.Go(func() { c.follow(background, w, ready) })
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// follow takes results until the context ends. It closes ready when it knows
// those that were there.
func (c *Coordinator) follow(ctx context.Context, w jetstream.KeyWatcher, ready chan<- struct{}) {
	defer w.Stop() //nolint:errcheck // the connection is closed next
	for known := false; ; {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return
			case e != nil:
				c.take(ctx, e)
			case !known:
				known = true
				close(ready)
			}
		}
	}
}

// take keeps the first valid result of a job. An invalid one is removed, so
// that the job is submitted again.
func (c *Coordinator) take(ctx context.Context, e jetstream.KeyValueEntry) {
	if e.Operation() != jetstream.KeyValuePut {
		return
	}
	id, err := lastNumber(e.Key())
	if err != nil {
		return
	}
	var r search.Result
	err = json.Unmarshal(e.Value(), &r)
	if err == nil && r.ID != id {
		err = fmt.Errorf("it is the result of job %d", r.ID)
	}
	if err != nil {
		c.log.Warn("invalid result; the job is done again", zap.Int("job", id), zap.Error(err))
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		_ = c.kv.Purge(ctx, e.Key(), jetstream.LastRevision(e.Revision())) // else at the next sweep
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.results[id]; ok {
		return
	}
	c.results[id] = r
	close(c.changed)
	c.changed = make(chan struct{})
}

// listen passes on what workers say of their jobs and troubles.
func (c *Coordinator) listen() error {
	var mu sync.Mutex
	_, err := c.nc.Subscribe(c.subject("progress", "*"), func(m *nats.Msg) {
		var p Progress
		if c.progress == nil || json.Unmarshal(m.Data, &p) != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		c.progress(p)
	})
	if err != nil {
		return err
	}
	_, err = c.nc.Subscribe(c.trouble(), func(m *nats.Msg) { c.log.Warn("a worker is in trouble", zap.ByteString("message", m.Data)) })
	return err
}

// Weights implements search.Engine.
func (c *Coordinator) Weights(ctx context.Context, r search.Result) ([]byte, error) {
	if r.Weights == "" {
		return nil, fmt.Errorf("job %d has no weights: %s", r.ID, r.Failed)
	}
	data, err := c.store.get(ctx, fmt.Sprintf("weights of job %d", r.ID), r.Weights)
	if errors.Is(err, errNoFile) {
		err = fmt.Errorf("%w; what no later job needed was removed: were there more generations before?", err)
	}
	return data, err
}

// PutWeights stores weights that no worker trained, for a job's ParentWeights.
func (c *Coordinator) PutWeights(ctx context.Context, data []byte) (string, error) {
	return c.store.put(ctx, "given weights", data, nil)
}

// dropTime bounds a removal of weights, while which no results are taken.
const dropTime = 30 * time.Second

// Drop implements search.Engine.
func (c *Coordinator) Drop(ctx context.Context, spent []search.Result) {
	ctx, cancel := context.WithTimeout(ctx, dropTime)
	defer cancel()
	if err := c.drop(ctx, spent); err != nil && !errors.Is(err, context.Canceled) {
		c.log.Warn("weights that nobody needs any more are not removed yet", zap.Error(explainStore(err)))
	}
}

func (c *Coordinator) drop(ctx context.Context, spent []search.Result) error {
	there, err := c.store.list(ctx)
	if err != nil {
		return err
	}
	for _, r := range spent {
		if !there[r.Weights] {
			continue
		}
		if err := c.store.remove(ctx, fmt.Sprintf("weights of job %d", r.ID), r.Weights); err != nil {
			return err
		}
	}
	return nil
}

// End tells the workers that the search is over, and they leave it. Results
// and weights stay.
func (c *Coordinator) End(ctx context.Context) error {
	c.record.Ended = true
	if err := c.put(ctx, c.record); err != nil {
		return err
	}
	return retry(ctx, c.log, "removing the queue of jobs", func(ctx context.Context) error {
		if err := c.js.DeleteStream(ctx, c.stream()); !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
		return nil
	})
}

// Remove deletes all that the broker has of the search.
func (c *Coordinator) Remove(ctx context.Context) error {
	if err := c.End(ctx); err != nil {
		return err
	}
	return errors.Join(c.js.DeleteKeyValue(ctx, c.bucket()), c.js.DeleteObjectStore(ctx, c.bucket()), c.searches.kv.Purge(ctx, c.id))
}

// Close leaves the broker; the search goes on when it is opened again.
func (c *Coordinator) Close() error {
	c.cancel()
	c.watching.Wait()
	c.nc.Close()
	return nil
}

// Workers is the number of workers that wait for a job and of those at one, as
// far as the broker knows.
func (c *Coordinator) Workers(ctx context.Context) (waiting, busy int, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	consumer, err := c.js.Consumer(ctx, c.stream(), c.consumer())
	if err != nil {
		return 0, 0, err
	}
	info := consumer.CachedInfo()
	return info.NumWaiting, info.NumAckPending, nil
}

// sweepEvery is the time between looks for what has gone missing.
func (r record) sweepEvery() time.Duration { return r.AckWait / 2 }

func isTaken(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && strings.Contains(api.Description, "maximum messages per subject exceeded")
}
