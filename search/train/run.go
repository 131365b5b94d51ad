package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/search/coco"
)

// The files of a run beside its checkpoints and curves.
const (
	BestONNX   = "best.onnx"   // the network of the best validation, in single precision
	ReportFile = "report.json" // what the run was and what it reached
)

// Options say how a run is carried out; unlike its Config they may change when
// it is resumed.
type Options struct {
	// Dir is the run's folder.
	Dir string
	// Resume goes on with the run in Dir, with the configuration that it has.
	Resume bool
	// Every is the longest time between checkpoints, which are also written
	// at the end of an epoch; 0 means 5 minutes.
	Every time.Duration
	// Graph says where the steps run.
	Graph ort.GraphOptions
	// Workers prepare batches; 0 means 1.
	Workers int
	// Progress is told how the run goes; nil: nobody is.
	Progress Progress
}

// Progress is told how a run goes, from the goroutine that called Run.
type Progress interface {
	// Started tells where the run starts from; epoch and step count what is
	// done, skipped is why the latest checkpoint could not be used.
	Started(c *Config, start *Start, epoch, step, stepsPerEpoch int, skipped error)
	// Stepped tells of a step.
	Stepped(s StepReport)
	// Broken tells, once, of a picture that cannot be trained on.
	Broken(err error)
	// Measured tells of the end of an epoch.
	Measured(p Point, all []Validation, best bool)
}

// StepReport is how a run stands after a step.
type StepReport struct {
	Epoch, Step, StepsPerEpoch int // Step counts from the epoch's first, 1
	Loss                       float64
	Rate                       float64
	ImagesPerSecond            float64
	// Waited is the share of the time in which the step waited for its data.
	Waited float64
	// Left is the time to the end of the run, validations not counted.
	Left time.Duration
}

// run is a training run under way.
type run struct {
	config     Config
	options    Options
	start      *Start
	native     *model.Network
	stepper    *Stepper
	loader     *coco.Loader
	validators []*validator
	schedule   Schedule
	average    average

	step       int // steps done
	lossSum    float64
	lossSteps  int
	best       Point // its Step is 0 before the first
	curves     []Point
	savedAt    time.Time // the last checkpoint, or the start
	saved      bool      // whether there is one
	brokenTold int       // of the loader's broken pictures
	meter      *meter
}

// Run trains. It returns when all epochs are done, or with the cause of ctx
// after writing a checkpoint from which Resume goes on. When data is missing
// or the runtime fails, what was learnt is saved as well. When the loss is no
// number any more, the checkpoints stay as they were last written. ort.Init
// must have been called.
func Run(ctx context.Context, c Config, o Options) (err error) {
	if o.Resume {
		if _, err := os.Stat(o.Dir); errors.Is(err, fs.ErrNotExist) {
			_, _, err := LoadLatest(o.Dir) // says so, and makes no folder
			return err
		}
	}
	unlock, err := LockRun(o.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := newRun(ctx, c, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	return r.all(ctx)
}

// all runs the epochs that are left.
func (r *run) all(ctx context.Context) error {
	r.loader.Start(ctx, r.step/r.stepsPerEpoch(), r.step%r.stepsPerEpoch())
	for r.step < r.steps() || r.unmeasured() {
		switch err := r.epoch(ctx); {
		case err == nil:
		case ctx.Err() != nil && !errors.Is(err, errDiverged):
			return r.interrupted(ctx)
		default:
			return r.failed(err)
		}
	}
	return nil
}

// epoch trains to the end of the epoch, measures and saves. A run that was
// stopped between the two goes on with measuring.
func (r *run) epoch(ctx context.Context) error {
	r.meter = newMeter(r.loader, r.config.Batch)
	for !r.unmeasured() {
		if err := r.one(ctx); err != nil {
			return err
		}
		if time.Since(r.savedAt) > r.options.Every {
			if err := r.save(); err != nil {
				return err
			}
		}
	}
	if err := r.measure(ctx); err != nil {
		return err
	}
	return r.save()
}

// unmeasured reports whether an epoch is done that has no point yet.
func (r *run) unmeasured() bool {
	return r.step > 0 && r.step%r.stepsPerEpoch() == 0 &&
		(len(r.curves) == 0 || r.curves[len(r.curves)-1].Step < r.step)
}

// interrupted writes a last checkpoint. A measurement that was cut off is done
// again on resuming.
func (r *run) interrupted(ctx context.Context) error {
	if err := r.save(); err != nil {
		return err
	}
	return fmt.Errorf("stopped in epoch %d of %d after step %d of %d, all saved; go on with --out %s --resume: %w",
		min(r.step/r.stepsPerEpoch()+1, r.config.Epochs), r.config.Epochs,
		r.step-min(r.step/r.stepsPerEpoch(), r.config.Epochs-1)*r.stepsPerEpoch(), r.stepsPerEpoch(), r.options.Dir, context.Cause(ctx))
}

// failed saves what was learnt before the error, unless that is no good, and
// explains the error.
func (r *run) failed(err error) error {
	if !errors.Is(err, errDiverged) {
		_ = r.save() // if it fails, too, the first error is the one to tell
	}
	return outOfMemory(err, r.config)
}

// steps is the number of steps of the whole run.
func (r *run) steps() int { return r.config.Epochs * r.stepsPerEpoch() }

func (r *run) stepsPerEpoch() int { return r.loader.StepsPerEpoch() }

func (r *run) close() error {
	r.loader.Close()
	if r.stepper == nil {
		return nil
	}
	return r.stepper.Close()
}
