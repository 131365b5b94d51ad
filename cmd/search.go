package cmd

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs"
	"github.com/evopose/evopose/search/train"
	"github.com/evopose/evopose/search/trainer"
)

// searchFlags are the flags of evopose search.
type searchFlags struct {
	settings                  search.Settings
	trainer                   trainer.Options
	data, images, weights     []string
	val, valImages            []string
	ancestor, from            string
	size, native, cost        string
	selection, out, name      string
	provider, library, listen string
	steady, sendData, asJSON  bool
	reportOnly                bool
	workers, threads          int
	saveMemory                bool
	deadAfter                 time.Duration
	broker                    jobs.Connection

	start  []byte   // the file of from
	before []string // its lineage
}

func newSearch() *cobra.Command {
	var f searchFlags
	c := &cobra.Command{
		Use:   "search --data TRAIN.json --images DIR --val VAL.json --val-images DIR --out DIR",
		Short: "Search for networks by evolution with weight transfer",
		Long: `Search for networks by evolution with weight transfer (EvoPose2D): an ancestor is
trained, its children differ from it in a gene, start from its weights and are
trained shortly, and the best of all so far have the next children.

The folder --out gets the journal (journal.jsonl), after each generation report.html
for a browser, the weights that later evaluations may start from and at last
winner.onnx with its card, which serve, predict, eval and export load. Ctrl-C loses
only the evaluations under way; the same command goes on, also with more
--generations. A folder of another search is refused.

Evaluations run in this process (--workers) and in any number of evopose worker
processes, here or on other machines, which take them from a NATS broker: the one
in this process (--listen to reach it from elsewhere), or another (--nats).`,
		Example: `  evopose search --data train.json --images train --val val.json --val-images val \
      --generations 10 --out runs/search
  evopose search --data train.json --images train --val val.json --val-images val \
      --size 128x96 --from models/evopose2d-s.onnx --gen0-epochs 5 --epochs 2 \
      --generations 4 --children 8 --parents 2 --rate 1e-3 --out runs/small
  evopose search ... --steady --fitness latency --stop-factor 1.3 --out runs/fast
  evopose search ... --nats nats://broker:4222 --workers 0 --out runs/cluster
  evopose search --report-only --out runs/cluster`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runSearch(c, &f) },
	}
	f.register(c)
	return c
}

func (f *searchFlags) register(c *cobra.Command) {
	flags, s, t := c.Flags(), &f.settings, &f.trainer
	flags.StringArrayVar(&f.data, "data", nil, "COCO keypoint annotation `file` to train on; repeat it for more sets")
	flags.StringArrayVar(&f.images, "images", nil, "`directory` of the pictures of the --data in the same place")
	flags.StringArrayVar(&f.weights, "weight", nil, "`number`: how often a person of the --data in the same place comes in an epoch, relative to the other sets (default 1 each)")
	flags.StringArrayVar(&f.val, "val", nil, "annotation `file` to validate on; may be repeated")
	flags.StringArrayVar(&f.valImages, "val-images", nil, "`directory` of the pictures of the --val in the same place")
	flags.StringVar(&f.size, "size", "256x192", "`size` of the crops to train on, HEIGHTxWIDTH, multiples of 32")
	flags.StringVar(&f.native, "native", "256x192", "`size` that widths and depths are scaled for, at which the winner is exported")
	flags.StringVar(&f.ancestor, "ancestor", "default", "`genotype` of generation 0: default (the paper's), s, xs, or a YAML file with genotype and input")
	flags.StringVar(&f.from, "from", "", "ONNX `file` of ours whose weights the ancestor starts from, of this network or another one (default: initial weights)")
	flags.IntVar(&s.AncestorEpochs, "gen0-epochs", 30, "epochs of the ancestor")
	flags.IntVar(&s.Epochs, "epochs", 5, "epochs of each child")
	flags.IntVar(&s.Generations, "generations", 0, "generations after the ancestor's; may be raised later")
	flags.IntVar(&s.Children, "children", 64, "children of a generation")
	flags.IntVar(&s.Parents, "parents", 4, "how many of the best so far have children")
	flags.Uint64Var(&s.Seed, "seed", 1, "seed of genotypes and trainings")
	flags.StringVar(&f.out, "out", "", "`folder` of the search")
	flags.StringVar(&f.name, "name", "winner", "name of the winner's files and model")
	flags.StringVar(&f.cost, "fitness", string(search.CostParameters), "what counts beside the validation loss: parameters, multiply-adds, latency")
	flags.StringVar(&f.selection, "select", string(search.SelectFitness), "how parents are chosen: fitness, or pareto (loss and cost as two objectives)")
	flags.BoolVar(&s.FromScratch, "from-scratch", false, "children start from initial weights, not from their parent's")
	flags.Float64Var(&s.StopFactor, "stop-factor", 0, "end a child whose loss after an epoch is more than this times the median of its parents' at that time; 0: none")
	flags.BoolVar(&f.steady, "steady", false, "no barrier between generations: children are made as results come")
	flags.IntVar(&s.Window, "window", 0, "with --steady: most evaluations at a time, of which a child knows none; one and a half to twice the workers fills them (default --children)")
	flags.IntVar(&t.Batch, "batch", 16, "people in a training step")
	flags.Float64Var(&t.Rate, "rate", 0, "peak of the learning rate; 0: the recipe's, 2.5e-4*batch/32")
	flags.Float64Var(&t.Warmup, "warmup", 0.5, "epochs in which the learning rate rises to its peak; at most a quarter of a training")
	flags.Float64Var(&t.L2, "l2", 1e-5, "weight of the sum of the squared convolution kernels in the loss")
	flags.BoolVar(&t.RoundTargets, "round-targets", false, "put the targets' centres on heatmap pixels, as the paper does")
	flags.StringVar(&t.About, "about", "", "what the card says of the data (default: the sets' names)")
	flags.StringVar(&t.Licence, "licence", "", "what the card says of the licence of the weights")
	flags.IntVar(&f.workers, "workers", 1, "evaluations at a time in this process; 0: only evopose workers evaluate")
	flags.IntVar(&f.threads, "threads", 0, "threads of a training; 0: one per physical core")
	flags.StringVar(&f.provider, "provider", "cpu", "execution provider: cpu or cuda")
	flags.BoolVar(&f.saveMemory, "save-memory", false, "training steps mostly take less memory, up to two fifths, and a few per cent longer")
	flags.StringVar(&f.library, "ort-lib", "", "path of ONNX Runtime's shared library; empty: EVOPOSE_ORT_LIB, else find or install it")
	flags.StringVar(&f.listen, "listen", "", "`address` on which the broker in this process takes evopose workers, such as 0.0.0.0:4222 (default: this machine only)")
	flags.BoolVar(&f.sendData, "send-data", false, "keep labels and pictures on the broker, for workers that have none of their own")
	flags.DurationVar(&f.deadAfter, "dead-after", 30*time.Second, "silence after which a worker is taken for dead and its evaluation given to another")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON at the end")
	flags.BoolVar(&f.reportOnly, "report-only", false, "search nothing: make report.html in --out from the journal there, which needs no other flag; the search may be running")
	registerBroker(c, &f.broker)
}

// registerBroker adds the flags by which a NATS broker is reached.
func registerBroker(c *cobra.Command, b *jobs.Connection) {
	flags := c.Flags()
	flags.StringVar(&b.URL, "nats", "", "`URL` of a NATS broker with JetStream, such as nats://10.0.0.5:4222; several joined by commas")
	flags.StringVar(&b.User, "nats-user", "", "user at the broker; the password is EVOPOSE_NATS_PASSWORD")
	flags.StringVar(&b.Creds, "nats-creds", "", "credentials `file` (JWT and seed) for the broker")
	flags.StringVar(&b.NKey, "nats-nkey", "", "NKey seed `file` for the broker")
	flags.StringVar(&b.CA, "nats-ca", "", "certificates `file` by which the broker is trusted")
	flags.StringVar(&b.Cert, "nats-cert", "", "client certificate `file` for the broker")
	flags.StringVar(&b.Key, "nats-key", "", "key `file` of --nats-cert")
	next := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		// Secrets on a command line are seen by all users of a machine.
		b.Password, b.Token = os.Getenv("EVOPOSE_NATS_PASSWORD"), os.Getenv("EVOPOSE_NATS_TOKEN")
		if next != nil {
			return next(c, args)
		}
		return nil
	}
}

// complete checks the flags and fills in what follows from them.
func (f *searchFlags) complete(c *cobra.Command) error {
	switch {
	case !c.Flags().Changed("generations"):
		return usagef("--generations: missing: want how many follow the ancestor's, 0 or more; it may be raised later")
	case f.provider != ort.CPU && f.provider != ort.CUDA:
		return usagef("--provider %q: want cpu or cuda", f.provider)
	case f.out == "":
		return usagef("--out: missing: want the folder of the search, a new one or one to go on with")
	case f.threads < 0:
		return usagef("--threads %d: want 0 (one per physical core) or more", f.threads)
	case f.workers < 0:
		return usagef("--workers %d: want 0 or more", f.workers)
	case f.deadAfter < time.Second:
		return usagef("--dead-after %v: want 1s or more", f.deadAfter)
	case f.settings.Window != 0 && !f.steady:
		return usagef("--window needs --steady")
	case f.broker.URL != "" && f.listen != "":
		return usagef("--listen is for the broker in this process; with --nats there is none")
	}
	if err := f.broker.Validate(); f.broker.URL != "" && err != nil {
		return usagef("--nats: %w", err)
	}
	if err := model.CheckName(f.name); err != nil {
		return usagef("--name: %w", err)
	}
	if f.steady && f.settings.Window == 0 {
		f.settings.Window = f.settings.Children
	}
	if err := f.sets(); err != nil {
		return err
	}
	if err := f.networks(); err != nil {
		return err
	}
	if err := f.settings.Validate(); err != nil {
		return usageError{err}
	}
	f.trainer.Native, f.trainer.Size = f.settings.Native, f.settings.Size
	f.trainer.Latency = f.settings.Cost == search.CostLatency
	f.trainer.Command = withoutSecrets(strings.Join(append([]string{"evopose"}, os.Args[1:]...), " "))
	f.trainer.Graph = ort.GraphOptions{Provider: f.provider, Threads: f.threads, SaveMemory: f.saveMemory}
	return f.readStart()
}

// credentials are those in a URL.
var credentials = regexp.MustCompile(`://[^/@\s]+@`)

// withoutSecrets takes credentials out of a command line, which goes into
// models' cards.
func withoutSecrets(command string) string { return credentials.ReplaceAllString(command, "://...@") }

// sets pairs the annotation files with their pictures.
func (f *searchFlags) sets() error {
	t := trainFlags{weights: f.weights}
	var err error
	if t.config.Data, err = pairs("data", "images", f.data, f.images); err != nil {
		return err
	}
	if err := t.setWeights(); err != nil {
		return err
	}
	f.trainer.Weights = nil
	for _, d := range t.config.Data {
		if len(f.weights) > 0 {
			f.trainer.Weights = append(f.trainer.Weights, d.Weight)
		}
	}
	f.trainer.Data = unweighted(t.config.Data)
	f.trainer.Val, err = pairs("val", "val-images", f.val, f.valImages)
	return err
}

func unweighted(sets []train.DataSet) []train.DataSet {
	for i := range sets {
		sets[i].Weight = 0
	}
	return sets
}

// networks reads the sizes, the ancestor and how it is chosen from.
func (f *searchFlags) networks() (err error) {
	s := &f.settings
	if s.Size, err = model.ParseSize(f.size); err != nil {
		return usagef("--size: %w", err)
	}
	if s.Native, err = model.ParseSize(f.native); err != nil {
		return usagef("--native: %w", err)
	}
	if s.Cost, err = search.ParseCost(f.cost); err != nil {
		return usagef("--fitness %w", err)
	}
	s.Selection = search.Selection(f.selection)
	s.Ancestor = model.GenotypeDefault
	if f.ancestor == "default" {
		return nil
	}
	card, err := readNetwork(f.ancestor)
	if err != nil {
		return usagef("--ancestor: %w", err)
	}
	s.Ancestor = card.Genotype
	return nil
}

// readStart reads the weights that the ancestor starts from.
func (f *searchFlags) readStart() error {
	if f.from == "" {
		return nil
	}
	data, err := os.ReadFile(f.from)
	if err != nil {
		return err
	}
	_, card, err := onnx.Weights(data)
	if err != nil {
		return usagef("--from %s: %w", f.from, err)
	}
	f.start, f.settings.From = data, search.SumOf(data)
	if f.before = card.Lineage; len(f.before) == 0 {
		f.before = []string{"weights of " + card.Name + " (" + filepath.Base(f.from) + ")"}
	}
	return nil
}

// header is the journal's first line.
func (f *searchFlags) header() (search.Header, error) {
	evaluation, err := f.trainer.Fingerprint()
	return search.Header{Settings: f.settings, Evaluation: evaluation, Command: f.trainer.Command,
		About: cmp.Or(f.trainer.About, trainer.DataNames(f.trainer.Data))}, err
}

// jobs describes the search to the broker and the workers.
func (f *searchFlags) jobs(h search.Header) (jobs.Search, error) {
	config := f.trainer.Config
	config.Command = h.Command // that of the first time, so that it stays the same search
	settings, err := json.Marshal(config)
	return jobs.Search{ID: h.ID(), Settings: settings, Data: f.jobsData(), SendData: f.sendData, AckWait: f.deadAfter}, err
}

func (f *searchFlags) jobsData() jobs.Data {
	return jobs.Data{Train: jobSets(f.trainer.Data), Val: jobSets(f.trainer.Val)}
}

func jobSets(sets []train.DataSet) []jobs.Set {
	var list []jobs.Set
	for _, s := range sets {
		list = append(list, jobs.Set{Annotations: s.Annotations, Images: s.Images})
	}
	return list
}
