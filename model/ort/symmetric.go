package ort

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/evopose/evopose/model/onnx"
)

// symmetric returns an ONNX file in which no transposed convolution has more
// padding on one side than on the other: the CUDA provider leaves those to the CPU,
// with a copy over the bus each way. That padding is what is cut off the result, so
// what one side has more becomes a Slice.
func symmetric(data []byte) ([]byte, error) {
	m, err := onnx.Unmarshal(data)
	if err != nil {
		return nil, err
	}
	g := &m.Graph
	var nodes []onnx.Node
	for _, n := range g.Nodes {
		i := slices.IndexFunc(n.Attributes, func(a onnx.Attribute) bool { return a.Name == "pads" && len(a.Ints) == 4 })
		if n.Op != "ConvTranspose" || i < 0 {
			nodes = append(nodes, n)
			continue
		}
		pads := n.Attributes[i].Ints // top, left, bottom, right
		y, x := min(pads[0], pads[2]), min(pads[1], pads[3])
		n.Attributes[i].Ints = []int64{y, x, y, x}
		nodes = append(nodes, n)
		if cut := []int64{pads[0] - y, pads[1] - x, pads[2] - y, pads[3] - x}; slices.Max(cut) > 0 {
			nodes = append(nodes, slice(g, &nodes[len(nodes)-1], cut))
		}
	}
	g.Nodes = nodes
	return onnx.Marshal(m), nil
}

// slice takes over a node's output, without what is cut off it: rows and columns
// at the top, left, bottom, right.
func slice(g *onnx.Graph, n *onnx.Node, cut []int64) onnx.Node {
	whole, out := n.Outputs[0]+"_whole", n.Outputs[0]
	n.Outputs = []string{whole}
	ends := []int64{math.MaxInt64, math.MaxInt64}
	for i := range ends {
		if cut[i+2] > 0 {
			ends[i] = -cut[i+2]
		}
	}
	inputs := []string{whole}
	for _, list := range []struct {
		name   string
		values []int64
	}{{"starts", cut[:2]}, {"ends", ends}, {"axes", []int64{2, 3}}} {
		t := onnx.Tensor{Name: fmt.Sprintf("%s_%s", out, list.name), Type: onnx.Int64, Dims: []int64{2}}
		for _, v := range list.values {
			t.Raw = binary.LittleEndian.AppendUint64(t.Raw, uint64(v))
		}
		g.Initializers = append(g.Initializers, t)
		inputs = append(inputs, t.Name)
	}
	return onnx.Node{Name: out + "_cut", Op: "Slice", Inputs: inputs, Outputs: []string{out}}
}
