package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/ort/orttest"
	"github.com/evopose/evopose/model/weightfile"
)

// A run starts from the ONNX file and from the checkpoint of another alike, at
// another size of the same network without any loss.
func TestFromItsOwnKind(t *testing.T) {
	c, o := tinyRun(t)
	c.Epochs, c.Command = 1, "evopose train --out run"
	train(t, c, o)
	next := c
	next.Size = model.Size{H: 32, W: 32}
	n, _, err := next.network()
	if err != nil {
		t.Fatal(err)
	}
	var starts []*Start
	for _, file := range []string{BestONNX, BestFile} {
		next.From = filepath.Join(o.Dir, file)
		s, err := next.start(n)
		if err != nil {
			t.Fatal(err)
		}
		if text := s.Summary.String(); !strings.Contains(text, " 0 partial, 0 extended, 0 initial; 100.0 %") {
			t.Errorf("%s: %s", file, text)
		}
		starts = append(starts, s)
	}
	if diff := cmp.Diff(starts[0].Weights, starts[1].Weights); diff != "" {
		t.Errorf("weights differ:\n%.500s", diff)
	}
	want := []string{"initial weights, seed 5", "trained 1 epoch at 64x48 on train/labels: evopose train --out run"}
	for _, s := range starts {
		if diff := cmp.Diff(want, s.Lineage); diff != "" {
			t.Error(diff)
		}
	}
	o.Dir += "-2"
	r := train(t, next, o)
	if r.start.Summary == nil || len(r.points) != 1 {
		t.Errorf("%+v", r.start)
	}
}

// Short epochs are measured as often, and the lineage tells their length.
func TestShortEpochs(t *testing.T) {
	c, o := tinyRun(t)
	c.Epochs, c.EpochPeople = 3, 2*c.Batch+1
	r := train(t, c, o)
	if len(r.steps) != 6 || len(r.points) != 3 {
		t.Errorf("%d steps, measured %d times, want 6 and 3", len(r.steps), len(r.points))
	}
	c.From = filepath.Join(o.Dir, LatestFile)
	_, s := started(t, c)
	if want := fmt.Sprintf("trained 3 epochs of %d people at 64x48 on train/labels", c.EpochPeople); s.Lineage[1] != want {
		t.Errorf("%q, want %q", s.Lineage[1], want)
	}
}

// A run that stopped within an epoch says so in the lineage of what starts from it.
func TestLineageOfUnfinishedEpoch(t *testing.T) {
	c, o := tinyRun(t)
	for _, tt := range []struct {
		epoch, step int
		want        string
	}{{1, 2, "trained 0 epochs and 2 steps at"}, {1, 6, "trained 1 epoch at"}, {2, 1, "trained 1 epoch and 1 step at"}} {
		if err := trainUntil(t, c, o, tt.epoch, tt.step); err == nil {
			t.Fatal("it was not interrupted")
		}
		o.Resume = true
		next := c
		next.From = filepath.Join(o.Dir, LatestFile)
		if _, s := started(t, next); !strings.HasPrefix(s.Lineage[1], tt.want) {
			t.Errorf("%q, want %q", s.Lineage[1], tt.want)
		}
	}
}

// started returns the network of a run and what the run starts from.
func started(t *testing.T, c Config) (*model.Network, *Start) {
	t.Helper()
	n, _, err := c.network()
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.start(n)
	if err != nil {
		t.Fatal(err)
	}
	return n, s
}

// XS gives S all of its weights; S gives a network of other widths what fits.
func TestFromAnotherNetwork(t *testing.T) {
	dir := t.TempDir()
	xs, err := model.NewNetwork(model.GenotypeXS, model.Size{H: 64, W: 64})
	if err != nil {
		t.Fatal(err)
	}
	w := model.InitialWeights(xs, 3)
	card := model.Card{Name: "evopose2d-xs", Genotype: xs.Genotype, Input: xs.Input, Heatmap: xs.Heatmap, Lineage: []string{"made up"}}
	data, err := onnx.Export(xs, w, card, false)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "xs.onnx")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		native model.Size
		whole  bool
	}{{model.Size{H: 64, W: 64}, true}, {model.Size{H: 128, W: 128}, false}} {
		c := Config{Name: "s", Genotype: model.GenotypeS, Native: tt.native, Size: model.Size{H: 64, W: 64}, From: path, Seed: 9}
		n, s := started(t, c)
		if whole := strings.Contains(s.Summary.String(), " 100.0 %"); whole != tt.whole {
			t.Errorf("%v: %v", tt.native, s.Summary)
		}
		if problems := n.Mismatch(s.Weights); problems != nil {
			t.Error(problems)
		}
		if len(s.Lineage) != 2 || s.Lineage[0] != "made up" || !strings.HasPrefix(s.Lineage[1], "weight transfer from evopose2d-xs (") {
			t.Errorf("lineage %q", s.Lineage)
		}
	}
}

// The built-in S, grown to a larger network, has the heatmaps of S: to the
// widths and depths of M and L, and to larger kernels and more blocks. By
// plain transfer it has not.
func TestGrownHasTheParentsHeatmaps(t *testing.T) {
	orttest.Init(t)
	size := model.Size{H: 64, W: 64}
	crops := make([]float32, 2*3*size.Area())
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range crops {
		crops[i] = float32(rng.NormFloat64())
	}
	larger := model.GenotypeS
	for i := range larger {
		larger[i].Kernel, larger[i].Repeats = 5, min(larger[i].Repeats+1, 4)
	}
	heatmaps := func(g model.Genotype, native model.Size, grow bool) []float32 {
		c := Config{Name: "it", Genotype: g, Native: native, Size: size, From: "../../models/evopose2d-s.onnx", Grow: grow, Seed: 9}
		n, s := started(t, c)
		return infer(t, n, s.Weights, crops, 2)
	}
	s := model.Size{H: 256, W: 192}
	want := heatmaps(model.GenotypeS, s, false)
	limit := 1e-5 * float64(slices.Max(want))
	for name, child := range map[string]struct {
		genotype model.Genotype
		native   model.Size
	}{
		"M":               {model.GenotypeS, model.Size{H: 384, W: 288}},
		"L":               {model.GenotypeS, model.Size{H: 512, W: 384}},
		"kernels, blocks": {larger, s},
	} {
		if d := farthest(want, heatmaps(child.genotype, child.native, true)); !(d <= limit) {
			t.Errorf("%s, grown: heatmaps differ by up to %v, more than %v", name, d, limit)
		}
		if d := farthest(want, heatmaps(child.genotype, child.native, false)); !(d > 1000*limit) {
			t.Errorf("%s, by transfer: heatmaps differ by no more than %v", name, d)
		}
	}
}

// farthest returns the largest difference between two values in the same place.
func farthest(a, b []float32) (d float64) {
	for i := range a {
		d = max(d, math.Abs(float64(a[i]-b[i])))
	}
	return d
}

// The field's formats carry the card as ONNX files do, and start a run alike.
func TestFromOtherFormats(t *testing.T) {
	dir := t.TempDir()
	xs, err := model.NewNetwork(model.GenotypeXS, model.Size{H: 64, W: 64})
	if err != nil {
		t.Fatal(err)
	}
	w := model.InitialWeights(xs, 3)
	f, err := weightfile.New(xs, w, model.Card{Name: "evopose2d-xs", Genotype: xs.Genotype, Input: xs.Input, Lineage: []string{"made up"}})
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Name: "xs", Genotype: model.GenotypeXS, Native: xs.Input, Size: xs.Input, Seed: 9}
	for _, extension := range weightfile.Extensions {
		c.From = filepath.Join(dir, "xs"+extension)
		if err := weightfile.Write(c.From, f); err != nil {
			t.Fatal(err)
		}
		s, err := c.start(xs)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(w, s.Weights); diff != "" {
			t.Errorf("%s: weights differ:\n%.500s", extension, diff)
		}
		if diff := cmp.Diff([]string{"made up"}, s.Lineage); diff != "" {
			t.Errorf("%s: %s", extension, diff)
		}
	}
	f.Meta = nil
	if err := weightfile.Write(c.From, f); err != nil {
		t.Fatal(err)
	}
	if _, err := c.start(xs); err == nil || !strings.Contains(err.Error(), "does not say which network its weights are of; `evopose import`") {
		t.Errorf("without metadata: %v", err)
	}
}

func TestInitialStart(t *testing.T) {
	c := tinyConfig(t, t.TempDir())
	n, native, err := c.network()
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.start(n)
	if err != nil || s.Summary != nil || s.Lineage[0] != "initial weights, seed 5" {
		t.Fatalf("%v %+v", err, s)
	}
	if problems := native.Mismatch(s.Weights); problems != nil {
		t.Errorf("the native network takes other weights: %v", problems)
	}
}

// A file with the names of an EfficientNet is taken for one, and what it lacks
// is named.
func TestFromEfficientNet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.safetensors")
	f := &weightfile.File{Tensors: map[string]weightfile.Tensor{
		"_conv_stem.weight": {Shape: []int{32, 3, 3, 3}, Data: make([]float32, 32*27)},
	}}
	if err := weightfile.Write(path, f); err != nil {
		t.Fatal(err)
	}
	_, _, err := readWeights(path, 1)
	if err == nil || !strings.Contains(err.Error(), path+": not an EfficientNet-Lite0: no _bn0.weight in it") {
		t.Errorf("error %v", err)
	}
}

// The moving average by its formula, in double precision.
func TestAverage(t *testing.T) {
	values := []float64{1, 5, -2, 3, 8, 0.5, 4, 4, -7, 2, 6, 1}
	for _, decay := range []float64{0, 0.3, 0.999} {
		at := func(v float64) state {
			return state{weights: []float32{float32(v), 1}, moving: []float32{float32(-v)}}
		}
		a := average{decay: decay}
		a.start(at(10))
		want := 10.0
		for i, v := range values {
			a.update(at(v))
			d := min(decay, float64(i+2)/float64(i+11))
			want = d*want + (1-d)*v
			if math.Abs(float64(a.weights[0])-want) > 1e-5 || math.Abs(float64(a.moving[0])+want) > 1e-5 || a.weights[1] != 1 {
				t.Fatalf("decay %v, update %d: %v %v, want %v", decay, i, a.weights, a.moving, want)
			}
		}
		if decay == 0 && a.weights[0] != 1 {
			t.Errorf("without decay the average is %v, want the last weight to the bit", a.weights[0])
		}
	}
}
