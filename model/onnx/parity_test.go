package onnx_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
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
	Genotype string    `json:"genotype"`
	Input    string    `json:"input"`
	Largest  float64   `json:"largest"` // largest absolute heatmap value
	Index    []int     `json:"index"`
	Value    []float64 `json:"value"`
}

// parityNetworks are S, XS, M and two odd genotypes: kernels, repeats,
// channels and strides all different, one at an odd aspect.
var parityNetworks = []struct {
	name     string
	genotype model.Genotype
	input    model.Size
}{
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

// perturb gives batch normalisation and biases values that a wrong formula
// would not survive.
func perturb(n *model.Network, w model.Weights) {
	for _, p := range n.Params() {
		data := w[p.Name]
		for i := range data {
			wave := math.Sin(float64(i)*1.7 + float64(len(p.Name)))
			switch {
			case strings.HasSuffix(p.Name, "/gamma"):
				data[i] = float32(0.95 + 0.3*wave)
			case strings.HasSuffix(p.Name, "/moving_variance"):
				data[i] = float32(1 + 0.6*wave)
			case strings.HasSuffix(p.Name, "/beta"), strings.HasSuffix(p.Name, "/moving_mean"), strings.HasSuffix(p.Name, "/bias"):
				data[i] = float32(0.2 * wave)
			}
		}
	}
}

func parityModel(t *testing.T, g model.Genotype, s model.Size) (*model.Network, []byte, model.Card) {
	t.Helper()
	n, err := model.NewNetwork(g, s)
	if err != nil {
		t.Fatal(err)
	}
	w := model.InitialWeights(n, 42)
	perturb(n, w)
	card := model.Card{Name: "parity", Genotype: g, Input: s, Heatmap: n.Heatmap}
	data, err := onnx.Export(n, w, card, false)
	if err != nil {
		t.Fatal(err)
	}
	return n, data, card
}

// parityInput is the formula that the script uses too.
func parityInput(s model.Size) []float32 {
	in := make([]float32, 3*s.Area())
	for c := range 3 {
		for y := range s.H {
			for x := range s.W {
				v := math.Sin(0.05*float64(x)+0.3*float64(c)) + math.Cos(0.07*float64(y)-0.2*float64(c)) + 0.3*math.Sin(0.9*float64(x*y%101))
				in[(c*s.H+y)*s.W+x] = float32(v)
			}
		}
	}
	return in
}

// The forward pass agrees with a Keras build of the same network, written
// afresh from the paper's facts, to 1e-4 of the largest heatmap value. The golden
// file was made by testdata/keras_parity.py with TensorFlow.
func TestKerasParity(t *testing.T) {
	if *write != "" {
		for _, tt := range parityNetworks {
			_, data, _ := parityModel(t, tt.genotype, tt.input)
			if err := os.WriteFile(filepath.Join(*write, tt.name+".onnx"), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	text, err := os.ReadFile("testdata/keras_parity.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]parity
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	for _, tt := range parityNetworks {
		t.Run(tt.name, func(t *testing.T) {
			want, ok := golden[tt.name]
			if !ok || want.Genotype != tt.genotype.String() || want.Input != fmt.Sprint(tt.input) {
				t.Fatalf("the golden file has no run of %v at %v", tt.genotype, tt.input)
			}
			n, data, card := parityModel(t, tt.genotype, tt.input)
			runner := orttest.Open(t, data, card)
			heatmaps := make([]float32, model.Keypoints*n.Heatmap.Area())
			if err := runner.Run(parityInput(tt.input), heatmaps); err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for i, at := range want.Index {
				worst = max(worst, math.Abs(float64(heatmaps[at])-want.Value[i])/want.Largest)
			}
			t.Logf("worst relative difference %.2g over %d values", worst, len(want.Index))
			if !(worst < 1e-4) {
				t.Errorf("worst relative difference %g, want under 1e-4", worst)
			}
		})
	}
}
