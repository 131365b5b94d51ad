package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// try is one worker's attempt at a job, noted before it begins. The note of a
// worker that died stays as it is.
type try struct {
	Worker string `json:"worker"`
	Error  string `json:"error,omitempty"`
}

// changeTries applies a change to the notes of a job and returns the result.
// It is done again if another worker changes them at the same time.
func (a *assets) changeTries(ctx context.Context, job int, change func([]try) []try) (all []try, err error) {
	key := triesKey(job)
	err = retry(ctx, a.log, fmt.Sprintf("noting the tries of job %d", job), func(ctx context.Context) error {
		all = nil
		e, err := a.kv.Get(ctx, key)
		if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
			return err
		}
		if err != nil {
			all = change(nil)
			return a.writeTries(ctx, key, all, 0)
		}
		if err := json.Unmarshal(e.Value(), &all); err != nil {
			return permanentError{fmt.Errorf("tries of job %d: %w", job, err)}
		}
		all = change(all)
		return a.writeTries(ctx, key, all, e.Revision())
	})
	return all, err
}

// writeTries writes the notes if they are still at the revision; 0 means that
// there are none.
func (a *assets) writeTries(ctx context.Context, key string, all []try, revision uint64) error {
	data, err := json.Marshal(all)
	if err != nil {
		return permanentError{err}
	}
	if revision == 0 {
		_, err = a.kv.Create(ctx, key, data)
	} else {
		_, err = a.kv.Update(ctx, key, data, revision)
	}
	return err
}

// beginTry notes an attempt and returns those before it.
func (a *assets) beginTry(ctx context.Context, job int, worker string) ([]try, error) {
	all, err := a.changeTries(ctx, job, func(all []try) []try { return append(all, try{Worker: worker}) })
	if err != nil {
		return nil, err
	}
	return all[:len(all)-1], nil
}

// endTry notes why the worker's last attempt failed; without a reason the
// attempt does not count and is forgotten.
func (a *assets) endTry(ctx context.Context, job int, worker, reason string) error {
	_, err := a.changeTries(ctx, job, func(all []try) []try {
		for i, t := range slices.Backward(all) {
			if t.Worker != worker || t.Error != "" {
				continue
			}
			if reason == "" {
				return slices.Delete(all, i, i+1)
			}
			all[i].Error = reason
			return all
		}
		return all
	})
	return err
}

// describe sums up why a job was given up.
func describe(all []try) string {
	var text []string
	for _, t := range all {
		if t.Error == "" {
			text = append(text, t.Worker+" died")
		} else {
			text = append(text, t.Worker+": "+t.Error)
		}
	}
	return fmt.Sprintf("given up after %d tries: %s", len(all), strings.Join(text, "; "))
}
