package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/search/coco"
	"github.com/evopose/evopose/search/train"
)

// trainFlags are the flags of evopose train.
type trainFlags struct {
	config                 train.Config
	data, images, weights  []string
	val, valImages         []string
	model, size            string
	out, provider, library string
	resume, saveMemory     bool
	every                  time.Duration
	threads, workers       int
}

func newTrain() *cobra.Command {
	f := trainFlags{config: train.Config{Augment: coco.RecipeAugment}}
	c := &cobra.Command{
		Use:   "train --data TRAIN.json --images DIR --val VAL.json --val-images DIR",
		Short: "Train a network on labelled pictures",
		Long: `Train a network on pictures with COCO keypoint labels. The run's folder, --out,
gets checkpoints, the curves as CSV and PNG, a report, and best.onnx: the network
of the best validation, which serve, predict and eval load.

Ctrl-C writes a checkpoint; --resume goes on from the latest one as if nothing had
happened. Several sets are mixed by repeating --data with --images; labels that a
set lacks do not count. --size trains the same network on smaller pictures, which
is faster: train small first, then larger --from the result.`,
		Example: `  evopose train --data train.json --images train --val val.json --val-images val --out runs/s
  evopose train --out runs/s --resume
  evopose train --data a.json --images a --data b.json --images b --weight 2 --weight 1 \
      --val val.json --val-images val --model s --size 128x96 --epochs 140 --out runs/s-128
  evopose train --data train.json --images train --val val.json --val-images val \
      --model m --from runs/s/best.onnx --out runs/m`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runTrain(c, &f) },
	}
	f.register(c)
	return c
}

func (f *trainFlags) register(c *cobra.Command) {
	flags, o, g := c.Flags(), &f.config, &f.config.Augment
	flags.StringArrayVar(&f.data, "data", nil, "COCO keypoint annotation `file` to train on; repeat it for more sets")
	flags.StringArrayVar(&f.images, "images", nil, "`directory` of the pictures of the --data in the same place")
	flags.StringArrayVar(&f.weights, "weight", nil, "`number`: how often a person of the --data in the same place comes in an epoch, relative to the other sets (default 1 each)")
	flags.StringArrayVar(&f.val, "val", nil, "annotation `file` to validate on; may be repeated")
	flags.StringArrayVar(&f.valImages, "val-images", nil, "`directory` of the pictures of the --val in the same place")
	flags.StringVar(&f.model, "model", "s", "`network`: s, m, l, xs, or a YAML file with genotype and input")
	flags.StringVar(&f.size, "size", "", "`size` of the crops to train on, HEIGHTxWIDTH (default: the network's own)")
	flags.StringVar(&o.From, "from", "", "`file` to start from, of this network or another: a checkpoint, what export wrote, or EfficientNet-Lite0's PyTorch file")
	flags.BoolVar(&o.Grow, "grow", true, "with --from: what a larger network has over the file's begins silent, so that it starts as accurate; =false: at random, as in the paper")
	flags.StringVar(&f.out, "out", "", "`folder` of the run (default runs/MODEL-SIZE)")
	flags.BoolVar(&f.resume, "resume", false, "go on with the run in --out, with the settings it was started with")
	flags.IntVar(&o.Epochs, "epochs", 200, "passes over the data")
	flags.IntVar(&o.EpochPeople, "epoch-people", 0, "people of an epoch, after which is measured: fewer than there are, or more; 0: as many as there are")
	flags.IntVar(&o.Batch, "batch", 16, "people in a step")
	flags.Float64Var(&o.Rate, "rate", 0, "peak of the learning rate; 0: the recipe's, 2.5e-4*batch/32")
	flags.Float64Var(&o.Warmup, "warmup", 5, "epochs in which the learning rate rises to its peak; at most a quarter of the run")
	flags.Float64Var(&o.L2, "l2", 1e-5, "weight of the sum of the squared convolution kernels in the loss")
	drop := flags.Float64("drop-connect", -1, "`rate` at which the last residual branch drops out of a step (default: the network's own, 0.2 to 0.5 by its size)")
	flags.Lookup("drop-connect").DefValue = "0" // says nothing: the text has it
	flags.Float64Var(&o.EMA, "ema", 0.999, "decay, in a step, of the weights' moving average, which is what is measured and exported; 0: none")
	flags.Float64Var(&o.Balance, "balance", 0, "how far people count the same in the loss, however few of their keypoints are labelled: 0 (keypoints do) to 1")
	flags.BoolVar(&o.FreezeBN, "freeze-bn", false, "normalise with the statistics of --from's network, as in inference, not with the batch's")
	flags.BoolVar(&o.RoundTargets, "round-targets", false, "put the targets' centres on heatmap pixels, as the paper does")
	flags.Uint64Var(&o.Seed, "seed", 1, "seed of initial weights, order, augmentation and drop-connect")
	flags.StringVar(&o.About, "about", "", "what the card says of the data (default: the sets' names)")
	flags.StringVar(&o.Licence, "licence", "", "what the card says of the licence of the weights")
	flags.DurationVar(&f.every, "every", 5*time.Minute, "longest time between checkpoints")
	flags.IntVar(&f.workers, "workers", 1, "batches prepared at the same time")
	flags.IntVar(&f.threads, "threads", 0, "threads of the training step; 0: one per physical core")
	flags.StringVar(&f.provider, "provider", "cpu", "execution provider: cpu or cuda")
	flags.BoolVar(&f.saveMemory, "save-memory", false, "steps mostly take less memory, up to two fifths, and a few per cent longer")
	flags.StringVar(&f.library, "ort-lib", "", "path of ONNX Runtime's shared library; empty: EVOPOSE_ORT_LIB, else find or install it")
	flags.Float64Var(&g.Scale, "aug-scale", g.Scale, "how much crops vary in size")
	flags.Float64Var(&g.Rotation, "aug-rotation", g.Rotation, "how much crops are turned, degrees")
	flags.Float64Var(&g.HalfBody, "aug-half-body", 0, "share of crops that show half a body")
	flags.Float64Var(&g.Head, "aug-head", 0, "share of crops that show a head")
	flags.Float64Var(&g.Translate, "aug-translate", 0, "how far crops are moved, share of the box")
	flags.Float64Var(&g.Erase, "aug-erase", 0, "share of crops in which a rectangle is erased")
	colour := flags.Float64("aug-colour", 0, "how much brightness, contrast and saturation vary")
	c.PreRun = func(*cobra.Command, []string) {
		g.Brightness, g.Contrast, g.Saturation = *colour, *colour, *colour
		if flags.Changed("drop-connect") {
			o.DropConnect = drop
		}
	}
}

func runTrain(c *cobra.Command, f *trainFlags) error {
	if err := f.complete(c); err != nil {
		return err
	}
	_, err := ort.Init(c.Context(), ort.LibraryOptions{Path: f.library, Provider: f.provider, Install: true, Progress: c.ErrOrStderr()})
	if err != nil {
		return err
	}
	progress := newTrainProgress(c.ErrOrStderr(), f.out)
	defer progress.close()
	return train.Run(c.Context(), f.config, train.Options{
		Dir: f.out, Resume: f.resume, Every: f.every, Workers: f.workers, Progress: progress,
		Graph: ort.GraphOptions{Provider: f.provider, Threads: f.threads, SaveMemory: f.saveMemory},
	})
}

// complete checks the flags and fills in the configuration. A run that is
// resumed has its own.
func (f *trainFlags) complete(c *cobra.Command) error {
	if f.provider != ort.CPU && f.provider != ort.CUDA {
		return usagef("--provider %q: want cpu or cuda", f.provider)
	}
	if f.every < time.Second {
		return usagef("--every %v: want 1s or more", f.every)
	}
	if f.resume {
		if f.out == "" {
			return usagef("--resume needs --out, the folder of the run")
		}
		return f.onlyHow(c)
	}
	if err := f.network(); err != nil {
		return err
	}
	var err error
	if f.config.Data, err = pairs("data", "images", f.data, f.images); err != nil {
		return err
	}
	if f.config.Val, err = pairs("val", "val-images", f.val, f.valImages); err != nil {
		return err
	}
	if err := f.setWeights(); err != nil {
		return err
	}
	f.config.Command = strings.Join(append([]string{"evopose"}, os.Args[1:]...), " ")
	if err := f.config.Validate(); err != nil {
		return usageError{err}
	}
	return nil
}

// onlyHow refuses flags that a resumed run has settled.
func (f *trainFlags) onlyHow(c *cobra.Command) error {
	for _, name := range []string{"data", "images", "weight", "val", "val-images", "model", "size", "from", "grow", "epochs", "epoch-people", "batch", "rate", "warmup",
		"l2", "drop-connect", "freeze-bn", "ema", "round-targets", "balance", "seed", "about", "licence", "aug-scale", "aug-rotation", "aug-half-body", "aug-head", "aug-translate", "aug-erase", "aug-colour"} {
		if c.Flags().Changed(name) {
			return usagef("--%s: a resumed run keeps the settings it was started with; for others start a new one --from its %s", name, train.BestONNX)
		}
	}
	return nil
}

// network reads --model and --size, and names the run's folder if --out does not.
func (f *trainFlags) network() error {
	card, err := readNetwork(f.model)
	if err != nil {
		return err
	}
	o := &f.config
	o.Name, o.Genotype, o.Native, o.Size = card.Name, card.Genotype, card.Input, card.Input
	if f.size != "" {
		if o.Size, err = model.ParseSize(f.size); err != nil {
			return usagef("--size: %w", err)
		}
	}
	if _, err := model.NewScaledNetwork(o.Genotype, o.Native, o.Size); err != nil {
		return usagef("--size %v: %w", o.Size, err)
	}
	if f.out == "" {
		f.out = filepath.Join("runs", fmt.Sprintf("%s-%v", strings.TrimPrefix(o.Name, "evopose2d-"), o.Size))
	}
	return nil
}

// pairs joins annotation files with their pictures' directories.
func pairs(a, b string, files, dirs []string) ([]train.DataSet, error) {
	if len(files) == 0 {
		return nil, usagef("--%s: missing: want a COCO keypoint annotation file, and with --%s the directory of its pictures", a, b)
	}
	if len(files) != len(dirs) {
		return nil, usagef("--%s is given %d times and --%s %d times: want them in pairs", a, len(files), b, len(dirs))
	}
	sets := make([]train.DataSet, len(files))
	for i := range files {
		sets[i] = train.DataSet{Annotations: files[i], Images: dirs[i]}
	}
	return sets, nil
}

func (f *trainFlags) setWeights() error {
	if n := len(f.weights); n != 0 && n != len(f.config.Data) {
		return usagef("--weight is given %d times and --data %d times: want one for each or none", n, len(f.config.Data))
	}
	for i, text := range f.weights {
		w, err := strconv.ParseFloat(text, 64)
		if err != nil || !(w > 0 && w <= 1000) {
			return usagef("--weight %q: want a number above 0, up to 1000", text)
		}
		f.config.Data[i].Weight = w
	}
	return nil
}
