package main

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
)

// The surrogate stands for training where hundreds of searches are compared:
// a made-up landscape, with no claim to be that of real networks. Its costs are
// the networks' real ones.

const (
	lossFloor = 100 // of any genotype
	lossNoise = 0.5 // standard deviation, as of trainings with another seed
)

// trueLoss is the surrogate's loss without noise: 100, and
//
//   - for each stage 6 exp(-repeats * filters / those of the default genotype):
//     capacity helps, less and less;
//   - 0.8 for each kernel that is not 3 in stages 1, 2 and 7, or 5 in the others;
//   - 3 for each stride of 2 in stages 5 to 7: resolution helps;
//   - 1 for each two neighbouring stages whose filters differ by more than a
//     factor of 4, so that genes do not act alone.
func trueLoss(g model.Genotype) float64 {
	loss := float64(lossFloor)
	for i, s := range g {
		loss += 6 * math.Exp(-float64(s.Repeats*s.Filters)/float64(model.GenotypeDefault[i].Filters))
		if (s.Kernel == 5) != (i >= 2 && i <= 5) {
			loss += 0.8
		}
		if i >= 4 && s.Stride == 2 {
			loss += 3
		}
		if i > 0 && max(s.Filters, g[i-1].Filters) > 4*min(s.Filters, g[i-1].Filters) {
			loss++
		}
	}
	return loss
}

// native is the size of the networks whose costs are taken.
var native = model.Size{H: 256, W: 192}

// surrogate is an evaluator that calculates where others train.
type surrogate struct {
	// second is the time of an evaluation of the default genotype. Others take
	// as much more as their network has multiply-adds, and by chance a factor
	// of log-normal distribution with mean 1 and this sigma.
	second, sigma float64
	sleeps        bool // whether an evaluation really takes its time
}

// Evaluate implements search.Evaluator. The result is a function of genotype
// and seed; Seconds are those of the time by second and sigma.
func (s surrogate) Evaluate(ctx context.Context, job search.Job, _ []byte, _ func(int, float64)) (search.Result, []byte, error) {
	n, err := model.NewNetwork(job.Genotype, native)
	if err != nil {
		return search.Result{}, nil, err
	}
	rng := rand.New(rand.NewPCG(job.Seed, 3))
	r := search.Result{ID: job.ID, Loss: trueLoss(job.Genotype) + lossNoise*rng.NormFloat64(), MultiplyAdds: n.MultiplyAdds()}
	r.Parameters, _ = n.Parameters()
	r.Seconds = s.seconds(job, r)
	if s.sleeps {
		select {
		case <-ctx.Done():
			return r, nil, context.Cause(ctx)
		case <-time.After(time.Duration(r.Seconds * float64(time.Second))):
		}
	}
	r.Losses = []float64{r.Loss}
	return r, []byte("the weights of " + job.Genotype.String()), nil
}

// seconds is the time of an evaluation.
func (s surrogate) seconds(job search.Job, r search.Result) float64 {
	z := rand.New(rand.NewPCG(job.Seed, 5)).NormFloat64()
	return s.second * float64(r.MultiplyAdds) / defaultMultiplyAdds() * math.Exp(s.sigma*z-s.sigma*s.sigma/2)
}

// defaultMultiplyAdds are those of the default genotype.
var defaultMultiplyAdds = sync.OnceValue(func() float64 {
	n, err := model.NewNetwork(model.GenotypeDefault, native)
	if err != nil {
		panic(err) // it is a constant
	}
	return float64(n.MultiplyAdds())
})

// atOnce is an engine whose evaluations take no time.
type atOnce struct{ evaluator surrogate }

// Evaluate implements search.Engine.
func (e atOnce) Evaluate(ctx context.Context, jobs []search.Job, done func(search.Result)) ([]search.Result, error) {
	var results []search.Result
	for _, job := range jobs {
		r, _, err := e.evaluator.Evaluate(ctx, job, nil, nil)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
		done(r)
	}
	return results, nil
}

// Weights implements search.Engine.
func (atOnce) Weights(context.Context, search.Result) ([]byte, error) {
	return nil, errors.New("the surrogate has no weights")
}

// Drop implements search.Engine; nothing is kept.
func (atOnce) Drop(context.Context, []search.Result) {}

// plan returns the settings of a search on the surrogate, by generations; a
// window other than 0 makes it a steady state.
func plan(seed uint64, generations, children, window int) search.Settings {
	return search.Settings{Seed: seed, Ancestor: model.GenotypeDefault, Native: native, Size: native, Generations: generations, Children: children,
		Parents: 4, AncestorEpochs: 1, Epochs: 1, Cost: search.CostParameters, Selection: search.SelectFitness, Window: window}
}

// evolve carries a search out on an engine, with a journal that is thrown away.
func evolve(ctx context.Context, s search.Settings, engine search.Engine, o search.Observer) (entries []search.Entry, err error) {
	dir, err := os.MkdirTemp("", "options")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	journal, err := search.OpenJournal(dir, search.Header{Settings: s})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	return search.Evolve(ctx, s, engine, journal, o)
}

// trueFitness is the fitness, without noise, of the entry that is fittest with
// noise: what a search really found.
func trueFitness(s search.Settings, entries []search.Entry) float64 {
	s.Selection = search.SelectFitness
	best := s.Rank(entries)[0]
	best.Result.Loss = trueLoss(best.Job.Genotype)
	return search.Fitness(s.Cost, best.Result)
}
