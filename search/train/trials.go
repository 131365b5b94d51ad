package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search/coco"
)

// Trials trains many networks for a short time each on the same data, which is
// read once: what a search for networks needs. It keeps no checkpoints.
type Trials struct {
	config     Config
	options    Options
	loader     *coco.Loader // its pictures are shared, it is never started
	validators []*validator // their pictures are shared
}

// Trial is one network to train.
type Trial struct {
	Genotype model.Genotype
	// Seed draws order, augmentation and drop-connect.
	Seed   uint64
	Epochs int
	// Weights are those to start from; they must fit the network.
	Weights model.Weights
	// AfterEpoch, if set, is told of each epoch, counted from 1, and its
	// validation loss; the trial ends when it returns false.
	AfterEpoch func(epoch int, loss float64) bool
}

// Outcome is what a trial came to.
type Outcome struct {
	// Losses are the validation losses by epoch: the mean over the sets.
	Losses []float64
	// Loss is the lowest, +Inf if there is none, and Weights are the network's
	// after its epoch.
	Loss    float64
	Weights model.Weights
	// Failed is why training could not go on with this network: its loss is no
	// number any more, or memory ran out.
	Failed error
}

// OpenTrials reads the data that c names and looks through every picture to
// validate on. The configuration's genotype stands for those to come where
// memory is estimated; its epochs and seed are not used. Of o, Graph and Workers
// count. ort.Init must have been called.
func OpenTrials(ctx context.Context, c Config, o Options) (*Trials, error) {
	c.Epochs = max(c.Epochs, 1)
	if err := c.Validate(); err != nil {
		return nil, err
	}
	n, _, err := c.network()
	if err != nil {
		return nil, err
	}
	o.Progress = silent{}
	r := &run{config: c, options: o}
	if err := r.openData(ctx, n); err != nil {
		return nil, err
	}
	return &Trials{config: c, options: o, loader: r.loader, validators: r.validators}, nil
}

// Networks returns a genotype's network at the size of training and the same at
// its native size.
func (t *Trials) Networks(g model.Genotype) (training, native *model.Network, err error) {
	c := t.config
	c.Genotype = g
	return c.network()
}

// Run trains a network. Several trials may run at the same time. An error is
// one that others would meet, too: data is missing, or ctx has ended, of which
// it is the cause.
func (t *Trials) Run(ctx context.Context, trial Trial) (o Outcome, err error) {
	r, err := t.open(trial)
	if err != nil {
		return failure(err, t.config)
	}
	defer func() { err = errors.Join(err, r.close()) }()
	r.loader.Start(ctx, 0, 0)
	o.Loss = math.Inf(1)
	for epoch := 1; epoch <= trial.Epochs; epoch++ {
		loss, err := r.trialEpoch(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return o, context.Cause(ctx)
			}
			failed, err := failure(err, r.config)
			o.Failed = failed.Failed
			return o, err
		}
		o.Losses = append(o.Losses, loss)
		if loss < o.Loss {
			o.Loss, o.Weights = loss, r.average.asWeights(r.stepper.layout)
		}
		if trial.AfterEpoch != nil && !trial.AfterEpoch(epoch, loss) {
			break
		}
	}
	return o, nil
}

// failure tells errors that are the network's from those that are not.
func failure(err error, c Config) (Outcome, error) {
	explained := outOfMemory(err, c)
	if errors.Is(err, errDiverged) || explained != err { //nolint:errorlint // whether it is wrapped, not what it is
		return Outcome{Loss: math.Inf(1), Failed: explained}, nil
	}
	return Outcome{Loss: math.Inf(1)}, err
}

// open prepares a trial as a run without a folder.
func (t *Trials) open(trial Trial) (*run, error) {
	c := t.config
	c.Genotype, c.Seed, c.Epochs = trial.Genotype, trial.Seed, trial.Epochs
	n, native, err := c.network()
	if err != nil {
		return nil, err
	}
	loader, err := t.loader.Again(trial.Seed)
	if err != nil {
		return nil, err
	}
	r := &run{config: c, options: t.options, native: native, loader: loader, average: average{decay: c.EMA}, brokenTold: len(loader.Broken())}
	r.schedule = c.schedule(r.stepsPerEpoch())
	for _, v := range t.validators {
		own := newValidator(v.name, v.set, n, r.stepperOptions())
		own.pictures = v.pictures
		r.validators = append(r.validators, own)
	}
	if r.stepper, err = NewStepper(n, trial.Weights, r.stepperOptions()); err != nil {
		return nil, err
	}
	r.average.start(r.state())
	return r, nil
}

// trialEpoch trains to the end of the epoch and validates.
func (r *run) trialEpoch(ctx context.Context) (float64, error) {
	r.meter = newMeter(r.loader, r.config.Batch)
	for range r.stepsPerEpoch() {
		if err := r.one(ctx); err != nil {
			return 0, err
		}
	}
	if err := r.check(); err != nil {
		return 0, err
	}
	all, err := validate(ctx, r.validators, r.average.asWeights(r.stepper.layout))
	if err != nil {
		return 0, err
	}
	loss := 0.0
	for _, result := range all {
		loss += result.Loss / float64(len(all))
	}
	if !finite(loss) {
		return 0, fmt.Errorf("%w: the validation loss is %v", errDiverged, loss)
	}
	return loss, nil
}

// Close ends what the data holds open.
func (t *Trials) Close() {
	t.loader.Close()
	t.validators = slices.Delete(t.validators, 0, len(t.validators))
}
