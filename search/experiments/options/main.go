// Command options measures what the search's options beyond the paper do:
//
//	go run ./search/experiments/options steady
//	go run ./search/experiments/options cost -journal runs/search
//	go run ./search/experiments/options stop -transfer runs/transfer
//	go run ./search/experiments/options pareto -journal runs/search
//	go run ./search/experiments/options trained -data train.json -data-images train -val val.json -val-images val
//
// Each prints Markdown and draws a figure into -images. steady and pareto
// compare many searches on a surrogate of training (surrogate.go), trained a
// few that really train; the others read what real trainings left. trained,
// interrupted, goes on with the same command, and with -report only prints and
// draws what -out has.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// options are the flags.
type options struct {
	images, journal, transfer, libraryPath string
	seeds, workers, generations, children  int
	second                                 float64
	random                                 int
	training                               training
}

// experiments are what can be measured, by the first argument.
var experiments = map[string]func(context.Context, options) error{
	"steady": steady, "cost": cost, "stop": stop, "pareto": pareto, "trained": trained,
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := start(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "options:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, args []string) error {
	names := strings.Join(slices.Sorted(maps.Keys(experiments)), ", ")
	if len(args) == 0 || experiments[args[0]] == nil {
		return fmt.Errorf("want what to measure, one of %s, then flags; -h after it lists them", names)
	}
	o := defaults(args[0])
	f := flag.NewFlagSet(args[0], flag.ExitOnError)
	f.StringVar(&o.images, "images", "docs/images", "folder of the figures")
	f.StringVar(&o.journal, "journal", "runs/search", "folder of a search (cost, pareto)")
	f.StringVar(&o.transfer, "transfer", "runs/transfer", "folder of the experiment on weight transfer (stop)")
	f.StringVar(&o.libraryPath, "library", "", "ONNX Runtime's library (default: found or installed) (cost, trained)")
	f.IntVar(&o.seeds, "seeds", o.seeds, "searches on the surrogate of each kind (steady, pareto), or trained ones (trained)")
	f.IntVar(&o.workers, "workers", o.workers, "workers (steady, trained)")
	f.IntVar(&o.generations, "generations", o.generations, "generations (steady, pareto, trained)")
	f.IntVar(&o.children, "children", o.children, "children of a generation (steady, pareto, trained)")
	f.Float64Var(&o.second, "second", 1, "seconds of an evaluation of the ancestor (steady)")
	f.IntVar(&o.random, "random", 24, "networks of random genotypes that are measured, too (cost)")
	f.StringVar(&o.training.data.Annotations, "data", "", "annotation file to train on (trained)")
	f.StringVar(&o.training.data.Images, "data-images", "", "folder of its pictures (trained)")
	f.StringVar(&o.training.val.Annotations, "val", "", "annotation file to validate on (trained)")
	f.StringVar(&o.training.val.Images, "val-images", "", "folder of its pictures (trained)")
	f.IntVar(&o.training.people, "people", 1000, "people of an epoch; 0: all (trained)")
	f.IntVar(&o.training.valPeople, "val-people", 200, "people to validate on; 0: all (trained)")
	f.StringVar(&o.training.from, "from", "", "ONNX file whose weights ancestors start from (default initial weights) (trained)")
	f.StringVar(&o.training.size, "size", "64x64", "size of the crops to train on (trained)")
	f.Float64Var(&o.training.rate, "rate", 1e-3, "peak of the learning rate (trained)")
	f.StringVar(&o.training.out, "out", "runs/options", "folder of the searches (trained)")
	f.BoolVar(&o.training.report, "report", false, "train nothing: print and draw what -out has (trained)")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if o.seeds < 2 || o.workers < 1 || o.generations < 1 || o.children < 4 || !(o.second > 0) || o.random < 0 {
		return fmt.Errorf("-seeds %d: want 2 or more; -children %d: 4 or more; -workers %d, -generations %d: 1 or more; -random %d: 0 or more; -second %v: above 0",
			o.seeds, o.children, o.workers, o.generations, o.random, o.second)
	}
	return experiments[args[0]](ctx, o)
}

// defaults are those of the flags that depend on what is measured: training
// takes time, the surrogate next to none.
func defaults(experiment string) options {
	if experiment == "trained" {
		return options{seeds: 4, workers: 2, generations: 3, children: 6}
	}
	return options{seeds: 64, workers: 8, generations: 6, children: 16}
}

func (o options) figure(name string) string { return filepath.Join(o.images, name) }
