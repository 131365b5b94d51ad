package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2/maybe"

	"github.com/evopose/evopose/model"
)

// The checkpoints of a run's folder.
const (
	LatestFile   = "last.ckpt"
	PreviousFile = "last.prev.ckpt" // the one before, should the last be damaged
	BestFile     = "best.ckpt"
)

// The groups of a checkpoint's tensors, each a prefix of their names.
const (
	GroupWeights = "weights/"
	GroupEMA     = "ema/"    // the weights' exponential moving average
	GroupAdamM   = "adam_m/" // Adam's first moments
	GroupAdamV   = "adam_v/" // Adam's second moments
)

// Checkpoint is the state of a run: all that it takes to go on as if it had
// never stopped.
type Checkpoint struct {
	Meta    Meta
	Tensors map[string][]float32 // by group and name: "ema/stem_conv/kernel"
}

// Meta is a checkpoint's state beside its tensors.
type Meta struct {
	// Run is the run's configuration, which checkpoints do not look into.
	Run   json.RawMessage `json:"run"`
	Epoch int             `json:"epoch"` // epochs done
	Step  int             `json:"step"`  // steps done
	Seed  uint64          `json:"seed"`
	// Best is the point of the best weights so far; its Step is 0 before the
	// first.
	Best   Point   `json:"best"`
	Curves []Point `json:"curves"`
	// Shapes holds shapes of tensors by name. A tensor without one is a
	// vector.
	Shapes map[string][]int `json:"-"`
}

// Put adds tensors to a group. They are not copied.
func (c *Checkpoint) Put(group string, w model.Weights) {
	if c.Tensors == nil {
		c.Tensors = map[string][]float32{}
	}
	for name, data := range w {
		c.Tensors[group+name] = data
	}
}

// Group returns the tensors of a group by their names in it. They are not
// copied.
func (c *Checkpoint) Group(group string) model.Weights {
	w := model.Weights{}
	for name, data := range c.Tensors {
		if rest, ok := strings.CutPrefix(name, group); ok {
			w[rest] = data
		}
	}
	return w
}

// Save writes a checkpoint. The file is replaced whole or, when an error is
// returned, left as it was.
func Save(path string, c *Checkpoint) error {
	data, err := c.encode()
	if err == nil {
		err = maybe.WriteFile(path, data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s was not written: %w", path, err)
	}
	return nil
}

// Load reads a checkpoint. A file that is not one, or not as it was written,
// is refused with an error that names it.
func Load(path string) (*Checkpoint, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	c, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s %w", path, err)
	}
	return c, nil
}

// SaveLatest writes a checkpoint as a run folder's latest and keeps the one
// before it. Whenever the process dies, LoadLatest finds one of the two.
func SaveLatest(dir string, c *Checkpoint) error {
	latest := filepath.Join(dir, LatestFile)
	next := latest + ".next"
	if err := Save(next, c); err != nil {
		return err
	}
	err := os.Rename(latest, filepath.Join(dir, PreviousFile))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(next, latest)
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s was not written: %w", latest, err)
	}
	return nil
}

// LoadLatest reads the latest checkpoint of a run's folder. If it cannot be
// read, the one before it is taken and skipped tells why; skipped is to be
// shown to the user. Without any checkpoint the error is fs.ErrNotExist.
func LoadLatest(dir string) (c *Checkpoint, skipped, err error) {
	c, latest := Load(filepath.Join(dir, LatestFile))
	if latest == nil {
		return c, nil, nil
	}
	c, previous := Load(filepath.Join(dir, PreviousFile))
	switch {
	case previous == nil:
		return c, latest, nil
	case errors.Is(latest, fs.ErrNotExist) && errors.Is(previous, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("no checkpoint in %s: name the run's folder with --out, or start without --resume: %w", dir, fs.ErrNotExist)
	}
	return nil, nil, fmt.Errorf("no checkpoint in %s can be read: %w; %w", dir, latest, previous)
}
