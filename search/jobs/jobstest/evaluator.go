// Package jobstest has an evaluator that trains nothing, for tests of the
// engine and measurements of its speed.
package jobstest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/evopose/evopose/search"
)

// Evaluator sleeps where others train. Its results are a function of the job
// and of the parent's weights.
type Evaluator struct {
	// Epoch is how long an epoch takes.
	Epoch time.Duration
	// Size is the number of bytes of weights; 0 means 64.
	Size int
}

// Evaluate implements search.Evaluator.
func (e Evaluator) Evaluate(ctx context.Context, job search.Job, parent []byte, progress func(epoch int, loss float64)) (search.Result, []byte, error) {
	begin := time.Now()
	weights := Weights(job, parent, max(e.Size, 64))
	r := search.Result{ID: job.ID, Loss: Loss(weights), Parameters: int64(len(weights)), MultiplyAdds: int64(job.Seed % 1e6), Transfer: fmt.Sprintf("%d bytes", len(parent))}
	for epoch := 1; epoch <= job.Epochs; epoch++ {
		select {
		case <-ctx.Done():
			return search.Result{}, nil, context.Cause(ctx)
		case <-time.After(e.Epoch):
		}
		r.Losses = append(r.Losses, r.Loss+float64(job.Epochs-epoch))
		if progress != nil {
			progress(epoch, r.Losses[epoch-1])
		}
	}
	r.Seconds = time.Since(begin).Seconds()
	return r, weights, nil
}

// Weights are what training the job from the parent's weights gives.
func Weights(job search.Job, parent []byte, size int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], job.Seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(job.ID))
	copy(key[16:], parent)
	w := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(w)
	return w
}

// Loss is the validation loss of weights, from 0 to 1.
func Loss(weights []byte) float64 {
	return float64(binary.LittleEndian.Uint64(weights)>>11) / (1 << 53)
}
