package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2/maybe"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
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

// Progress is told how a run goes, from the goroutine that runs it.
type Progress interface {
	// Started tells where the run starts from; epoch and step count what is
	// done, skipped is why the latest checkpoint could not be used.
	Started(c *Config, start *Start, epoch, step, stepsPerEpoch int, skipped error)
	// Stepped tells of a step.
	Stepped(s StepReport)
	// Broken tells of a picture that cannot be used.
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
	// Left is the time to the end of the run.
	Left time.Duration
}

// saved is what a checkpoint keeps of a run beside tensors and curves.
type saved struct {
	Config  Config   `json:"config"`
	Lineage []string `json:"lineage"`
	Updates int      `json:"updates"` // of the moving average
	// LossSum and LossSteps are the training loss since the last point.
	LossSum   float64 `json:"loss_sum"`
	LossSteps int     `json:"loss_steps"`
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

	step      int // steps done
	lossSum   float64
	lossSteps int
	best      Point
	curves    []Point
	savedAt   time.Time
	meter     *meter
}

// Run trains. It returns when all epochs are done, or with the error of ctx
// after writing a checkpoint from which Resume goes on. Where the loss is no
// number any more, data is missing or the runtime fails, the checkpoints stay
// as they were last written. ort.Init must have been called.
func Run(ctx context.Context, c Config, o Options) (err error) {
	unlock, err := LockRun(o.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := newRun(c, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	return r.all(ctx)
}

// ReadConfig returns the configuration of the run in a folder.
func ReadConfig(dir string) (Config, error) {
	ckpt, _, err := LoadLatest(dir)
	if err != nil {
		return Config{}, err
	}
	var s saved
	err = json.Unmarshal(ckpt.Meta.Run, &s)
	return s.Config, err
}

func newRun(c Config, o Options) (*run, error) {
	if o.Every == 0 {
		o.Every = 5 * time.Minute
	}
	if o.Progress == nil {
		o.Progress = silent{}
	}
	ckpt, s, skipped, err := openRun(&c, o)
	if err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	r := &run{config: c, options: o, average: average{decay: c.EMA}, savedAt: time.Now()}
	training, native, err := c.network()
	if err != nil {
		return nil, err
	}
	r.native = native
	if err := r.openData(training); err != nil {
		return nil, err
	}
	if r.start, err = c.startOrResumed(training, s); err != nil {
		return nil, err
	}
	stepper := r.stepperOptions()
	if r.stepper, err = NewStepper(training, r.start.Weights, stepper); err != nil {
		return nil, outOfMemory(err, c)
	}
	r.average.start(r.stepper.states[r.stepper.current])
	if ckpt != nil {
		if err := r.restore(ckpt, s); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	steps := r.loader.StepsPerEpoch()
	o.Progress.Started(&r.config, r.start, r.step/steps, r.step%steps, steps, skipped)
	return r, nil
}

// openRun reads the checkpoint of a run to resume, whose configuration takes
// the place of c; a new run needs a folder without one.
func openRun(c *Config, o Options) (*Checkpoint, *saved, error, error) {
	if !o.Resume {
		_, _, err := LoadLatest(o.Dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, nil, nil
		}
		return nil, nil, nil, fmt.Errorf("%s holds a run already: go on with it by --resume, or name another folder with --out", o.Dir)
	}
	ckpt, skipped, err := LoadLatest(o.Dir)
	if err != nil {
		return nil, nil, nil, err
	}
	s := &saved{}
	if err := json.Unmarshal(ckpt.Meta.Run, s); err != nil {
		return nil, nil, nil, fmt.Errorf("checkpoint in %s: %w", o.Dir, err)
	}
	*c = s.Config
	return ckpt, s, skipped, nil
}

// startOrResumed is start for a new run; a resumed one takes its weights from
// the checkpoint and needs no other file.
func (c *Config) startOrResumed(n *model.Network, s *saved) (*Start, error) {
	if s == nil {
		return c.start(n)
	}
	return &Start{Weights: model.InitialWeights(n, c.Seed), Lineage: s.Lineage}, nil
}

func (r *run) stepperOptions() StepperOptions {
	c := r.config
	return StepperOptions{Batch: c.Batch, L2: c.L2, DropConnect: true, RoundTargets: c.RoundTargets, Graph: r.options.Graph}
}

func (r *run) openData(n *model.Network) error {
	sets, err := load(r.config.Data)
	if err != nil {
		return err
	}
	vals, err := load(r.config.Val)
	if err != nil {
		return err
	}
	for i, v := range vals {
		valid := newValidator(r.config.Val[i].name(), v.Data, n, r.stepperOptions())
		if len(valid.people) == 0 {
			return fmt.Errorf("%s: no person with a labelled keypoint to validate on", v.Data.Path)
		}
		r.validators = append(r.validators, valid)
	}
	r.loader, err = coco.NewLoader(coco.LoaderOptions{Sets: sets, Input: r.config.Size, Batch: r.config.Batch,
		Seed: r.config.Seed, Augment: r.config.Augment, Pyramid: true, Workers: r.options.Workers, OnBroken: r.options.Progress.Broken})
	if err != nil {
		return err
	}
	r.schedule = r.config.schedule(r.loader.StepsPerEpoch())
	return nil
}

// all runs the epochs that are left.
func (r *run) all(ctx context.Context) error {
	steps := r.loader.StepsPerEpoch()
	r.loader.Start(ctx, r.step/steps, r.step%steps)
	for r.step < steps*r.config.Epochs {
		err := r.epoch(ctx)
		if err == nil {
			err = r.measure(ctx)
		}
		if err == nil {
			err = r.save()
		}
		if ctx.Err() != nil {
			return r.interrupted(ctx)
		}
		if err != nil {
			return outOfMemory(err, r.config)
		}
	}
	return nil
}

// interrupted writes a last checkpoint, if an epoch's measurement was not cut
// off: that is done again on resuming.
func (r *run) interrupted(ctx context.Context) error {
	if err := r.save(); err != nil {
		return err
	}
	steps := r.loader.StepsPerEpoch()
	return fmt.Errorf("stopped in epoch %d of %d after step %d of %d, all saved; go on with --out %s --resume: %w",
		r.step/steps+1, r.config.Epochs, r.step%steps, steps, r.options.Dir, context.Cause(ctx))
}

// epoch trains to the end of the epoch.
func (r *run) epoch(ctx context.Context) error {
	steps := r.loader.StepsPerEpoch()
	r.meter = newMeter(r.loader, r.config.Batch)
	for first := true; first || r.step%steps != 0; first = false {
		if r.unmeasured() {
			return nil // resumed between an epoch's last step and its measurement
		}
		rate := r.schedule.At(r.step)
		loss, err := r.one(ctx, rate)
		if err != nil {
			return err
		}
		r.meter.stepped()
		left := steps*r.config.Epochs - r.step
		r.options.Progress.Stepped(StepReport{Epoch: (r.step-1)/steps + 1, Step: (r.step-1)%steps + 1, StepsPerEpoch: steps,
			Loss: loss, Rate: rate, ImagesPerSecond: r.meter.rate(), Waited: r.meter.waited(), Left: r.meter.timeFor(left)})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(r.savedAt) > r.options.Every {
			if err := r.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// unmeasured reports whether an epoch is done that has no point yet.
func (r *run) unmeasured() bool {
	return r.step > 0 && r.step%r.loader.StepsPerEpoch() == 0 &&
		(len(r.curves) == 0 || r.curves[len(r.curves)-1].Step < r.step)
}

// one takes a batch and makes a step.
func (r *run) one(ctx context.Context, rate float64) (float64, error) {
	batch, err := r.loader.Next(ctx)
	if err != nil {
		return 0, err
	}
	defer r.loader.Release(batch)
	// What drops out is a function of seed and step, so that a resumed run is
	// the same run.
	rng := rand.New(rand.NewPCG(r.config.Seed, uint64(r.step)))
	loss, err := r.stepper.Step(batch.Crops, batch.Keypoints, rate, r.step+1, rng)
	if err != nil {
		return 0, err
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, fmt.Errorf("the loss is %v in step %d: the learning rate %.3g may be too high; %s is from before: "+
			"start a new run --from it with a lower --rate", loss, r.step+1, rate, filepath.Join(r.options.Dir, LatestFile))
	}
	r.step++
	r.lossSum += loss
	r.lossSteps++
	r.average.update(r.stepper.states[r.stepper.current])
	return loss, nil
}

// measure validates, and keeps the network if it is the best so far.
func (r *run) measure(ctx context.Context) error {
	weights := r.average.asWeights(r.stepper.layout)
	p := Point{Epoch: r.step / r.loader.StepsPerEpoch(), Step: r.step, Loss: r.lossSum / float64(r.lossSteps),
		Rate: r.schedule.At(r.step - 1), ImagesPerSecond: r.meter.rate()}
	var all []Validation
	for _, v := range r.validators {
		result, err := v.run(ctx, weights)
		if err != nil {
			return err
		}
		all = append(all, result)
		share := 1 / float64(len(r.validators))
		p.Val += share * result.Loss
		p.AP += share * max(0, result.Report.AP)
		p.PCK += share * max(0, result.Report.PCK20)
	}
	r.lossSum, r.lossSteps = 0, 0
	r.curves = append(r.curves, p)
	better := r.best.Step == 0 || p.AP > r.best.AP || p.AP == r.best.AP && p.Val < r.best.Val
	if better {
		r.best = p
		if err := r.export(weights, all); err != nil {
			return err
		}
	}
	r.options.Progress.Measured(p, all, better)
	return SaveCurves(r.options.Dir, fmt.Sprintf("%s at %v", r.config.Name, r.config.Size), r.curves)
}

// export writes the best network and the best checkpoint.
func (r *run) export(w model.Weights, all []Validation) error {
	card := r.card()
	data, err := onnx.Export(r.native, w, card, false)
	if err != nil {
		return err
	}
	if err := maybe.WriteFile(filepath.Join(r.options.Dir, BestONNX), data, 0o644); err != nil {
		return err
	}
	ckpt, err := r.checkpoint()
	if err != nil {
		return err
	}
	if err := Save(filepath.Join(r.options.Dir, BestFile), ckpt); err != nil {
		return err
	}
	return r.report(all)
}

// save writes the latest checkpoint.
func (r *run) save() error {
	ckpt, err := r.checkpoint()
	if err != nil {
		return err
	}
	r.savedAt = time.Now()
	return SaveLatest(r.options.Dir, ckpt)
}

func (r *run) checkpoint() (*Checkpoint, error) {
	s, err := json.Marshal(saved{Config: r.config, Lineage: r.start.Lineage, Updates: r.average.updates, LossSum: r.lossSum, LossSteps: r.lossSteps})
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Meta: Meta{Run: s, Epoch: r.step / r.loader.StepsPerEpoch(), Step: r.step, Seed: r.config.Seed,
		Best: r.best, Curves: r.curves, Shapes: map[string][]int{}}}
	state, l := r.stepper.states[r.stepper.current], r.stepper.layout
	for group, values := range map[string][]float32{GroupWeights: state.weights, GroupAdamM: state.first, GroupAdamV: state.second} {
		w := model.Weights{}
		unpack(w, l.trainable, values)
		c.Put(group, w)
	}
	moving := model.Weights{}
	unpack(moving, l.moving, state.moving)
	c.Put(GroupWeights, moving)
	c.Put(GroupEMA, r.average.asWeights(l))
	for _, p := range append(l.trainable, l.moving...) {
		for _, group := range []string{GroupWeights, GroupEMA, GroupAdamM, GroupAdamV} {
			c.Meta.Shapes[group+p.Name] = p.Shape
		}
	}
	return c, nil
}

// restore takes the run up where a checkpoint left it.
func (r *run) restore(c *Checkpoint, s *saved) error {
	l, n := r.stepper.layout, r.stepper.network
	weights, ema := c.Group(GroupWeights), c.Group(GroupEMA)
	for _, w := range []model.Weights{weights, ema} {
		if problems := n.Mismatch(w); problems != nil {
			return fmt.Errorf("the checkpoint in %s does not fit its own network: %s", r.options.Dir, problems[0])
		}
	}
	r.stepper.SetWeights(weights)
	state := r.stepper.states[r.stepper.current]
	pack(state.first, l.trainable, c.Group(GroupAdamM))
	pack(state.second, l.trainable, c.Group(GroupAdamV))
	pack(r.average.weights, l.trainable, ema)
	pack(r.average.moving, l.moving, ema)
	r.average.updates = s.Updates
	r.lossSum, r.lossSteps = s.LossSum, s.LossSteps
	r.step, r.best, r.curves = c.Meta.Step, c.Meta.Best, Until(c.Meta.Curves, c.Meta.Step)
	return nil
}

func (r *run) close() error {
	r.loader.Close()
	if r.stepper == nil {
		return nil
	}
	return r.stepper.Close()
}
