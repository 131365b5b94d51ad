// Command transfer measures whether weight transfer accelerates: it trains a
// parent, then mutants of one gene each twice, from the parent's weights by
// search.Transfer and from initial ones, on the same data in the same order.
//
//	go run ./search/experiments/transfer -data train.json -images train -val val.json -val-images val -people 1500 -out runs/transfer
//
// It prints a table in Markdown and draws the curves. Interrupted, the same
// command goes on; with -report it only prints and draws what -out has, which
// needs no data.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/experiments/internal/pairs"
	"github.com/evopose/evopose/search/experiments/internal/subset"
	"github.com/evopose/evopose/search/train"
	"github.com/evopose/evopose/search/trainer"
)

// options are the flags.
type options struct {
	data, val              train.DataSet
	people, valPeople      int
	genotype, from         string
	size, native           string
	pairs, epochs          int
	seed                   uint64
	batch                  int
	rate                   float64
	workers, threads       int
	out, plot, libraryPath string
	report                 bool
}

func main() {
	o := flags()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "transfer:", err)
		os.Exit(1)
	}
}

func flags() (o options) {
	flag.StringVar(&o.data.Annotations, "data", "", "annotation file to train on")
	flag.StringVar(&o.data.Images, "images", "", "folder of its pictures")
	flag.StringVar(&o.val.Annotations, "val", "", "annotation file to validate on")
	flag.StringVar(&o.val.Images, "val-images", "", "folder of its pictures")
	flag.IntVar(&o.people, "people", 1500, "people of an epoch, drawn by the seed; 0: all")
	flag.IntVar(&o.valPeople, "val-people", 300, "people to validate on, drawn by the seed; 0: all")
	flag.StringVar(&o.genotype, "genotype", "s", "the parent: default, s or a genotype's text")
	flag.StringVar(&o.from, "from", "", "ONNX file whose weights the parent starts from, by transfer (default initial weights)")
	flag.StringVar(&o.size, "size", "64x64", "size of the crops to train on")
	flag.StringVar(&o.native, "native", "256x192", "size that widths and depths are scaled for")
	flag.IntVar(&o.pairs, "pairs", 8, "mutants; may be more when the experiment goes on")
	flag.IntVar(&o.epochs, "epochs", 4, "epochs of every training")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of everything")
	flag.IntVar(&o.batch, "batch", 16, "people of a step")
	flag.Float64Var(&o.rate, "rate", 1e-3, "peak of the learning rate")
	flag.IntVar(&o.workers, "workers", 2, "trainings at a time")
	flag.IntVar(&o.threads, "threads", 1, "threads of a training")
	flag.StringVar(&o.libraryPath, "library", "", "ONNX Runtime's library (default: found or installed)")
	flag.StringVar(&o.out, "out", "runs/transfer", "folder of what was measured")
	flag.StringVar(&o.plot, "plot", "", "PNG file of the curves (default transfer.png in -out)")
	flag.BoolVar(&o.report, "report", false, "train nothing: print and draw what -out has")
	flag.Parse()
	if o.plot == "" {
		o.plot = o.out + "/transfer.png"
	}
	return o
}

func (o options) run(ctx context.Context) error {
	if !o.report {
		if err := o.measure(ctx); err != nil {
			return err
		}
	}
	e, err := pairs.Read(o.out)
	if err != nil {
		return err
	}
	if err := report(os.Stdout, e); err != nil {
		return err
	}
	return figure(o.plot, e)
}

// measure trains what -out does not have.
func (o options) measure(ctx context.Context) error {
	settings, from, err := o.settings()
	if err != nil {
		return err
	}
	unlock, err := train.LockRun(o.out)
	if err != nil {
		return err
	}
	defer unlock()
	training, starts, err := o.trainings(settings)
	if err != nil {
		return err
	}
	evaluation, err := training.Fingerprint()
	if err != nil {
		return err
	}
	journal, err := search.OpenJournal(o.out, search.Header{Settings: settings, Evaluation: evaluation, Command: strings.Join(os.Args, " ")})
	if err != nil {
		return err
	}
	e := &experiment{settings: settings, from: from, dir: o.out, workers: o.workers, journal: journal,
		progress: &progress{w: os.Stderr, workers: o.workers}}
	err = errors.Join(o.train(ctx, e, training, starts), journal.Close())
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("stopped; the same command goes on, only the trainings under way are lost: %w", err)
	}
	return err
}

// train opens the evaluators and trains, if there is anything to train.
func (o options) train(ctx context.Context, e *experiment, training, starts trainer.Options) error {
	if len(e.journal.Entries()) > pairs.ID(o.pairs, pairs.Scratch) {
		return nil
	}
	if _, err := ort.Init(ctx, ort.LibraryOptions{Path: o.libraryPath, Install: true, Progress: os.Stderr}); err != nil {
		return err
	}
	evaluator, err := trainer.Open(ctx, training)
	if err != nil {
		return err
	}
	defer evaluator.Close()
	starter, err := trainer.Open(ctx, starts)
	if err != nil {
		return err
	}
	defer starter.Close()
	e.evaluator, e.starts = evaluator, starter
	return e.run(ctx)
}

// settings are the plan's, in those of a search: a pair is a generation.
func (o options) settings() (s search.Settings, from []byte, err error) {
	s = search.Settings{Seed: o.seed, Generations: o.pairs, Children: 1, Parents: 1, AncestorEpochs: o.epochs, Epochs: o.epochs,
		Cost: search.CostParameters, Selection: search.SelectFitness}
	if o.pairs < 1 || o.workers < 1 || o.threads < 1 || o.people < 0 || o.valPeople < 0 {
		return s, nil, fmt.Errorf("-pairs %d, -workers %d, -threads %d: want 1 or more; -people %d, -val-people %d: want 0 (all) or more",
			o.pairs, o.workers, o.threads, o.people, o.valPeople)
	}
	if s.Ancestor, err = parseGenotype(o.genotype); err != nil {
		return s, nil, err
	}
	if s.Size, err = model.ParseSize(o.size); err != nil {
		return s, nil, fmt.Errorf("-size: %w", err)
	}
	if s.Native, err = model.ParseSize(o.native); err != nil {
		return s, nil, fmt.Errorf("-native: %w", err)
	}
	if o.from != "" {
		if from, err = os.ReadFile(o.from); err != nil {
			return s, nil, fmt.Errorf("-from: %w", err)
		}
		if _, _, err := onnx.Weights(from); err != nil {
			return s, nil, fmt.Errorf("-from %s: %w", o.from, err)
		}
		s.From = search.SumOf(from)
	}
	return s, from, s.Validate()
}

func parseGenotype(text string) (model.Genotype, error) {
	switch text {
	case "default":
		return model.GenotypeDefault, nil
	case "s":
		return model.GenotypeS, nil
	}
	g, err := model.ParseGenotype(text)
	if err != nil {
		return g, fmt.Errorf("-genotype: %w; or want default or s", err)
	}
	return g, nil
}

// trainings chooses the people and says how networks are trained, and how their
// loss at the start is found: after a step on a batch of people at a learning
// rate of almost nothing.
func (o options) trainings(s search.Settings) (training, starts trainer.Options, err error) {
	training = trainer.Options{Config: trainer.Config{Native: s.Native, Size: s.Size, Batch: o.batch, Rate: o.rate, Warmup: 0.5, L2: 1e-5},
		Graph: ort.GraphOptions{Threads: o.threads}, Name: "here"}
	starts = training
	starts.Rate, starts.Warmup = 1e-12, 0
	for i, c := range []struct {
		to     *[]train.DataSet
		set    train.DataSet
		people int
	}{
		{&training.Data, o.data, o.people},
		{&training.Val, o.val, o.valPeople},
		{&starts.Data, o.data, o.batch},
	} {
		set, err := subset.Write(c.set, c.people, s.Seed, o.out+"/people-"+strconv.Itoa(i+1)+".json")
		if err != nil {
			return training, starts, err
		}
		*c.to = []train.DataSet{set}
	}
	starts.Val = training.Val
	return training, starts, nil
}
