package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/evopose/evopose/search"
)

// Setup is what a worker's evaluator is made from.
type Setup struct {
	// Search is the search's ID.
	Search string
	// Settings is the document that the coordinator gave.
	Settings json.RawMessage
	// Data are the search's sets as they lie on this machine, each in its
	// place.
	Data Data
}

// Factory makes the evaluator for a search. It is called once for each search
// that the worker joins. An evaluator that is an io.Closer is closed when the
// worker leaves the search, unless an evaluation hangs in it.
type Factory func(ctx context.Context, s Setup) (search.Evaluator, error)

// Worker evaluates jobs of the searches on a broker.
type Worker struct {
	Connection Connection
	// Search is the only search to work for, which is waited for as long as
	// for the broker (Connection.Wait); empty means any, one after the other,
	// newest first, for ever.
	Search string
	// Name is told in results; empty means HOST-PID.
	Name string
	// Factory makes the evaluator.
	Factory Factory
	// Data are the sets on this machine, in any order; its zero value means
	// that they come from the broker into Cache.
	Data Data
	// Cache is the folder for what comes from the broker.
	Cache string
	// Log gets a line for each job; nil means nowhere.
	Log *zap.Logger
	// Poll is the time between looks for a search; 0 means 5 s.
	Poll time.Duration
}

// Work works until the context ends, which is no error, the search that it is
// bound to ends, or it cannot work.
func (w Worker) Work(ctx context.Context) error {
	w = w.withDefaults()
	if w.Search != "" {
		if err := CheckID(w.Search); err != nil {
			return err
		}
	}
	nc, err := w.Connection.Connect(ctx, w.Log)
	if err != nil {
		return unlessDone(ctx, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	var list searches
	err = retry(ctx, w.Log, "looking for searches", func(ctx context.Context) (err error) {
		list, err = openSearches(ctx, js)
		return err
	})
	if err != nil {
		return unlessDone(ctx, err)
	}
	w.Log.Info("connected", zap.String("url", nc.ConnectedUrlRedacted()), zap.String("worker", w.Name))
	return unlessDone(ctx, w.serve(ctx, nc, list))
}

func (w Worker) withDefaults() Worker {
	if w.Log == nil {
		w.Log = zap.NewNop()
	}
	if w.Name == "" {
		host, _ := os.Hostname()
		w.Name = fmt.Sprintf("%s-%d", cmp.Or(host, "worker"), os.Getpid())
	}
	w.Connection.Name = cmp.Or(w.Connection.Name, "evopose worker "+w.Name)
	w.Poll = cmp.Or(w.Poll, 5*time.Second)
	return w
}

// unlessDone is the error, or nil once the context has ended.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end that was asked for
	}
	return err
}

// errEnded means that a search is over.
var errEnded = errors.New("the search has ended")

// serve works for one search after the other.
func (w Worker) serve(ctx context.Context, nc *nats.Conn, list searches) error {
	waiting, begin := false, time.Now()
	for {
		r, found, err := w.find(ctx, list)
		if err == nil && found && !r.Ended {
			waiting, err = false, w.serveSearch(ctx, nc, list, r)
			if w.Search == "" && errors.Is(err, errEnded) {
				continue
			}
		}
		switch {
		case found && r.Ended || errors.Is(err, errEnded):
			w.Log.Info("the search has ended", zap.String("search", r.ID))
			return nil
		case err != nil:
			return err
		case w.Search != "" && time.Since(begin) >= w.Connection.Wait:
			return list.unknown(ctx, w.Search)
		case !waiting:
			waiting = true
			w.Log.Info("no search yet; waiting for one", zap.String("search", w.Search))
		}
		if err := sleep(ctx, w.pause()); err != nil {
			return err
		}
	}
}

// pause is the time between looks for a search: short if it is not waited for
// for ever.
func (w Worker) pause() time.Duration {
	if w.Search != "" {
		return min(w.Poll, time.Second)
	}
	return w.Poll
}

// find returns the search to work for; false if there is none yet.
func (w Worker) find(ctx context.Context, list searches) (r record, found bool, err error) {
	err = retry(ctx, w.Log, "looking for searches", func(ctx context.Context) (err error) {
		if w.Search != "" {
			r, found, err = list.get(ctx, w.Search)
		} else {
			r, found, err = list.open(ctx)
		}
		return err
	})
	return r, found, err
}

// serveSearch does the jobs of a search; its end is errEnded.
func (w Worker) serveSearch(ctx context.Context, nc *nats.Conn, list searches, r record) error {
	log := w.Log.With(zap.String("search", r.ID))
	a, err := newAssets(nc, r.ID, log)
	if err != nil {
		return err
	}
	m := &member{assets: a, worker: w, record: r, searches: list}
	if err := m.join(ctx); err != nil {
		return err
	}
	data, err := m.localData(ctx)
	if err != nil {
		return fmt.Errorf("search %s: %w", r.ID, err)
	}
	if m.evaluator, err = w.Factory(ctx, Setup{Search: r.ID, Settings: r.Settings, Data: data}); err != nil {
		return fmt.Errorf("search %s: %w", r.ID, err)
	}
	log.Info("joined", zap.String("worker", w.Name))
	err = m.run(ctx)
	if c, ok := m.evaluator.(io.Closer); ok && !errors.Is(err, errHangs) { // one that hangs is at work still
		if err := c.Close(); err != nil {
			log.Warn("closing the evaluator", zap.Error(err))
		}
	}
	return err
}
