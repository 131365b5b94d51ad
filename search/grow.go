package search

import (
	"strings"

	"github.com/evopose/evopose/model"
)

// Grow is Transfer for a child that is larger than its parent: what the child
// has and the parent lacks begins silent, so that the child starts as the
// parent's function (Chen et al., "Net2Net", ICLR 2016), with the parent's
// accuracy, and training gives the new parts their work:
//
//   - a channel that the parent has reads nothing from channels that it lacks,
//     nor from the places of a kernel that it lacks: those values are zero;
//   - a block that the parent lacks adds zero to the channels that go past it:
//     gamma and beta of its last batch normalisation are zero.
//
// New channels keep their initial kernels, and new blocks what Transfer gave
// them, so that gradients reach them all. The function is the parent's exactly
// if no layer of the child is smaller than the parent's and strides are equal;
// otherwise it is what Transfer makes of it.
func Grow(child *model.Network, initial model.Weights, parent *model.Network, weights model.Weights) (model.Weights, Summary) {
	out, summary := Transfer(child, initial, parent, weights)
	input := inputAxes(child)
	for i, p := range child.Params() {
		t := summary[i]
		switch {
		case t.Origin == Initial:
		case t.From != p.Name: // of a block that the parent lacks
			if strings.HasSuffix(p.Layer, "_project_bn") && (strings.HasSuffix(p.Name, "/gamma") || strings.HasSuffix(p.Name, "/beta")) {
				clear(out[p.Name])
			}
		case len(p.Shape) == 4:
			silence(out[p.Name], p.Shape, t.FromShape, input[p.Layer])
		}
	}
	return out, summary
}

// inputAxes tells for each layer which dimension of its kernel is the input
// channels: 0 if it is transposed, else 1.
func inputAxes(n *model.Network) map[string]int {
	axes := map[string]int{}
	for i := range n.Layers {
		if l := &n.Layers[i]; l.Kind != model.ConvTranspose {
			axes[l.Name] = 1
		}
	}
	return axes
}

// silence sets to zero what the output channels that a kernel of shape from
// has read beyond it, in a kernel of shape to.
func silence(kernel []float32, to, from []int, input int) {
	side := min(to[2], from[2])
	for o := range to[0] {
		for i := range to[1] {
			at := [2]int{o, i}
			if at[1-input] >= from[1-input] {
				continue // a new output channel may compute what it likes
			}
			silenceSquare(kernel, to, o, i, side, at[input] < from[input])
		}
	}
}

// silenceSquare sets the square of filter (o, i) to zero, except, if keep, the
// one of the given side in its middle.
func silenceSquare(kernel []float32, shape []int, o, i, side int, keep bool) {
	k := shape[2]
	margin := (k - side) / 2
	for y := range k {
		row := kernel[((o*shape[1]+i)*k+y)*k:][:k]
		if !keep || y < margin || y >= margin+side {
			clear(row)
			continue
		}
		clear(row[:margin])
		clear(row[margin+side:])
	}
}
