package search

import (
	"context"

	"github.com/evopose/evopose/model"
)

// Job is one evaluation: train a genotype for some epochs and tell its lowest
// validation loss.
type Job struct {
	// ID is the place in the search; 0 is the ancestor.
	ID         int `json:"id"`
	Generation int `json:"generation"`
	// Parent is the ID of the parent, -1 for the ancestor.
	Parent   int            `json:"parent"`
	Genotype model.Genotype `json:"genotype"`
	// Mutations tell what differs from the parent, such as
	// "stage 3 kernel 5 -> 3".
	Mutations []string `json:"mutations,omitempty"`
	// Seed is a function of the search's seed and ID.
	Seed   uint64 `json:"seed"`
	Epochs int    `json:"epochs"`
	// ParentWeights is the hex SHA-256 of the weights that training starts
	// from, in the engine's store: the parent's Result.Weights, or those given
	// to the ancestor; empty for initial ones.
	ParentWeights string `json:"parent_weights,omitempty"`
	// StopAbove holds, by epoch, the loss above which the evaluation is ended
	// as hopeless. Epochs beyond its end have no such bound; nor have those
	// whose bound is 0.
	StopAbove []float64 `json:"stop_above,omitempty"`
}

// Result is what an evaluation found. It is placed by its job's ID, never by
// the order of arrival.
type Result struct {
	ID int `json:"id"`
	// Loss is the lowest validation loss. It is always a finite number; where
	// there is none, Failed is set.
	Loss float64 `json:"loss"`
	// Losses are the validation losses by epoch, all finite.
	Losses       []float64 `json:"losses,omitempty"`
	Parameters   int64     `json:"parameters"`
	MultiplyAdds int64     `json:"multiply_adds"`
	// Latency is the seconds that a crop takes in the serving runtime; 0 if it
	// was not measured.
	Latency float64 `json:"latency,omitempty"`
	// Seconds is how long the evaluation took.
	Seconds float64 `json:"seconds"`
	Worker  string  `json:"worker,omitempty"`
	// Stopped reports that the evaluation was ended early as hopeless.
	Stopped bool `json:"stopped,omitempty"`
	// Failed says why there is no loss; empty when there is one. A failed job
	// never becomes a parent.
	Failed string `json:"failed,omitempty"`
	// Transfer sums up the weight transfer that training began with.
	Transfer string `json:"transfer,omitempty"`
	// Weights is the hex SHA-256 of the trained weights' file in the engine's
	// store; empty if the job failed.
	Weights string `json:"weights,omitempty"`
}

// Evaluator trains one genotype.
type Evaluator interface {
	// Evaluate trains and returns the result with the file of the trained
	// weights. parent is the file of Job.ParentWeights, nil if there is none.
	// progress is told each epoch's validation loss, epochs counted from 1; it
	// may be nil. What is wrong with the genotype (its loss is no number, it
	// does not fit into memory) is a result that Failed; an error means that
	// this evaluator cannot work. A cancelled ctx gives its error.
	Evaluate(ctx context.Context, job Job, parent []byte, progress func(epoch int, loss float64)) (Result, []byte, error)
}

// Engine evaluates jobs somewhere: in this process, or by workers behind a
// broker.
type Engine interface {
	// Evaluate returns the results in the order of jobs once all are there,
	// calling done, one call at a time, for each as it arrives in any order.
	// Several calls may run at the same time.
	Evaluate(ctx context.Context, jobs []Job, done func(Result)) ([]Result, error)
	// Weights returns the file of a result's trained weights.
	Weights(ctx context.Context, r Result) ([]byte, error)
	// Drop removes the trained weights of results; some may be gone already.
	// What cannot be removed now stays, and is named again after the next
	// generation.
	Drop(ctx context.Context, spent []Result)
}
