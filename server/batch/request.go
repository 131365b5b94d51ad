package batch

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// state is where a crop stands; it is guarded by Batcher.mu.
type state uint8

const (
	waits   state = iota // holds a place: queued or gathered
	entered              // is in a run, or was
	gone                 // was dropped before it entered a run
)

// place is one crop of a request.
type place struct {
	request *request
	index   int
	state   state
}

// request is one call of InferAll.
type request struct {
	ctx     context.Context
	arrived time.Time
	places  []place
	done    chan result // holds a result for every place, so sending never blocks

	mu    sync.Mutex
	crops [][]float32
	left  bool // the caller has gone: read none of crops, send no result
}

func newRequest(ctx context.Context, crops [][]float32) *request {
	q := &request{
		ctx:     ctx,
		arrived: time.Now(),
		places:  make([]place, len(crops)),
		done:    make(chan result, len(crops)),
		crops:   crops,
	}
	for i := range q.places {
		q.places[i] = place{request: q, index: i}
	}
	return q
}

// read copies a crop to dst, unless the caller has gone.
func (q *request) read(index int, dst []float32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.left {
		copy(dst, q.crops[index])
	}
}

// deliver sends a result and reports whether the caller is still there.
func (q *request) deliver(r result) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.left {
		return false
	}
	q.done <- r
	return true
}

// result is the outcome of one crop: its heatmaps are those of slot in out,
// which the receiver must release.
type result struct {
	index        int
	out          *output
	slot         int
	size         int
	began, ended time.Time
	err          error
}

// output is the output tensor of one run; it is free when it has no users.
type output struct {
	maps  []float32
	users atomic.Int32
}
