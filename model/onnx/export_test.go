package onnx

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
)

func network(t testing.TB, g model.Genotype, s model.Size) *model.Network {
	t.Helper()
	n, err := model.NewNetwork(g, s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func testCard() model.Card {
	return model.Card{Name: "test", Genotype: model.GenotypeS, Input: model.Size{H: 64, W: 48}, Seed: 3, Data: "none",
		Licence: "Apache-2.0", Lineage: []string{"initial weights, seed 3", "a \"quoted\" step"}}
}

func TestWeightsRoundTrip(t *testing.T) {
	card := testCard()
	n := network(t, card.Genotype, card.Input)
	w := model.InitialWeights(n, 3)
	data, err := Export(n, w, card, false)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Export(n, w, card, false)
	if !bytes.Equal(data, again) {
		t.Error("two exports of the same model differ")
	}
	got, gotCard, err := Weights(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, got); diff != "" {
		t.Error("weights changed on the way")
	}
	if diff := cmp.Diff(card, gotCard); diff != "" {
		t.Error(diff)
	}
}

func TestHalfOnlyRoundsKernels(t *testing.T) {
	card := testCard()
	n := network(t, card.Genotype, card.Input)
	w := model.InitialWeights(n, 3)
	full, _ := Export(n, w, card, false)
	data, err := Export(n, w, card, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(data)*10 > len(full)*6 {
		t.Errorf("half precision takes %d bytes of %d", len(data), len(full))
	}
	got, _, err := Weights(data)
	if err != nil {
		t.Fatal(err)
	}
	if problems := n.Mismatch(got); problems != nil {
		t.Fatal(problems)
	}
	for name, values := range w {
		for i, v := range values {
			if d := math.Abs(float64(got[name][i] - v)); d > math.Abs(float64(v))/2048+0x1p-25 {
				t.Fatalf("%s[%d] = %v, stored as %v", name, i, v, got[name][i])
			}
		}
	}
}

func TestExportNamesWhatDoesNotFit(t *testing.T) {
	n := network(t, model.GenotypeS, model.Size{H: 64, W: 48})
	w := model.InitialWeights(n, 1)
	delete(w, "block3a_dwconv/kernel")
	if _, err := Export(n, w, testCard(), false); err == nil || !strings.Contains(err.Error(), "block3a_dwconv/kernel: missing") {
		t.Errorf("error %v", err)
	}
}

func TestCheck(t *testing.T) {
	card := testCard()
	n := network(t, card.Genotype, card.Input)
	data, _ := Export(n, model.InitialWeights(n, 1), card, false)
	if err := Check(data, card); err != nil {
		t.Error(err)
	}
	other := card
	other.Genotype = model.GenotypeXS
	if err := Check(data, other); err == nil || !strings.Contains(err.Error(), "genotype") {
		t.Errorf("another genotype: %v", err)
	}
	other = card
	other.Input.H = 96
	if err := Check(data, other); err == nil || !strings.Contains(err.Error(), "input 96x48") {
		t.Errorf("another size: %v", err)
	}
	if err := Check(data[:len(data)/2], card); !errors.Is(err, ErrFormat) {
		t.Errorf("half a file: %v", err)
	}
}

// randomGenotype draws uniformly from the search space.
func randomGenotype(rng *rand.Rand) (g model.Genotype) {
	halved := 4 + rng.IntN(4) // which of the last three stages has stride 2; 7: none
	for i, d := range model.GenotypeDefault {
		g[i] = model.Stage{Kernel: 3 + 2*rng.IntN(2), Repeats: 1 + rng.IntN(4), Filters: 1 + rng.IntN(d.Filters), Stride: d.Stride}
		if i >= 4 {
			g[i].Stride = 1
		}
		if i == halved {
			g[i].Stride = 2
		}
	}
	return g
}

// zeros returns weights of zero that share one slice: quick to make.
func zeros(n *model.Network, slab []float32) model.Weights {
	w := model.Weights{}
	for _, p := range n.Params() {
		w[p.Name] = slab[:p.Len():p.Len()]
	}
	return w
}

// Every genotype of the search space is written and read back the same, and
// its graph is sound. Most are at small sizes, for speed.
func TestRandomGenotypesRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	slab := make([]float32, 1<<23)
	for i := range 2000 {
		size := model.Size{H: 32 * (1 + rng.IntN(3)), W: 32 * (1 + rng.IntN(3))}
		if i%100 == 0 {
			size = model.Size{H: 256, W: 192}
		}
		n := network(t, randomGenotype(rng), size)
		data, err := Export(n, zeros(n, slab), model.Card{Name: "random"}, i%2 == 0)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Unmarshal(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkGraph(&m.Graph); err != nil {
			t.Fatalf("%v at %v: %v", n.Genotype, size, err)
		}
		if _, card, err := Weights(data); err != nil || card.Genotype != n.Genotype || card.Input != size {
			t.Fatalf("%v at %v came back as %v at %v, %v", n.Genotype, size, card.Genotype, card.Input, err)
		}
	}
}

// checkGraph checks single assignment in the order of computation, and that
// every constant is used.
func checkGraph(g *Graph) error {
	defined, used := map[string]bool{}, map[string]bool{}
	define := func(name string) error {
		if name == "" || defined[name] {
			return fmt.Errorf("%q is defined twice", name)
		}
		defined[name] = true
		return nil
	}
	for _, v := range g.Inputs {
		defined[v.Name] = true
	}
	for _, t := range g.Initializers {
		if err := define(t.Name); err != nil {
			return err
		}
	}
	for _, n := range g.Nodes {
		for _, in := range n.Inputs {
			if !defined[in] {
				return fmt.Errorf("%s reads %s before it is computed", n.Name, in)
			}
			used[in] = true
		}
		for _, out := range n.Outputs {
			if err := define(out); err != nil {
				return err
			}
		}
	}
	for _, t := range g.Initializers {
		if !used[t.Name] {
			return fmt.Errorf("nothing reads %s", t.Name)
		}
	}
	for _, v := range g.Outputs {
		if !defined[v.Name] {
			return fmt.Errorf("nothing computes %s", v.Name)
		}
	}
	return nil
}

func export(t *testing.T, half bool) (*model.Network, *Model) {
	t.Helper()
	card := testCard()
	n := network(t, card.Genotype, card.Input)
	data, err := Export(n, model.InitialWeights(n, 1), card, half)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return n, m
}

// 64x48 has size 56, so depth 1.2^(ln(1/4)/ln 1.15) = 0.16: one block a stage.
// Six of the seven expand; no stage keeps its filters with stride 1, so there
// is no residual. Each block has 4 convolutions and one more to expand.
func TestOperators(t *testing.T) {
	_, m := export(t, false)
	got := map[string]int{}
	for _, n := range m.Graph.Nodes {
		got[n.Op]++
	}
	swishes := 1 + 7*2 + 6 + 3
	want := map[string]int{"Conv": 1 + 7*4 + 6 + 1, "ConvTranspose": 3, "BatchNormalization": 1 + 7*2 + 6 + 3,
		"GlobalAveragePool": 7, "Sigmoid": swishes + 7, "Mul": swishes + 7}
	for _, n := range m.Graph.Nodes {
		if n.Op == "Add" {
			want["Add"]++ // where rounding gave two stages the same filters
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if m.Opset != 17 || m.Producer != "evopose" || m.Graph.Name != "test" {
		t.Errorf("opset %d, producer %q, graph %q", m.Opset, m.Producer, m.Graph.Name)
	}
}

func TestInterface(t *testing.T) {
	n, m := export(t, true)
	wantIn := []Value{{"image", Float, []Dim{{Param: "N"}, {Size: 3}, {Size: 64}, {Size: 48}}}}
	wantOut := []Value{{"heatmaps", Float, []Dim{{Param: "N"}, {Size: 17}, {Size: 32}, {Size: 24}}}}
	if diff := cmp.Diff(wantIn, m.Graph.Inputs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(wantOut, m.Graph.Outputs); diff != "" {
		t.Error(diff)
	}
	for _, tensor := range m.Graph.Initializers {
		kernel := strings.HasSuffix(tensor.Name, "/kernel"+halfSuffix)
		if kernel != (tensor.Type == Float16) {
			t.Errorf("%s has type %d: only kernels are in half precision", tensor.Name, tensor.Type)
		}
	}
	if len(m.Graph.Initializers) != len(n.Params()) {
		t.Errorf("%d tensors for %d parameters", len(m.Graph.Initializers), len(n.Params()))
	}
}

// ONNX's pads are top, left, bottom, right. For 3x3 with stride 2 on an even
// side that is nothing before and 1 after, both ways.
func TestConvolutionAttributes(t *testing.T) {
	_, m := export(t, false)
	nodes := map[string]Node{}
	for _, n := range m.Graph.Nodes {
		nodes[n.Name] = n
	}
	attributes := func(group, kernel, stride int64, pads ...int64) []Attribute {
		return []Attribute{
			{Name: "group", Type: AttrInt, Int: group}, {Name: "kernel_shape", Type: AttrInts, Ints: []int64{kernel, kernel}},
			{Name: "pads", Type: AttrInts, Ints: pads}, {Name: "strides", Type: AttrInts, Ints: []int64{stride, stride}},
		}
	}
	for _, want := range []Node{
		{Name: "stem_conv", Op: "Conv", Inputs: []string{"image", "stem_conv/kernel"}, Outputs: []string{"stem_conv"}, Attributes: attributes(1, 3, 2, 0, 0, 1, 1)},
		{Name: "block3a_dwconv", Op: "Conv", Inputs: []string{"block3a_expand_swish", "block3a_dwconv/kernel"}, Outputs: []string{"block3a_dwconv"},
			Attributes: attributes(96, 5, 2, 1, 1, 2, 2)},
		{Name: "head_block3_conv", Op: "ConvTranspose", Inputs: []string{"head_block2_swish", "head_block3_conv/kernel"}, Outputs: []string{"head_block3_conv"},
			Attributes: attributes(1, 3, 2, 0, 0, 1, 1)},
		{Name: "final_conv", Op: "Conv", Inputs: []string{"head_block3_swish", "final_conv/kernel", "final_conv/bias"}, Outputs: []string{"heatmaps"},
			Attributes: attributes(1, 1, 1, 0, 0, 0, 0)},
	} {
		if diff := cmp.Diff(want, nodes[want.Name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Name, diff)
		}
	}
}

func TestMetadata(t *testing.T) {
	_, m := export(t, false)
	want := []Property{
		{"evopose.name", "test"}, {"evopose.genotype", model.GenotypeS.String()}, {"evopose.input", "64x48"}, {"evopose.trained", "false"},
		{"evopose.seed", "3"}, {"evopose.data", "none"}, {"evopose.licence", "Apache-2.0"},
		{"evopose.lineage", `["initial weights, seed 3","a \"quoted\" step"]`},
		{"evopose.normalisation", Normalisation}, {"evopose.keypoints", strings.Join(model.KeypointNames[:], ",")},
	}
	if diff := cmp.Diff(want, m.Metadata); diff != "" {
		t.Error(diff)
	}
}

func TestExportRefusesValues(t *testing.T) {
	n := network(t, model.GenotypeS, model.Size{H: 64, W: 48})
	for _, tt := range []struct {
		name  string
		value float32
		half  bool
		want  string // "": allowed
	}{
		{"stem_conv/kernel", float32(math.NaN()), false, "stem_conv/kernel: value 1 is NaN"},
		{"final_conv/bias", float32(math.Inf(-1)), false, "final_conv/bias: value 1 is -Inf"},
		{"stem_conv/kernel", 65505, true, "stem_conv/kernel: value 1 is 65505: want a number up to 65504 in size"},
		{"stem_conv/kernel", -65504, true, ""},
		{"stem_conv/kernel", 1e30, false, ""},
		{"stem_bn/moving_variance", 1e30, true, ""},
	} {
		w := model.InitialWeights(n, 1)
		w[tt.name][1] = tt.value
		_, err := Export(n, w, testCard(), tt.half)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s = %v: %v, want %q", tt.name, tt.value, err, tt.want)
		}
	}
}

// The largest inputs scale to networks that no protobuf message can hold.
func TestExportRefusesTooLarge(t *testing.T) {
	n := network(t, model.GenotypeDefault, model.Size{H: 4096, W: 4096})
	total, _ := n.Parameters()
	if 4*total < maxBytes {
		t.Fatalf("%d weights are not too many", total)
	}
	largest := 0
	for _, p := range n.Params() {
		largest = max(largest, p.Len())
	}
	if _, err := Export(n, zeros(n, make([]float32, largest)), testCard(), false); err == nil || !strings.Contains(err.Error(), "an ONNX file holds at most") {
		t.Errorf("error %v", err)
	}
}
