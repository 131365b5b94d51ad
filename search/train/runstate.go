package train

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/evopose/evopose/model"
)

// saved is what a checkpoint keeps of a run beside tensors and curves.
type saved struct {
	Config  Config   `json:"config"`
	Lineage []string `json:"lineage"`
	Updates int      `json:"updates"` // of the moving average
	// LossSum and LossSteps are the training loss since the last point.
	LossSum   float64 `json:"loss_sum"`
	LossSteps int     `json:"loss_steps"`
	// Samples is the number of people to train on, by which a resumed run
	// knows its data again; 0: not known.
	Samples int `json:"samples,omitempty"`
}

// state is what the next step reads.
func (r *run) state() state { return r.stepper.states[r.stepper.current] }

// save writes the latest checkpoint.
func (r *run) save() error {
	ckpt, err := r.checkpoint()
	if err != nil {
		return err
	}
	if err := SaveLatest(r.options.Dir, ckpt); err != nil {
		return err
	}
	r.savedAt, r.saved = time.Now(), true
	return nil
}

// check reports weights that are no numbers, which the loss would show only in
// the next step.
func (r *run) check() error {
	s := r.state()
	for _, values := range [][]float32{s.weights, s.first, s.second, s.moving} {
		if i := slices.IndexFunc(values, func(v float32) bool { return !finite(float64(v)) }); i >= 0 {
			return r.diverged(fmt.Sprintf("a weight is %v", values[i]))
		}
	}
	return nil
}

// checkpoint returns the run as it is now.
func (r *run) checkpoint() (*Checkpoint, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	state, l := r.state(), r.stepper.layout
	s, err := json.Marshal(saved{Config: r.config, Lineage: r.start.Lineage, Updates: r.average.updates,
		LossSum: r.lossSum, LossSteps: r.lossSteps, Samples: r.loader.Samples()})
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Meta: Meta{Run: s, Epoch: r.step / r.stepsPerEpoch(), Step: r.step, Seed: r.config.Seed,
		Best: r.best, Curves: r.curves, Shapes: map[string][]int{}}}
	put(c, GroupWeights, l.trainable, state.weights)
	put(c, GroupWeights, l.moving, state.moving)
	put(c, GroupEMA, l.trainable, r.average.weights)
	put(c, GroupEMA, l.moving, r.average.moving)
	put(c, GroupAdamM, l.trainable, state.first)
	put(c, GroupAdamV, l.trainable, state.second)
	return c, nil
}

// put adds a copy of the values of parameters to a group of the checkpoint.
func put(c *Checkpoint, group string, v vector, values []float32) {
	w := model.Weights{}
	v.unpack(w, values)
	c.Put(group, w)
	for _, p := range v.params {
		c.Meta.Shapes[group+p.Name] = p.Shape
	}
}

// restore takes the run up where a checkpoint left it.
func (r *run) restore(b *before) error {
	l, n := r.stepper.layout, r.stepper.network
	weights, ema := b.Group(GroupWeights), b.Group(GroupEMA)
	for _, w := range []model.Weights{weights, ema} {
		if problems := n.Mismatch(w); problems != nil {
			return fmt.Errorf("the checkpoint in %s does not fit its own network: %s", r.options.Dir, problems[0])
		}
	}
	if now := r.loader.Samples(); b.Samples != 0 && b.Samples != now {
		return fmt.Errorf("the data of the run in %s has changed: it had %d people to train on and has %d now; "+
			"put it back, or start a new run --from its %s", r.options.Dir, b.Samples, now, BestONNX)
	}
	r.stepper.SetWeights(weights)
	l.trainable.pack(r.state().first, b.Group(GroupAdamM))
	l.trainable.pack(r.state().second, b.Group(GroupAdamV))
	l.trainable.pack(r.average.weights, ema)
	l.moving.pack(r.average.moving, ema)
	r.average.updates = b.Updates
	r.lossSum, r.lossSteps = b.LossSum, b.LossSteps
	r.step, r.best, r.curves = b.Meta.Step, b.Meta.Best, Until(b.Meta.Curves, b.Meta.Step)
	return nil
}
