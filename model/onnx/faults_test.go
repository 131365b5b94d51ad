package onnx_test

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/evopose/evopose/model/onnx"
)

// A fault is a mistake that a writer of the network could make. Each is small:
// the file stays valid and its heatmaps keep their size.
type fault struct {
	name string
	make func(g *onnx.Graph)
}

// faults lists mistakes in blocks that every parity network has, the least
// visible ones first.
var faults = []fault{
	{"a bias of the final convolution", func(g *onnx.Graph) { shift(g, "final_conv/bias", 3, 0.01) }},
	{"a bias of a squeeze", func(g *onnx.Graph) { shift(g, "block3a_se_reduce/bias", 0, 0.1) }},
	{"one moving mean", func(g *onnx.Graph) { shift(g, "block5a_project_bn/moving_mean", 2, 0.1) }},
	{"epsilon 1e-5", func(g *onnx.Graph) {
		for i := range g.Nodes {
			if n := &g.Nodes[i]; n.Op == "BatchNormalization" {
				attribute(n, "epsilon").Float = 1e-5
			}
		}
	}},
	{"biases of an excitation forgotten", func(g *onnx.Graph) { clear(tensor(g, "block2a_se_expand/bias").Raw) }},
	{"beta and moving mean swapped", func(g *onnx.Graph) { swapInputs(node(g, "block4a_bn"), 2, 3) }},
	{"gamma and moving variance swapped", func(g *onnx.Graph) { swapInputs(node(g, "head_block1_bn"), 1, 4) }},
	{"statistics of another layer", func(g *onnx.Graph) {
		copy(tensor(g, "head_block3_bn/moving_mean").Raw, tensor(g, "head_block2_bn/moving_mean").Raw)
	}},
	{"padding of the stem at the other side", func(g *onnx.Graph) { turnPads(node(g, "stem_conv")) }},
	{"padding of a strided block at the other side", func(g *onnx.Graph) { turnPads(node(g, "block3a_dwconv")) }},
	{"padding of the head at the other side", func(g *onnx.Graph) { turnPads(node(g, "head_block2_conv")) }},
	{"a kernel transposed", func(g *onnx.Graph) { transpose(tensor(g, "block4a_dwconv/kernel")) }},
	{"two channels of a kernel swapped", func(g *onnx.Graph) { swapRows(tensor(g, "block6a_project_conv/kernel")) }},
	{"swish forgotten", func(g *onnx.Graph) { bypass(node(g, "block5a_swish")) }},
	{"hard sigmoid", func(g *onnx.Graph) { node(g, "block4a_se_sigmoid").Op = "HardSigmoid" }},
	{"an excitation forgotten", func(g *onnx.Graph) { node(g, "block7a_se_excite").Inputs[1] = "block7a_se_sigmoid:one" }},
}

// Under the weights of the parity test none of these mistakes would pass it.
func TestKerasParityNoticesFaults(t *testing.T) {
	for _, p := range parityNetworks {
		few := map[string][]fault{"m": faults[:4], "odd2": faults}[p.name]
		if few == nil {
			continue
		}
		data, card := p.export(t, false)
		for _, f := range few {
			t.Run(p.name+"/"+f.name, func(t *testing.T) {
				m, err := onnx.Unmarshal(slices.Clone(data))
				if err != nil {
					t.Fatal(err)
				}
				m.Graph.Initializers = append(m.Graph.Initializers, one("block7a_se_sigmoid:one"))
				f.make(&m.Graph)
				worst := p.golden(t).difference(t, onnx.Marshal(m), card)
				t.Logf("%.2g standard deviations", worst)
				if worst < 3*parityTolerance {
					t.Errorf("worst difference %g standard deviations: the parity test would not notice", worst)
				}
			})
		}
	}
}

func node(g *onnx.Graph, name string) *onnx.Node {
	i := slices.IndexFunc(g.Nodes, func(n onnx.Node) bool { return n.Name == name })
	if i < 0 {
		panic("no node " + name)
	}
	return &g.Nodes[i]
}

func tensor(g *onnx.Graph, name string) *onnx.Tensor {
	i := slices.IndexFunc(g.Initializers, func(t onnx.Tensor) bool { return t.Name == name })
	if i < 0 {
		panic("no tensor " + name)
	}
	return &g.Initializers[i]
}

func attribute(n *onnx.Node, name string) *onnx.Attribute {
	i := slices.IndexFunc(n.Attributes, func(a onnx.Attribute) bool { return a.Name == name })
	if i < 0 {
		panic(n.Name + " has no attribute " + name)
	}
	return &n.Attributes[i]
}

// one is a float32 scalar 1.
func one(name string) onnx.Tensor {
	raw := binary.LittleEndian.AppendUint32(nil, math.Float32bits(1))
	return onnx.Tensor{Name: name, Type: onnx.Float, Dims: []int64{1}, Raw: raw}
}

// shift adds to one value of a float32 tensor.
func shift(g *onnx.Graph, name string, i int, by float32) {
	raw := tensor(g, name).Raw[4*i:]
	v := math.Float32frombits(binary.LittleEndian.Uint32(raw))
	binary.LittleEndian.PutUint32(raw, math.Float32bits(v+by))
}

func swapInputs(n *onnx.Node, i, j int) { n.Inputs[i], n.Inputs[j] = n.Inputs[j], n.Inputs[i] }

// turnPads exchanges the padding before and after.
func turnPads(n *onnx.Node) {
	pads := attribute(n, "pads").Ints
	if pads[0] == pads[2] {
		panic(n.Name + " is padded evenly")
	}
	pads[0], pads[1], pads[2], pads[3] = pads[2], pads[3], pads[0], pads[1]
}

// transpose exchanges height and width of a [C, 1, k, k] kernel.
func transpose(t *onnx.Tensor) {
	old, k := slices.Clone(t.Raw), int(t.Dims[2])
	for i := range len(old) / 4 {
		c, y, x := i/(k*k), i/k%k, i%k
		from := (c*k+x)*k + y
		copy(t.Raw[4*i:4*i+4], old[4*from:])
	}
}

// swapRows exchanges the first two output channels of a kernel.
func swapRows(t *onnx.Tensor) {
	n := len(t.Raw) / int(t.Dims[0])
	first := slices.Clone(t.Raw[:n])
	copy(t.Raw, t.Raw[n:2*n])
	copy(t.Raw[n:], first)
}

// bypass makes x * sigmoid(x) hand x on.
func bypass(n *onnx.Node) {
	n.Op, n.Inputs = "Identity", n.Inputs[:1]
}
