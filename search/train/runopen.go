package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/search/coco"
)

// before is the checkpoint that a run is resumed from.
type before struct {
	*Checkpoint
	saved
	skipped error // why the latest one was not taken; nil if it was
}

// newRun prepares all that can be wrong with a run before its first step.
func newRun(ctx context.Context, c Config, o Options) (*run, error) {
	if o.Every == 0 {
		o.Every = 5 * time.Minute
	}
	if o.Progress == nil {
		o.Progress = silent{}
	}
	b, err := openRun(&c, o)
	if err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	r := &run{config: c, options: o, average: average{decay: c.EMA}, savedAt: time.Now(), saved: b != nil}
	training, native, err := c.network()
	if err != nil {
		return nil, err
	}
	r.native = native
	if err := r.openData(ctx, training); err != nil {
		return nil, err
	}
	if err := r.openStepper(training, b); err != nil {
		return nil, errors.Join(err, r.close())
	}
	if ctx.Err() != nil {
		return nil, errors.Join(fmt.Errorf("stopped before the first step: %w", context.Cause(ctx)), r.close())
	}
	steps := r.stepsPerEpoch()
	o.Progress.Started(&r.config, r.start, r.step/steps, r.step%steps, steps, b.reason())
	return r, nil
}

func (b *before) reason() error {
	if b == nil {
		return nil
	}
	return b.skipped
}

// openRun reads the checkpoint of a run to resume, whose configuration takes
// the place of c; a new run, for which it returns nil, needs a folder without
// one.
func openRun(c *Config, o Options) (*before, error) {
	ckpt, skipped, err := LoadLatest(o.Dir)
	switch {
	case o.Resume && err != nil:
		return nil, err
	case o.Resume:
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	default:
		return nil, fmt.Errorf("%s holds a run already: go on with it by --resume, or name another folder with --out", o.Dir)
	}
	b := &before{Checkpoint: ckpt, skipped: skipped}
	if err := json.Unmarshal(ckpt.Meta.Run, &b.saved); err != nil {
		return nil, fmt.Errorf("checkpoint in %s: %w", o.Dir, err)
	}
	*c = b.Config
	return b, nil
}

// openData reads the labels and all that is measured on.
func (r *run) openData(ctx context.Context, n *model.Network) error {
	sets, err := load(r.config.Data)
	if err != nil {
		return r.moved(err)
	}
	vals, err := load(r.config.Val)
	if err != nil {
		return r.moved(err)
	}
	spare, err := r.spareMemory(n)
	if err != nil {
		return err
	}
	for i, v := range vals {
		valid := newValidator(r.config.Val[i].name(), v.Data, n, r.stepperOptions())
		if err := valid.open(ctx, spare/8/int64(len(vals))); err != nil {
			return err
		}
		r.validators = append(r.validators, valid)
	}
	r.loader, err = coco.NewLoader(coco.LoaderOptions{Sets: sets, Input: r.config.Size, Batch: r.config.Batch, Epoch: r.config.EpochPeople,
		Seed: r.config.Seed, Augment: r.config.Augment, Balance: r.config.Balance, Pyramid: true, Workers: r.options.Workers, CacheBytes: min(spare/2, mostPictures)})
	if err != nil {
		return err
	}
	r.schedule = r.config.schedule(r.stepsPerEpoch())
	return nil
}

// moved adds to an error about the data of a run that is resumed.
func (r *run) moved(err error) error {
	if r.options.Resume && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; the run looks for its data where it was when it started, from the folder it was started in", err)
	}
	return err
}

// mostPictures bounds, in bytes, the decoded pictures that are kept.
const mostPictures = 4 << 30

// spareMemory returns the bytes of memory that steps leave free, or an error
// where they do not fit.
func (r *run) spareMemory(n *model.Network) (int64, error) {
	free := coco.FreeMemory()
	if r.options.Graph.Provider == ort.CUDA {
		return free, nil // steps take the device's memory
	}
	if err := checkMemory(n, r.config.Batch, r.options.Graph.SaveMemory, free); err != nil {
		return 0, err
	}
	return free - EstimateMemory(n, r.config.Batch, r.options.Graph.SaveMemory), nil
}

func (r *run) stepperOptions() StepperOptions {
	c := r.config
	return StepperOptions{Batch: c.Batch, L2: c.L2, DropConnect: true, FreezeBN: c.FreezeBN, RoundTargets: c.RoundTargets, Graph: r.options.Graph}
}

// openStepper makes the training step, with the weights that the run starts or
// goes on from.
func (r *run) openStepper(n *model.Network, b *before) (err error) {
	if b == nil {
		r.start, err = r.config.start(n)
	} else { // the checkpoint has the weights; no other file is needed
		r.start = &Start{Weights: model.InitialWeights(n, r.config.Seed), Lineage: b.Lineage}
	}
	if err != nil {
		return err
	}
	if r.stepper, err = NewStepper(n, r.start.Weights, r.stepperOptions()); err != nil {
		return outOfMemory(err, r.config)
	}
	r.average.start(r.state())
	if b == nil {
		return nil
	}
	return r.restore(b)
}
