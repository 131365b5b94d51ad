package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/model/ort/orttest"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/train"
)

type object = map[string]any

const side = 64 // of a picture, in pixels

// writeSet writes n pictures of 17 coloured dots with their labels.
func writeSet(t testing.TB, dir string, n int, seed uint64) train.DataSet {
	t.Helper()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	var images, people []object
	for i := 1; i <= n; i++ {
		name := fmt.Sprintf("%d.png", i)
		points := writeDots(t, filepath.Join(dir, name), rng)
		images = append(images, object{"id": i, "file_name": name, "width": side, "height": side})
		people = append(people, object{"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "area": 2000,
			"bbox": []int{4, 4, side - 8, side - 8}, "num_keypoints": model.Keypoints, "keypoints": points})
	}
	data, err := json.Marshal(object{"images": images, "annotations": people})
	if err != nil {
		t.Fatal(err)
	}
	set := train.DataSet{Annotations: filepath.Join(dir, "labels.json"), Images: dir}
	if err := os.WriteFile(set.Annotations, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return set
}

func writeDots(t testing.TB, path string, rng *rand.Rand) (points []int) {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, side, side))
	for i := range img.Pix {
		img.Pix[i] = 128
	}
	for k := range model.Keypoints {
		x, y := 8+rng.IntN(side-16), 8+rng.IntN(side-16)
		points = append(points, x, y, 2)
		for i := range 25 {
			img.SetNRGBA(x+i%5-2, y+i/5-2, color.NRGBA{uint8(k % 3 * 127), uint8(k / 3 % 3 * 127), uint8(k / 9 * 255), 255})
		}
	}
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return points
}

// tiny is the smallest training of 24 people at 64x64, on one thread: then it
// is the same, to the last bit, each time.
func tiny(t testing.TB) Options {
	t.Helper()
	orttest.Init(t)
	dir := t.TempDir()
	size := model.Size{H: 64, W: 64}
	return Options{Config: Config{Native: size, Size: size, Batch: 8, Rate: 3e-3, Warmup: 0.5, L2: 1e-5},
		Data: []train.DataSet{writeSet(t, filepath.Join(dir, "train"), 24, 1)}, Val: []train.DataSet{writeSet(t, filepath.Join(dir, "val"), 5, 2)},
		Graph: ort.GraphOptions{Threads: 1}, Name: "here"}
}

func open(t testing.TB, o Options) *Evaluator {
	t.Helper()
	e, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func evaluate(t testing.TB, e *Evaluator, j search.Job, parent []byte) (search.Result, []byte) {
	t.Helper()
	r, file, err := e.Evaluate(t.Context(), j, parent, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r, file
}

func TestEvaluate(t *testing.T) {
	o := tiny(t)
	o.Latency = true
	e := open(t, o)
	var told []float64
	job := search.Job{ID: 3, Genotype: model.GenotypeDefault, Seed: 5, Epochs: 3}
	r, file, err := e.Evaluate(t.Context(), job, nil, func(epoch int, loss float64) {
		told = append(told, loss)
		if epoch != len(told) {
			t.Errorf("epoch %d is told as the %d.", epoch, len(told))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	n, _ := model.NewNetwork(model.GenotypeDefault, o.Native)
	total, _ := n.Parameters()
	if r.ID != 3 || r.Worker != "here" || r.Parameters != total || r.MultiplyAdds != n.MultiplyAdds() || r.Failed != "" || r.Stopped ||
		!(r.Seconds > 0) || !(r.Latency > 0 && r.Latency < 10) || r.Transfer != "" {
		t.Errorf("%+v", r)
	}
	if diff := cmp.Diff(told, r.Losses); diff != "" || len(told) != 3 || r.Loss != min(told[0], told[1], told[2]) {
		t.Errorf("%+v: %s", r, diff)
	}
	w, card, err := onnx.Weights(file)
	if err != nil || n.Mismatch(w) != nil || card.Genotype != job.Genotype || card.Input != o.Native || !card.Trained || card.Data != "train/labels" {
		t.Errorf("%+v %v %v", card, n.Mismatch(w), err)
	}
	o.Latency = false
	again, same := evaluate(t, open(t, o), job, nil)
	if diff := cmp.Diff(r, again, cmpopts.IgnoreFields(search.Result{}, "Seconds", "Latency")); diff != "" || !bytes.Equal(file, same) {
		t.Errorf("the same job came out otherwise: %s", diff)
	}
}

// A child of its parent's weights starts lower than one from scratch; the
// evaluator keeps the epoch of the lowest loss.
func TestTransferStartsLower(t *testing.T) {
	e := open(t, tiny(t))
	_, file := evaluate(t, e, search.Job{Genotype: model.GenotypeDefault, Seed: 5, Epochs: 8}, nil)
	child := model.GenotypeDefault
	child[4].Kernel = 3
	job := search.Job{ID: 1, Genotype: child, Seed: 6, Epochs: 1}
	scratch, _ := evaluate(t, e, job, nil)
	with, _ := evaluate(t, e, job, file)
	if !(with.Loss < scratch.Loss) || !strings.Contains(with.Transfer, "copied") {
		t.Errorf("with transfer %v (%s), from scratch %v", with.Loss, with.Transfer, scratch.Loss)
	}
}

func TestStopsHopeless(t *testing.T) {
	e := open(t, tiny(t))
	r, _ := evaluate(t, e, search.Job{Genotype: model.GenotypeDefault, Epochs: 4, StopAbove: []float64{1e9, 1e-9}}, nil)
	if !r.Stopped || len(r.Losses) != 2 || r.Failed != "" {
		t.Errorf("%+v", r)
	}
}

// A rate far too high makes the job fail, not the evaluator.
func TestDiverges(t *testing.T) {
	o := tiny(t)
	o.Rate = 0.99
	o.Batch = 2
	e := open(t, o)
	file := diverging(t, o.Native)
	r, weights := evaluate(t, e, search.Job{Genotype: model.GenotypeDefault, Epochs: 2}, file)
	if !strings.Contains(r.Failed, "diverged") || weights != nil || r.Loss != 0 {
		t.Errorf("%+v", r)
	}
}

// diverging is a file of weights so large that the loss overflows.
func diverging(t *testing.T, size model.Size) []byte {
	t.Helper()
	n, err := model.NewNetwork(model.GenotypeDefault, size)
	if err != nil {
		t.Fatal(err)
	}
	w := model.InitialWeights(n, 1)
	for i := range w["final_conv/kernel"] {
		w["final_conv/kernel"][i] = 1e30
	}
	file, err := onnx.Export(n, w, model.Card{Name: "large", Genotype: n.Genotype, Input: n.Input}, false)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestBadJobs(t *testing.T) {
	o := tiny(t)
	e := open(t, o)
	if r, _ := evaluate(t, e, search.Job{ID: 2, Epochs: 1}, nil); !strings.Contains(r.Failed, "stage 1: kernel is 0") {
		t.Errorf("%+v", r)
	}
	_, _, err := e.Evaluate(t.Context(), search.Job{Genotype: model.GenotypeDefault, Epochs: 1}, []byte("hello"), nil)
	if err == nil || !strings.Contains(err.Error(), "the weights to start from") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err = e.Evaluate(ctx, search.Job{Genotype: model.GenotypeDefault, Epochs: 100}, nil, func(int, float64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"2 weights of 1 data sets":  func(o *Options) { o.Weights = []float64{1, 2} },
		"no data to train on":       func(o *Options) { o.Data = nil },
		"no data to validate on":    func(o *Options) { o.Val = nil },
		"batch 0":                   func(o *Options) { o.Batch = 0 },
		"batch of 99":               func(o *Options) { o.Batch = 99 },
		"no such file or directory": func(o *Options) { o.Data[0].Annotations += "x" },
		"folder of the pictures":    func(o *Options) { o.Val[0].Images += "x" },
	} {
		o := tiny(t)
		change(&o)
		if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// The fingerprint changes with what results depend on and with nothing else.
func TestFingerprint(t *testing.T) {
	o := tiny(t)
	want, err := o.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	moved := o
	moved.Data = []train.DataSet{{Annotations: filepath.Join(t.TempDir(), "moved.json"), Images: "elsewhere"}}
	if err := os.Rename(o.Data[0].Annotations, moved.Data[0].Annotations); err != nil {
		t.Fatal(err)
	}
	moved.Name, moved.Graph.Threads, moved.Command = "there", 4, "evopose"
	got, err := moved.Fingerprint()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	moved.Weights, moved.Rate = []float64{2}, 1e-3
	if got, _ = moved.Fingerprint(); got["data 1"] != want["data 1"]+" x 2" || got["rate"] != "0.001" || len(got) != 8 {
		t.Errorf("%v", got)
	}
	if _, err := o.Fingerprint(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// A real search of two generations of two children, interrupted once, twice
// over: the same networks, losses and weights.
func TestRealSearch(t *testing.T) {
	o := tiny(t)
	s := search.Settings{Seed: 2, Ancestor: model.GenotypeDefault, Native: o.Native, Size: o.Size, Generations: 2, Children: 2, Parents: 2,
		AncestorEpochs: 3, Epochs: 2, Cost: search.CostParameters, Selection: search.SelectFitness}
	e := open(t, o)
	whole, err := searchWith(t.Context(), t.TempDir(), s, e, 1, search.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := searchWith(ctx, dir, s, e, 2, &after{n: 3, stop: cancel}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	parts, err := searchWith(t.Context(), dir, s, e, 2, search.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole, parts, cmpopts.IgnoreFields(search.Result{}, "Seconds")); diff != "" {
		t.Error(diff)
	}
	for _, entry := range whole {
		t.Logf("%d of %d: %v %.4g", entry.Job.ID, entry.Job.Parent, entry.Job.Mutations, entry.Result.Losses)
	}
}

// after stops a search after n evaluations.
type after struct {
	search.Silent
	n    int
	stop func()
}

func (a *after) Evaluated(search.Entry, bool) {
	if a.n--; a.n == 0 {
		a.stop()
	}
}

func searchWith(ctx context.Context, dir string, s search.Settings, e search.Evaluator, workers int, o search.Observer) ([]search.Entry, error) {
	j, err := search.OpenJournal(dir, search.Header{Settings: s})
	if err != nil {
		return nil, err
	}
	defer j.Close()
	engine, err := search.NewLocal(e, workers, filepath.Join(dir, "weights"))
	if err != nil {
		return nil, err
	}
	return search.Evolve(ctx, s, engine, j, o)
}

func TestDataNames(t *testing.T) {
	sets := []train.DataSet{{Annotations: "../data/coco/train.json"}, {Annotations: "more.v2.json"}, {Annotations: "./x/val.json"}}
	if got, want := DataNames(sets), "coco/train + more.v2 + x/val"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
