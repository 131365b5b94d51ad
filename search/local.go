package search

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/renameio/v2/maybe"
)

// Local is an Engine of this process: it evaluates some jobs at a time and
// keeps the trained weights in a folder, each under its SHA-256.
type Local struct {
	evaluator Evaluator
	dir       string
	slots     chan struct{}
	// OnEpoch, if set, is told of every epoch of every job, from several
	// goroutines.
	OnEpoch func(job Job, epoch int, loss float64)
}

// NewLocal returns an engine that evaluates up to workers jobs at a time. It
// makes the folder.
func NewLocal(e Evaluator, workers int, dir string) (*Local, error) {
	if workers < 1 {
		return nil, fmt.Errorf("workers %d: want 1 or more", workers)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("the folder of trained weights: %w", err)
	}
	return &Local{evaluator: e, dir: dir, slots: make(chan struct{}, workers)}, nil
}

// Evaluate implements Engine. The first evaluator that cannot work ends the
// others.
func (l *Local) Evaluate(ctx context.Context, jobs []Job, done func(Result)) ([]Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]Result, len(jobs))
	var told sync.Mutex
	var all sync.WaitGroup
	for i, job := range jobs {
		if !l.acquire(ctx) {
			break
		}
		all.Go(func() {
			defer l.release()
			r, err := l.one(ctx, job)
			if err != nil {
				cancel(err)
				return
			}
			told.Lock()
			defer told.Unlock()
			results[i] = r
			done(r)
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return results, nil
}

// acquire waits for a free worker; it is false when ctx ends first.
func (l *Local) acquire(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case l.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *Local) release() { <-l.slots }

// one evaluates a job and keeps its weights.
func (l *Local) one(ctx context.Context, job Job) (Result, error) {
	var parent []byte
	if job.ParentWeights != "" {
		var err error
		if parent, err = l.load(job.ParentWeights); err != nil {
			return Result{}, err
		}
	}
	r, weights, err := l.evaluator.Evaluate(ctx, job, parent, func(epoch int, loss float64) {
		if l.OnEpoch != nil {
			l.OnEpoch(job, epoch, loss)
		}
	})
	if err != nil {
		return Result{}, fmt.Errorf("evaluation %d: %w", job.ID, err)
	}
	r.ID = job.ID
	if r = r.Checked(); r.Failed == "" {
		r.Weights, err = l.PutWeights(ctx, weights)
	}
	return r, err
}

// PutWeights keeps a file and returns the sum it is found by.
func (l *Local) PutWeights(_ context.Context, data []byte) (string, error) {
	sum := SumOf(data)
	if err := maybe.WriteFile(l.path(sum), data, 0o644); err != nil {
		return "", fmt.Errorf("the trained weights were not kept: %w", err)
	}
	return sum, nil
}

func (l *Local) load(sum string) ([]byte, error) {
	data, err := os.ReadFile(l.path(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the trained weights %.12s... are missing: put %s back, or start a new search: %w", sum, l.path(sum), err)
	}
	if err != nil {
		return nil, err
	}
	if got := SumOf(data); got != sum {
		return nil, fmt.Errorf("%s is damaged: its SHA-256 is %s; put the file back, or start a new search", l.path(sum), got)
	}
	return data, nil
}

func (l *Local) path(sum string) string { return filepath.Join(l.dir, sum+".onnx") }

// Weights implements Engine.
func (l *Local) Weights(_ context.Context, r Result) ([]byte, error) {
	if r.Weights == "" {
		return nil, fmt.Errorf("evaluation %d has no weights: %s", r.ID, r.Failed)
	}
	return l.load(r.Weights)
}

// Drop implements Engine.
func (l *Local) Drop(_ context.Context, spent []Result) {
	for _, r := range spent {
		_ = os.Remove(l.path(r.Weights)) // else the next time
	}
}

// SumOf returns the hex SHA-256 of a file's bytes, by which weights are named.
func SumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
