package onnx_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/ort/orttest"
)

// write makes the ONNX files that testdata/keras_parity.py reads:
//
//	go test ./model/onnx -run TestKerasParity -write DIR
//	python testdata/keras_parity.py DIR testdata/keras_parity.json
var write = flag.String("write", "", "write the parity networks' ONNX files to this `folder`")

// parity is one network of testdata/keras_parity.json: heatmap values of an
// independent Keras build, at flat places of the NCHW output.
type parity struct {
	Genotype   string    `json:"genotype"`
	Input      string    `json:"input"`
	Batch      int       `json:"batch"` // pictures in the run
	Parameters int64     `json:"parameters"`
	Deviation  float64   `json:"deviation"` // standard deviation of all heatmap values
	Index      []int     `json:"index"`
	Value      []float64 `json:"value"`
}

// parityNetwork is a network with weights that shows what it computes.
type parityNetwork struct {
	name     string
	genotype model.Genotype
	input    model.Size
}

// parityNetworks are S, XS, M and two odd genotypes: kernels, repeats,
// channels and strides all different, one at an odd aspect.
var parityNetworks = []parityNetwork{
	{"s", model.GenotypeS, model.Size{H: 256, W: 192}},
	{"xs", model.GenotypeXS, model.Size{H: 256, W: 192}},
	{"m", model.GenotypeS, model.Size{H: 384, W: 288}},
	{"odd1", parse("5,2,1,1 5,1,2,2 3,4,3,2 5,1,7,2 3,3,5,1 3,1,9,2 5,4,11,1"), model.Size{H: 160, W: 320}},
	{"odd2", parse("3,3,2,1 5,2,1,2 3,1,4,2 5,2,6,2 3,4,13,1 5,2,3,1 3,1,1,1"), model.Size{H: 176, W: 112}},
}

func parse(genotype string) model.Genotype {
	g, err := model.ParseGenotype(genotype)
	if err != nil {
		panic(err) // a typing error in this file
	}
	return g
}

// export returns the network's file, full or half precision, and its card.
func (p parityNetwork) export(t *testing.T, half bool) ([]byte, model.Card) {
	t.Helper()
	n, err := model.NewNetwork(p.genotype, p.input)
	if err != nil {
		t.Fatal(err)
	}
	card := model.Card{Name: "parity " + p.name, Genotype: p.genotype, Input: p.input, Heatmap: n.Heatmap}
	data, err := onnx.Export(n, visibleWeights(n, 42), card, half)
	if err != nil {
		t.Fatal(err)
	}
	return data, card
}

// golden returns the network's run in Keras.
func (p parityNetwork) golden(t *testing.T) parity {
	t.Helper()
	text, err := os.ReadFile("testdata/keras_parity.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]parity
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	want, ok := all[p.name]
	if !ok || want.Genotype != p.genotype.String() || want.Input != fmt.Sprint(p.input) {
		t.Fatalf("the golden file has no run of %v at %v", p.genotype, p.input)
	}
	return want
}

// parityInput is the formula that the script uses too.
func parityInput(batch int, s model.Size) []float32 {
	in := make([]float32, 0, batch*3*s.Area())
	for i := range batch {
		for c := range 3 {
			for y := range s.H {
				for x := range s.W {
					v := math.Sin(0.05*float64(x)+0.3*float64(c)+float64(i)) + math.Cos(0.07*float64(y)-0.2*float64(c)-2*float64(i)) +
						0.3*math.Sin(0.9*float64(x*y%101))
					in = append(in, float32(v))
				}
			}
		}
	}
	return in
}

// difference runs a file and returns the worst difference from Keras, in
// standard deviations of the heatmaps.
func (want parity) difference(t *testing.T, data []byte, card model.Card) (worst float64) {
	t.Helper()
	heatmaps := make([]float32, want.Batch*model.Keypoints*card.Heatmap.Area())
	if err := orttest.Open(t, data, card).Run(parityInput(want.Batch, card.Input), heatmaps); err != nil {
		t.Fatal(err)
	}
	for i, at := range want.Index {
		d := math.Abs(float64(heatmaps[at])-want.Value[i]) / want.Deviation
		if !(d <= worst) { // NaN, too
			worst = d
		}
	}
	return worst
}

// parityTolerance is in standard deviations of the heatmaps.
const parityTolerance = 1e-4

// The forward pass agrees with a Keras build of the same network, written
// afresh from the paper's facts. The golden file was made by
// testdata/keras_parity.py with TensorFlow.
func TestKerasParity(t *testing.T) {
	for _, p := range parityNetworks {
		t.Run(p.name, func(t *testing.T) {
			data, card := p.export(t, false)
			if *write != "" {
				if err := os.WriteFile(filepath.Join(*write, p.name+".onnx"), data, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want := p.golden(t)
			if want.Deviation < 0.3 || want.Deviation > 10 {
				t.Errorf("heatmaps of standard deviation %g would hide the biases", want.Deviation)
			}
			worst := want.difference(t, data, card)
			t.Logf("worst difference %.2g standard deviations over %d values of %d pictures", worst, len(want.Index), want.Batch)
			if !(worst < parityTolerance) {
				t.Errorf("worst difference %g standard deviations, want under %g", worst, parityTolerance)
			}
		})
	}
}

// Keras counts the parameters that we count.
func TestKerasParameters(t *testing.T) {
	for _, p := range parityNetworks {
		n, err := model.NewNetwork(p.genotype, p.input)
		if err != nil {
			t.Fatal(err)
		}
		if total, _ := n.Parameters(); total != p.golden(t).Parameters {
			t.Errorf("%s: %d parameters, Keras counts %d", p.name, total, p.golden(t).Parameters)
		}
	}
}

// A file in half precision rounds its kernels, each by 2^-12 of itself at most
// on average; the heatmaps may move by little.
func TestKerasParityOfHalf(t *testing.T) {
	for _, p := range parityNetworks {
		t.Run(p.name, func(t *testing.T) {
			data, card := p.export(t, true)
			worst := p.golden(t).difference(t, data, card)
			t.Logf("worst difference %.2g standard deviations", worst)
			if !(worst < halfTolerance) {
				t.Errorf("worst difference %g standard deviations, want under %g", worst, halfTolerance)
			}
		})
	}
}

// halfTolerance is in standard deviations of the heatmaps.
const halfTolerance = 0.02
