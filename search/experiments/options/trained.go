package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/experiments/internal/subset"
	"github.com/evopose/evopose/search/train"
	"github.com/evopose/evopose/search/trainer"
)

// training is how the networks of trained are trained.
type training struct {
	data, val         train.DataSet
	people, valPeople int
	from, size, out   string
	rate              float64
	report            bool
}

// way is a way to search.
type way struct {
	name string
	set  func(*search.Settings)
}

// ways are those that trained compares, first the one to compare with.
var ways = []way{
	{"generations", func(*search.Settings) {}},
	{"steady", func(s *search.Settings) { s.Window = s.Children }},
	{"pareto", func(s *search.Settings) { s.Selection = search.SelectPareto }},
}

// trained compares generations with the steady state, and selection by fitness
// with that by Pareto fronts, by searches that really train.
func trained(ctx context.Context, o options) error {
	if !o.training.report {
		if err := o.trainAll(ctx); err != nil {
			return err
		}
	}
	found, err := o.readTrained()
	if err != nil {
		return err
	}
	return o.reportTrained(found)
}

// trainAll carries out what -out does not have.
func (o options) trainAll(ctx context.Context) error {
	unlock, err := train.LockRun(o.training.out)
	if err != nil {
		return err
	}
	defer unlock()
	from, err := o.training.weights()
	if err != nil {
		return err
	}
	settings, err := o.trainedSettings(from)
	if err != nil {
		return err
	}
	evaluation, err := o.evaluation(settings)
	if err != nil {
		return err
	}
	if _, err := ort.Init(ctx, ort.LibraryOptions{Path: o.libraryPath, Install: true, Progress: os.Stderr}); err != nil {
		return err
	}
	evaluator, err := trainer.Open(ctx, evaluation)
	if err != nil {
		return err
	}
	defer evaluator.Close()
	fingerprint, err := evaluation.Fingerprint()
	if err != nil {
		return err
	}
	return o.searchAll(ctx, search.Header{Settings: settings, Evaluation: fingerprint, Command: strings.Join(os.Args, " ")}, evaluator, from)
}

// searchAll carries out every way from every seed.
func (o options) searchAll(ctx context.Context, h search.Header, e search.Evaluator, from []byte) error {
	for seed := range o.seeds {
		once := newMemo(e)
		for _, w := range ways {
			one := h
			one.Settings.Seed = uint64(seed + 1)
			w.set(&one.Settings)
			if err := o.searchOnce(ctx, o.training.dir(seed, w), one, once, from); err != nil {
				return err
			}
		}
	}
	return nil
}

// dir is the folder of a search.
func (t training) dir(seed int, w way) string {
	return filepath.Join(t.out, w.name+"-"+strconv.Itoa(seed+1))
}

// weights is the file that ancestors start from; nil if there is none.
func (t training) weights() ([]byte, error) {
	if t.from == "" {
		return nil, nil
	}
	file, err := os.ReadFile(t.from)
	if err != nil {
		return nil, fmt.Errorf("-from: %w", err)
	}
	if _, _, err := onnx.Weights(file); err != nil {
		return nil, fmt.Errorf("-from %s: %w", t.from, err)
	}
	return file, nil
}

// trainedSettings are those of a search by generations, but for the seed.
func (o options) trainedSettings(from []byte) (search.Settings, error) {
	s := plan(1, o.generations, o.children, 0)
	var err error
	if s.Size, err = model.ParseSize(o.training.size); err != nil {
		return s, fmt.Errorf("-size: %w", err)
	}
	s.Parents, s.AncestorEpochs = max(1, o.children/2), 2
	if from != nil {
		s.From = search.SumOf(from)
	}
	return s, s.Validate()
}

// evaluation chooses the people and says how networks are trained.
func (o options) evaluation(s search.Settings) (trainer.Options, error) {
	t := trainer.Options{Config: trainer.Config{Native: s.Native, Size: s.Size, Batch: 16, Rate: o.training.rate, Warmup: 0.5, L2: 1e-5},
		Graph: ort.GraphOptions{Threads: 1}, Name: "here"}
	data, err := subset.Write(o.training.data, o.training.people, 1, filepath.Join(o.training.out, "people.json"))
	if err != nil {
		return t, err
	}
	val, err := subset.Write(o.training.val, o.training.valPeople, 1, filepath.Join(o.training.out, "val-people.json"))
	t.Data, t.Val = []train.DataSet{data}, []train.DataSet{val}
	return t, err
}

// searchOnce carries a search out, or the rest of it.
func (o options) searchOnce(ctx context.Context, dir string, h search.Header, e search.Evaluator, from []byte) (err error) {
	journal, err := search.OpenJournal(dir, h)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	engine, err := search.NewLocal(e, o.workers, filepath.Join(dir, "weights"))
	if err != nil {
		return err
	}
	if from != nil {
		if _, err := engine.PutWeights(ctx, from); err != nil {
			return err
		}
	}
	_, err = search.Evolve(ctx, h.Settings, engine, journal, told{name: filepath.Base(dir), total: h.Settings.Total()})
	return err
}

// told tells of every evaluation.
type told struct {
	search.Silent
	name  string
	total int
}

// Evaluated implements search.Observer.
func (t told) Evaluated(e search.Entry, kept bool) {
	if !kept {
		fmt.Fprintf(os.Stderr, "%s: evaluation %d of %d, loss %.2f in %.0f s\n", t.name, e.Job.ID+1, t.total, e.Result.Loss, e.Result.Seconds)
	}
}
