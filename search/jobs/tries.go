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
	ID     string `json:"id"`
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

// beginTry notes an attempt, ID, and returns those before it. Done twice it is
// one.
func (a *assets) beginTry(ctx context.Context, job int, id, worker string) ([]try, error) {
	mine := []try{{ID: id, Worker: worker}}
	attempt, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if a.writeTries(attempt, triesKey(job), mine, 0) == nil {
		return nil, nil // the usual case: the first
	}
	all, err := a.changeTries(ctx, job, func(all []try) []try {
		return append(without(all, id), mine...)
	})
	return without(all, id), err
}

// endTry notes why an attempt failed; without a reason it does not count and is
// forgotten.
func (a *assets) endTry(ctx context.Context, job int, id, worker, reason string) error {
	_, err := a.changeTries(ctx, job, func(all []try) []try {
		all = without(all, id)
		if reason == "" {
			return all
		}
		return append(all, try{id, worker, reason})
	})
	return err
}

func without(all []try, id string) []try {
	return slices.DeleteFunc(slices.Clone(all), func(t try) bool { return t.ID == id })
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
