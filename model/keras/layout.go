package keras

import (
	"fmt"

	"github.com/evopose/evopose/model"
)

// tensor is a variable with its name in package model.
type tensor struct {
	variable
	name, layer string
	kind        model.Kind
}

// axes tells, for each kind of kernel, which of Keras's axes becomes which of
// ours. Keras has (kh, kw, in, out) for convolutions, (kh, kw, channel, 1) for
// depthwise and (kh, kw, out, in) for transposed ones; ours are in model.Kind.
var axes = map[model.Kind][4]int{
	model.Conv:          {3, 2, 0, 1},
	model.DepthwiseConv: {2, 3, 0, 1},
	model.ConvTranspose: {3, 2, 0, 1},
}

// vector reports whether the tensor is laid out alike in both.
func (t tensor) vector() bool { return t.kind == model.BatchNorm || t.name == t.layer+"/bias" }

// shape returns the shape in our layout.
func (t tensor) shape() ([]int, error) {
	in := t.variable.shape
	if t.vector() {
		if len(in) != 1 {
			return nil, fmt.Errorf("%s: shape %v: want one number", t.name, in)
		}
		return in, nil
	}
	if len(in) != 4 {
		return nil, fmt.Errorf("%s: shape %v: want four numbers, of a two-dimensional convolution", t.name, in)
	}
	out := make([]int, 4)
	for i, axis := range axes[t.kind] {
		out[i] = in[axis]
	}
	return out, nil
}

// read returns the values in our layout.
func (t tensor) read() ([]float32, error) {
	data, err := t.variable.read()
	if err != nil {
		return nil, err
	}
	if want := product(t.variable.shape); len(data) != want {
		return nil, fmt.Errorf("has %d values, its shape %v wants %d", len(data), t.variable.shape, want)
	}
	if t.vector() {
		return data, nil
	}
	return transpose(data, [4]int(t.variable.shape), axes[t.kind]), nil
}

// transpose returns src, of the given shape, with axis axes[i] in place i.
func transpose(src []float32, shape, axes [4]int) []float32 {
	stride := [4]int{shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1}
	a, b, c, d := axes[0], axes[1], axes[2], axes[3]
	dst := make([]float32, 0, len(src))
	for i := range shape[a] {
		for j := range shape[b] {
			for k := range shape[c] {
				for l := range shape[d] {
					dst = append(dst, src[i*stride[a]+j*stride[b]+k*stride[c]+l*stride[d]])
				}
			}
		}
	}
	return dst
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
