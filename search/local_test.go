package search

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func newLocal(t *testing.T, f *fake, workers int) *Local {
	t.Helper()
	l, err := NewLocal(f, workers, filepath.Join(t.TempDir(), "weights"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func jobs(n int) []Job {
	list := make([]Job, n)
	for i := range list {
		list[i] = Job{ID: 10 + i, Parent: -1, Epochs: 2}
	}
	return list
}

// Results come back in the order of the jobs, weights under their sum, and
// progress is told.
func TestLocal(t *testing.T) {
	l := newLocal(t, &fake{delay: true}, 4)
	var mu sync.Mutex
	epochs := map[int]int{}
	l.OnEpoch = func(j Job, epoch int, _ float64) {
		mu.Lock()
		defer mu.Unlock()
		epochs[j.ID] = epoch
	}
	told := map[int]bool{}
	results, err := l.Evaluate(t.Context(), jobs(20), func(r Result) { told[r.ID] = true })
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		data, err := l.Weights(t.Context(), r)
		if r.ID != 10+i || !told[r.ID] || epochs[r.ID] != 2 || err != nil || SumOf(data) != r.Weights {
			t.Errorf("%d: %+v, %v", i, r, err)
		}
	}
}

func TestLocalWeights(t *testing.T) {
	l := newLocal(t, &fake{}, 1)
	results, err := l.Evaluate(t.Context(), jobs(1), func(Result) {})
	if err != nil {
		t.Fatal(err)
	}
	r := results[0]
	if _, err := l.Weights(t.Context(), Result{ID: 3, Failed: "out of memory"}); err == nil || !strings.Contains(err.Error(), "evaluation 3 has no weights: out of memory") {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(l.path(r.Weights), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Weights(t.Context(), r); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("error %v", err)
	}
	child := Job{ID: 4, ParentWeights: r.Weights}
	if _, err := l.Evaluate(t.Context(), []Job{child}, func(Result) {}); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("error %v", err)
	}
	if err := os.Remove(l.path(r.Weights)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Weights(t.Context(), r); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "are missing") {
		t.Errorf("error %v", err)
	}
}

// A cancelled context ends what runs and begins nothing.
func TestLocalCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	f := &fake{delay: true, broken: func(j Job) error {
		if j.ID == 12 {
			cancel(why)
		}
		return nil
	}}
	if _, err := newLocal(t, f, 2).Evaluate(ctx, jobs(100), func(Result) {}); !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
	if len(f.ids) > 10 {
		t.Errorf("%d evaluations went on", len(f.ids))
	}
}

func TestLocalFullDisk(t *testing.T) {
	l := newLocal(t, &fake{}, 1)
	if err := os.RemoveAll(l.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Evaluate(t.Context(), jobs(1), func(Result) {}); err == nil || !strings.Contains(err.Error(), "weights were not kept") {
		t.Errorf("error %v", err)
	}
	if _, err := NewLocal(&fake{}, 0, l.dir); err == nil || err.Error() != "workers 0: want 1 or more" {
		t.Errorf("error %v", err)
	}
}
