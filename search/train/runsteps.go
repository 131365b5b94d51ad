package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"

	"github.com/google/renameio/v2/maybe"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

// errDiverged marks the error of a run whose weights are lost.
var errDiverged = errors.New("training has diverged")

// one takes a batch, makes a step and tells of it.
func (r *run) one(ctx context.Context) error {
	batch, err := r.loader.Next(ctx)
	r.tellBroken()
	if err != nil {
		return err
	}
	defer r.loader.Release(batch)
	rate := r.schedule.At(r.step)
	// What drops out is a function of seed and step, so that a resumed run is
	// the same run.
	rng := rand.New(rand.NewPCG(r.config.Seed, uint64(r.step)))
	loss, err := r.stepper.Step(batch.Crops, batch.Keypoints, rate, r.step+1, rng)
	if err != nil {
		return err
	}
	if !finite(loss) {
		return r.diverged(fmt.Sprintf("the loss is %v", loss))
	}
	r.step++
	r.lossSum += loss
	r.lossSteps++
	r.average.update(r.state())
	r.tellStep(loss, rate)
	return nil
}

// diverged says what to do when the weights are lost.
func (r *run) diverged(what string) error {
	advice := "start again"
	if r.best.Step > 0 {
		advice = "start a new run --from " + filepath.Join(r.options.Dir, BestONNX)
	}
	kept := ""
	if r.saved {
		kept = fmt.Sprintf(" (%s is from before)", filepath.Join(r.options.Dir, LatestFile))
	}
	return fmt.Errorf("%w: %s in step %d: %s with a --rate below %.3g%s", errDiverged, what, r.step+1, advice, r.schedule.Rate, kept)
}

// tellBroken tells of the broken pictures that are new.
func (r *run) tellBroken() {
	broken := r.loader.Broken()
	for _, err := range broken[r.brokenTold:] {
		r.options.Progress.Broken(err)
	}
	r.brokenTold = len(broken)
}

func (r *run) tellStep(loss, rate float64) {
	r.meter.stepped()
	last := r.step - 1
	r.options.Progress.Stepped(StepReport{
		Epoch: last/r.stepsPerEpoch() + 1, Step: last%r.stepsPerEpoch() + 1, StepsPerEpoch: r.stepsPerEpoch(),
		Loss: loss, Rate: rate, ImagesPerSecond: r.meter.rate(), Waited: r.meter.waited(), Left: r.meter.timeFor(r.steps() - r.step),
	})
}

// measure validates, and keeps the network if it is the best so far.
func (r *run) measure(ctx context.Context) error {
	if err := r.check(); err != nil {
		return err
	}
	p := Point{Epoch: r.step / r.stepsPerEpoch(), Step: r.step, Loss: r.lossSum / float64(r.lossSteps),
		Rate: r.schedule.At(r.step - 1), ImagesPerSecond: r.meter.rate()}
	weights := r.average.asWeights(r.stepper.layout)
	all, err := validate(ctx, r.validators, weights)
	if err != nil {
		return err
	}
	p.summarise(all)
	r.lossSum, r.lossSteps = 0, 0
	r.curves = append(r.curves, p)
	better := p.better(r.best)
	if better {
		r.best = p
		if err := r.keep(weights, all); err != nil {
			return err
		}
	}
	r.options.Progress.Measured(p, all, better)
	return SaveCurves(r.options.Dir, fmt.Sprintf("%s at %v", r.config.Name, r.config.Size), r.curves)
}

// summarise sets what was measured to the mean over the sets, each counting
// the same. A figure for which a set has nothing to measure counts as 0.
func (p *Point) summarise(all []Validation) {
	p.Val, p.AP, p.PCK = 0, 0, 0
	share := 1 / float64(len(all))
	for _, v := range all {
		p.Val += share * v.Loss
		p.AP += share * max(0, v.Report.AP)
		p.PCK += share * max(0, v.Report.PCK20)
	}
}

// better reports whether a point is better than the best so far: by AP, then
// by the loss. One whose loss is no number is never.
func (p Point) better(best Point) bool {
	switch {
	case !finite(p.Val):
		return false
	case best.Step == 0 || p.AP > best.AP:
		return true
	}
	return p.AP == best.AP && p.Val < best.Val
}

// keep writes the network, the checkpoint and the report of the best epoch.
func (r *run) keep(w model.Weights, all []Validation) error {
	data, err := onnx.Export(r.native, w, r.card(), false)
	if err != nil {
		return err
	}
	if err := maybe.WriteFile(filepath.Join(r.options.Dir, BestONNX), data, 0o644); err != nil {
		return fmt.Errorf("the best network was not written: %w", err)
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

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
