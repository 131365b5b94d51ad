// Package trainer evaluates the jobs of a search by training them with package
// train.
package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/coco"
	"github.com/evopose/evopose/search/train"
)

// Config says how networks are trained; it is the same for all of a search, on
// all machines.
type Config struct {
	// Native is the size that widths and depths are scaled for, and of the
	// costs; Size that of the crops to train on.
	Native model.Size `json:"native"`
	Size   model.Size `json:"size"`
	// Weights multiply the sets' shares of an epoch, in the order of
	// Options.Data; none means 1 each.
	Weights []float64 `json:"weights,omitempty"`
	Batch   int       `json:"batch"`
	// Rate, Warmup, L2 and RoundTargets are train.Config's.
	Rate         float64 `json:"rate"`
	Warmup       float64 `json:"warmup"`
	L2           float64 `json:"l2"`
	RoundTargets bool    `json:"round_targets,omitempty"`
	// Latency makes each network's time in the serving runtime be measured.
	Latency bool `json:"latency,omitempty"`
	// About, Licence and Command go into the cards.
	About   string `json:"about,omitempty"`
	Licence string `json:"licence,omitempty"`
	Command string `json:"command,omitempty"`
}

// Options say with what an evaluator works on this machine.
type Options struct {
	Config
	// Data and Val are the sets to train and to validate on.
	Data, Val []train.DataSet
	// Graph says where steps run, Workers how many goroutines prepare batches;
	// 0 means 1.
	Graph   ort.GraphOptions
	Workers int
	// Name is told in results.
	Name string
}

// augment is the augmentation of the paper's search: no scaling, no rotation.
var augment = coco.Augment{Mirror: coco.RecipeAugment.Mirror}

// Evaluator trains networks as the paper's search does: from their parent's
// weights by transfer, with a cosine schedule, mirrored crops and no other
// augmentation. It is safe for concurrent use; the data is read once.
type Evaluator struct {
	options Options
	trials  *train.Trials
}

var _ search.Evaluator = (*Evaluator)(nil)

// Open reads the labels and every picture to validate on. ort.Init must have
// been called. The caller closes the evaluator.
func Open(ctx context.Context, o Options) (*Evaluator, error) {
	if len(o.Weights) != 0 && len(o.Weights) != len(o.Data) {
		return nil, fmt.Errorf("%d weights of %d data sets: want one each or none", len(o.Weights), len(o.Data))
	}
	trials, err := train.OpenTrials(ctx, o.training(), train.Options{Graph: o.Graph, Workers: o.Workers})
	if err != nil {
		return nil, err
	}
	return &Evaluator{o, trials}, nil
}

// training is the configuration of every training.
func (o *Options) training() train.Config {
	c := train.Config{Name: "evaluation", Genotype: model.GenotypeDefault, Native: o.Native, Size: o.Size, Val: o.Val, Epochs: 1,
		Batch: o.Batch, Rate: o.Rate, Warmup: o.Warmup, L2: o.L2, RoundTargets: o.RoundTargets, Augment: augment}
	for i, d := range o.Data {
		if i < len(o.Weights) {
			d.Weight = o.Weights[i]
		}
		c.Data = append(c.Data, d)
	}
	return c
}

// Close ends what the evaluator holds open. It implements io.Closer; there is
// never an error.
func (e *Evaluator) Close() error {
	e.trials.Close()
	return nil
}

// Evaluate implements search.Evaluator. The file that it returns is the network
// as ONNX, at its native size, after the epoch of the lowest validation loss.
func (e *Evaluator) Evaluate(ctx context.Context, job search.Job, parent []byte, progress func(epoch int, loss float64)) (search.Result, []byte, error) {
	began := time.Now()
	r := search.Result{ID: job.ID, Worker: e.options.Name}
	_, native, err := e.trials.Networks(job.Genotype)
	if err != nil { // this genotype does not make a network
		r.Failed = err.Error()
		return r, nil, nil //nolint:nilerr // the genotype's fault is a result
	}
	r.Parameters, _ = native.Parameters()
	r.MultiplyAdds = native.MultiplyAdds()
	start, transfer, err := startWeights(native, job, parent)
	if err != nil {
		return r, nil, err
	}
	r.Transfer = transfer
	o, err := e.trials.Run(ctx, train.Trial{Genotype: job.Genotype, Seed: job.Seed, Epochs: job.Epochs, Weights: start,
		AfterEpoch: func(epoch int, loss float64) bool {
			if progress != nil {
				progress(epoch, loss)
			}
			r.Stopped = job.Hopeless(epoch, loss)
			return !r.Stopped
		}})
	if err != nil {
		return r, nil, err
	}
	r.Losses = o.Losses
	if o.Failed != nil {
		r.Failed, r.Seconds = o.Failed.Error(), time.Since(began).Seconds()
		return r, nil, nil //nolint:nilerr // the network's fault is a result
	}
	r.Loss = o.Loss
	file, err := e.finish(&r, native, o.Weights, job)
	r.Seconds = time.Since(began).Seconds()
	return r, file, err
}

// startWeights returns the weights that a job starts from, and how it got them.
func startWeights(n *model.Network, job search.Job, parent []byte) (model.Weights, string, error) {
	initial := model.InitialWeights(n, job.Seed)
	if parent == nil {
		return initial, "", nil
	}
	w, card, err := onnx.Weights(parent)
	if err != nil {
		return nil, "", fmt.Errorf("the weights to start from: %w", err)
	}
	from, err := model.NewNetwork(card.Genotype, card.Input)
	if err != nil {
		return nil, "", fmt.Errorf("the weights to start from: %w", err)
	}
	if problems := from.Mismatch(w); problems != nil {
		return nil, "", fmt.Errorf("the weights to start from do not fit their own network: %s", problems[0])
	}
	start, summary := search.Transfer(n, initial, from, w)
	return start, summary.String(), nil
}

// finish writes the network as a file and measures its latency.
func (e *Evaluator) finish(r *search.Result, n *model.Network, w model.Weights, job search.Job) ([]byte, error) {
	about, licence := e.options.About, e.options.Licence
	if about == "" {
		about = DataNames(e.options.Data)
	}
	if licence == "" {
		licence = "that of the training data, see data"
	}
	card := model.Card{Name: fmt.Sprintf("evaluation-%d", job.ID), Genotype: n.Genotype, Input: n.Input, Heatmap: n.Heatmap,
		Trained: true, Seed: job.Seed, Data: about, Licence: licence}
	file, err := onnx.Export(n, w, card, false)
	if err != nil || !e.options.Latency {
		return file, err
	}
	r.Latency, err = latency(file, card, e.options.Graph)
	return file, err
}

// DataNames names sets by their annotation files with the folder, such as
// "coco/train + more/train": what cards say of the data by default.
func DataNames(sets []train.DataSet) string {
	var names []string
	for _, s := range sets {
		folder, file := filepath.Split(filepath.Clean(s.Annotations))
		if folder = filepath.Base(folder); folder == "." {
			folder = ""
		}
		names = append(names, path.Join(folder, strings.TrimSuffix(file, filepath.Ext(file))))
	}
	return strings.Join(names, " + ")
}

// latencyRuns is how often a network is run; the first time does not count.
const latencyRuns = 20

// latency returns the shortest time that the serving runtime took for a crop,
// in seconds: other work on the machine can only make it longer.
func latency(file []byte, card model.Card, g ort.GraphOptions) (best float64, err error) {
	provider := g.Provider
	if provider == "" {
		provider = ort.CPU
	}
	s, err := ort.Open(file, card, ort.Options{Provider: provider, Threads: g.Threads, MaxBatch: 1, Device: g.Device})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	crop, heatmaps := make([]float32, 3*card.Input.Area()), make([]float32, model.Keypoints*card.Heatmap.Area())
	for i := range latencyRuns {
		began := time.Now()
		if err := s.Run(crop, heatmaps); err != nil {
			return 0, err
		}
		if took := time.Since(began).Seconds(); i == 1 || i > 1 && took < best {
			best = took
		}
	}
	return best, nil
}

// Fingerprint tells what results depend on beside search.Settings, by name, for
// the search's journal. Sets are told by the sums of their annotation files, so
// that they may be moved.
func (o *Options) Fingerprint() (map[string]string, error) {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	f := map[string]string{"batch": strconv.Itoa(o.Batch), "rate": number(o.Rate), "warmup": number(o.Warmup), "l2": number(o.L2),
		"round targets": strconv.FormatBool(o.RoundTargets), "mirror": number(augment.Mirror)}
	for kind, sets := range map[string][]train.DataSet{"data": o.Data, "val": o.Val} {
		for i, s := range sets {
			sum, err := sumFile(s.Annotations)
			if err != nil {
				return nil, err
			}
			if kind == "data" && i < len(o.Weights) {
				sum += " x " + number(o.Weights[i])
			}
			f[fmt.Sprintf("%s %d", kind, i+1)] = sum
		}
	}
	return f, nil
}

func sumFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("annotations: %w", err)
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", fmt.Errorf("annotations: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
