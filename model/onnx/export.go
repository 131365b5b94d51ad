package onnx

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/evopose/evopose/model"
)

// The names of the served graph's input [N, 3, H, W] and output
// [N, 17, h, w].
const (
	InputName  = model.InputName
	OutputName = "heatmaps"
)

const opset = 17

// Normalisation describes, for other users of a file, what input it expects.
const Normalisation = "RGB / 255, minus mean 0.485 0.456 0.406, divided by std 0.229 0.224 0.225"

// Export writes the network with its weights as a served model: batch size
// free, batch normalisation by its moving statistics. half stores the kernels
// in half precision. The card goes into the file's metadata. Weights that do
// not fit the network are an error that names the tensors; so is a weight that
// is not finite, or that half precision cannot hold.
func Export(n *model.Network, w model.Weights, card model.Card, half bool) ([]byte, error) {
	if err := model.MismatchError(n.Mismatch(w)); err != nil {
		return nil, err
	}
	m := &Model{Producer: "evopose", Opset: opset, Metadata: Metadata(n, card)}
	g := &m.Graph
	g.Name = card.Name
	batch := Dim{Param: "N"}
	g.Inputs = []Value{{InputName, Float, []Dim{batch, {Size: 3}, {Size: int64(n.Input.H)}, {Size: int64(n.Input.W)}}}}
	g.Outputs = []Value{{OutputName, Float, []Dim{batch, {Size: model.Keypoints}, {Size: int64(n.Heatmap.H)}, {Size: int64(n.Heatmap.W)}}}}
	for _, p := range n.Params() {
		half := half && strings.HasSuffix(p.Name, "/kernel")
		if err := checkFinite(p.Name, w[p.Name], half); err != nil {
			return nil, fmt.Errorf("a weight cannot be written: %w", err)
		}
		g.addWeights(p, w[p.Name], half)
	}
	for i := range n.Layers {
		g.addLayer(&n.Layers[i], i == len(n.Layers)-1)
	}
	return Marshal(m), nil
}

// halfSuffix marks the stored form of a tensor that a Cast widens.
const halfSuffix = ":half"

func (g *Graph) addWeights(p model.Param, data []float32, half bool) {
	dims := make([]int64, len(p.Shape))
	for i, d := range p.Shape {
		dims[i] = int64(d)
	}
	if !half {
		g.Initializers = append(g.Initializers, Tensor{p.Name, Float, dims, encodeFloats(data)})
		return
	}
	g.Initializers = append(g.Initializers, Tensor{p.Name + halfSuffix, Float16, dims, encodeHalves(data)})
	g.add("Cast", p.Name+":cast", []string{p.Name + halfSuffix}, p.Name, Attribute{Name: "to", Type: AttrInt, Int: int64(Float)})
}

func (g *Graph) add(op, name string, inputs []string, output string, attributes ...Attribute) {
	g.Nodes = append(g.Nodes, Node{Name: name, Op: op, Inputs: inputs, Outputs: []string{output}, Attributes: attributes})
}

// addLayer adds the nodes of a layer; its output tensor has the layer's name.
func (g *Graph) addLayer(l *model.Layer, last bool) {
	out := l.Name
	if last {
		out = OutputName
	}
	in := l.Inputs
	switch l.Kind {
	case model.Conv, model.DepthwiseConv, model.ConvTranspose:
		g.addConv(l, out)
	case model.BatchNorm:
		g.add("BatchNormalization", l.Name, []string{in[0], l.Name + "/gamma", l.Name + "/beta", l.Name + "/moving_mean", l.Name + "/moving_variance"},
			out, Attribute{Name: "epsilon", Type: AttrFloat, Float: model.Epsilon})
	case model.Swish:
		g.add("Sigmoid", l.Name+":sigmoid", in, l.Name+":sigmoid")
		g.add("Mul", l.Name, []string{in[0], l.Name + ":sigmoid"}, out)
	case model.Sigmoid:
		g.add("Sigmoid", l.Name, in, out)
	case model.GlobalPool:
		g.add("GlobalAveragePool", l.Name, in, out)
	case model.Multiply:
		g.add("Mul", l.Name, in, out)
	case model.Add:
		g.add("Add", l.Name, in, out)
	}
}

func (g *Graph) addConv(l *model.Layer, out string) {
	op, group := "Conv", int64(1)
	switch l.Kind {
	case model.DepthwiseConv:
		group = int64(l.Out.C)
	case model.ConvTranspose:
		op = "ConvTranspose"
	}
	inputs := []string{l.Inputs[0], l.Name + "/kernel"}
	if l.Bias {
		inputs = append(inputs, l.Name+"/bias")
	}
	k, s := int64(l.Kernel), int64(l.Stride)
	pads := make([]int64, 4)
	for i, p := range l.Pads {
		pads[i] = int64(p)
	}
	g.add(op, l.Name, inputs, out,
		Attribute{Name: "group", Type: AttrInt, Int: group},
		Attribute{Name: "kernel_shape", Type: AttrInts, Ints: []int64{k, k}},
		Attribute{Name: "pads", Type: AttrInts, Ints: pads},
		Attribute{Name: "strides", Type: AttrInts, Ints: []int64{s, s}})
}

// The metadata keys of our files.
const (
	keyName     = "evopose.name"
	keyGenotype = "evopose.genotype"
	keyInput    = "evopose.input"
	keyTrained  = "evopose.trained"
	keySeed     = "evopose.seed"
	keyData     = "evopose.data"
	keyLicence  = "evopose.licence"
	keyLineage  = "evopose.lineage"
	keyNormal   = "evopose.normalisation"
	keyPoints   = "evopose.keypoints"
)

// Metadata is what a file of weights says of its network: the properties that
// CardOf reads, and some for other readers.
func Metadata(n *model.Network, c model.Card) []Property {
	lineage, _ := json.Marshal(c.Lineage) // strings always marshal
	return []Property{
		{keyName, c.Name},
		{keyGenotype, n.Genotype.String()},
		{keyInput, n.Input.String()},
		{keyTrained, strconv.FormatBool(c.Trained)},
		{keySeed, strconv.FormatUint(c.Seed, 10)},
		{keyData, c.Data},
		{keyLicence, c.Licence},
		{keyLineage, string(lineage)},
		{keyNormal, Normalisation},
		{keyPoints, strings.Join(model.KeypointNames[:], ",")},
	}
}
