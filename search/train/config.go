package train

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search/coco"
)

// Config says what a run trains, on what and how. It is kept in the run's
// checkpoints, so that the run can be resumed by its folder alone.
type Config struct {
	// Name is the model's name; Genotype and Native, the size that widths and
	// depths are scaled for, are its network. The run exports it at Native.
	Name     string         `json:"name"`
	Genotype model.Genotype `json:"genotype"`
	Native   model.Size     `json:"native"`
	// Size is the size of the crops to train on.
	Size model.Size `json:"size"`
	// From is the file to start from, an ONNX file of ours or a checkpoint;
	// empty: initial weights of Seed.
	From string `json:"from,omitempty"`
	// Grow has what the network of From lacks begin silent (search.Grow)
	// rather than at random (search.Transfer).
	Grow bool `json:"grow,omitempty"`
	// Data are the sets to train on, Val those to validate on, at least one
	// each.
	Data []DataSet `json:"data"`
	Val  []DataSet `json:"val"`
	// Licence and About go into the card: the terms of the weights, and a
	// description of the data, which is made up if it is empty.
	Licence string `json:"licence,omitempty"`
	About   string `json:"about,omitempty"`
	// Command is the command line of the run, for the card.
	Command string `json:"command,omitempty"`

	Epochs int `json:"epochs"`
	// EpochPeople is the number of people in an epoch, after which it is
	// validated; 0: as many as the sets have.
	EpochPeople int `json:"epoch_people,omitempty"`
	// Batch is the number of people in a step.
	Batch int `json:"batch"`
	// Rate is the peak of the learning rate; 0: the recipe's.
	Rate float64 `json:"rate"`
	// Warmup is the number of epochs in which the learning rate rises from the
	// recipe's smallest, 2.5e-4, to its peak; at most a quarter of the run.
	Warmup float64 `json:"warmup"`
	// L2 weighs the sum of the squared kernels in the loss.
	L2 float64 `json:"l2"`
	// DropConnect takes the place of the network's drop-connect rate (see
	// model.Scaling), 0..1; nil: the network's own.
	DropConnect *float64 `json:"drop_connect,omitempty"`
	// FreezeBN normalises with the moving statistics of From (see
	// StepperOptions).
	FreezeBN bool `json:"freeze_bn,omitempty"`
	// EMA is the decay of the weights' moving average in a step, 0..1; 0: none.
	EMA float64 `json:"ema"`
	// RoundTargets centres targets on heatmap pixels, as the paper does.
	RoundTargets bool `json:"round_targets"`
	// Balance says how far people count the same in the loss, 0 to 1 (see
	// coco.LoaderOptions).
	Balance float64      `json:"balance,omitempty"`
	Augment coco.Augment `json:"augment"`
	// Seed draws initial weights, order, augmentation and drop-connect.
	Seed uint64 `json:"seed"`
}

// DataSet is a COCO annotation file with the folder of its pictures.
type DataSet struct {
	Annotations string `json:"annotations"`
	Images      string `json:"images"`
	// Weight multiplies the set's share of an epoch; 0 means 1.
	Weight float64 `json:"weight,omitempty"`
}

// Validate names the first value that cannot be.
func (c *Config) Validate() error {
	switch {
	case len(c.Data) == 0:
		return errors.New("no data to train on: name an annotation file and its folder of pictures")
	case len(c.Val) == 0:
		return errors.New("no data to validate on: name an annotation file and its folder of pictures")
	case c.Epochs < 1:
		return fmt.Errorf("epochs %d: want 1 or more", c.Epochs)
	case c.EpochPeople < 0:
		return fmt.Errorf("epoch-people %d: want 0 (all) or more", c.EpochPeople)
	case c.Batch < 2:
		return fmt.Errorf("batch %d: want 2 or more, for batch normalisation", c.Batch)
	case !(c.Rate >= 0 && c.Rate < 1):
		return fmt.Errorf("rate %v: want 0 (the recipe's) to 1", c.Rate)
	case !(c.Warmup >= 0):
		return fmt.Errorf("warmup %v: want 0 or more epochs", c.Warmup)
	case !(c.L2 >= 0 && c.L2 < 1):
		return fmt.Errorf("l2 %v: want 0 to 1", c.L2)
	case c.DropConnect != nil && !(*c.DropConnect >= 0 && *c.DropConnect < 1):
		return fmt.Errorf("drop-connect %v: want 0 (none) up to but not 1", *c.DropConnect)
	case !(c.Balance >= 0 && c.Balance <= 1):
		return fmt.Errorf("balance %v: want 0 (every keypoint counts the same) to 1 (every person does)", c.Balance)
	case c.FreezeBN && c.From == "":
		return errors.New("freeze-bn: initial weights have no statistics to normalise with; name a trained network to start --from")
	case !(c.EMA >= 0 && c.EMA < 1):
		return fmt.Errorf("ema %v: want 0 (none) up to but not 1", c.EMA)
	}
	if err := model.CheckName(c.Name); err != nil {
		return err
	}
	return c.Augment.Validate()
}

// network returns the network to train and the same at its native size.
func (c *Config) network() (training, native *model.Network, err error) {
	if training, err = model.NewScaledNetwork(c.Genotype, c.Native, c.Size); err != nil {
		return nil, nil, err
	}
	if c.DropConnect != nil {
		factor := *c.DropConnect / model.NewScaling(c.Native).DropConnect
		for i := range training.Layers {
			training.Layers[i].DropRate *= factor
		}
	}
	native, err = model.NewNetwork(c.Genotype, c.Native)
	return training, native, err
}

// schedule returns the learning rates of the run.
func (c *Config) schedule(stepsPerEpoch int) Schedule {
	s := Recipe(c.Batch, stepsPerEpoch, c.Epochs)
	if c.Rate > 0 {
		s.Rate, s.WarmupFrom = c.Rate, min(1, recipeRate/c.Rate)
	}
	s.WarmupSteps = min(int(c.Warmup*float64(stepsPerEpoch)), s.Steps/warmupPortion)
	return s
}

// load reads the annotation files of the sets.
func load(sets []DataSet) ([]coco.Set, error) {
	var all []coco.Set
	for _, s := range sets {
		d, err := coco.Load(s.Annotations, s.Images)
		if err != nil {
			return nil, err
		}
		weight := s.Weight
		if weight == 0 {
			weight = 1
		}
		all = append(all, coco.Set{Data: d, Weight: weight})
	}
	return all, nil
}

// dataNames names the sets to train on.
func (c *Config) dataNames() string {
	var names []string
	for _, d := range c.Data {
		names = append(names, d.name())
	}
	return strings.Join(names, " + ")
}

// name is a set's name in messages: its file with the folder, "coco/val".
func (s DataSet) name() string {
	base := filepath.Base(s.Annotations)
	name := strings.TrimSuffix(base, filepath.Ext(base))
	if folder := filepath.Base(filepath.Dir(s.Annotations)); folder != "." {
		name = folder + "/" + name
	}
	return name
}
