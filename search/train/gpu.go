package train

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

// What CUDA is slow at, and the GPU formulation puts otherwise: sums over axes that do not lie
// together (channelSums), very many products of vectors (dots), convolutions
// whose kernel is a whole plane (rowProducts), vectors that are cut or put together
// value by value (slices, rows), and transposed convolutions with more padding on
// one side, which it leaves to the CPU (cut). Measured: docs/training.md.

// gpuRow is the row of vectors for a GPU.
const gpuRow = 64

// slices is parts: for Split and Concat of vectors the runtime makes a table with an
// entry for each value, on the CPU, and copies it to the GPU.
func (t *tape) slices(flat value, v vector) []value {
	parts, at := make([]value, len(v.params)), 0
	for i, p := range v.params {
		parts[i] = t.slice(flat, 0, at, 1, p.Len())
		at += v.span(p)
	}
	return parts
}

// rows is vector; the table has an entry for each row.
func (t *tape) rows(parts []value, v vector) value {
	size := 0
	for i, p := range v.params {
		span := v.span(p)
		if span > p.Len() {
			parts[i] = t.pad(parts[i], []int{0}, []int{span - p.Len()})
		}
		parts[i] = t.reshape(parts[i], span/v.row, v.row)
		size += span
	}
	return t.reshape(t.concat(0, parts...), size)
}

// cut returns x without what pads are, at its sides: top, left, bottom, right.
func (t *tape) cut(x value, pads [4]int) value {
	for axis := range 2 {
		if before, after := pads[axis], pads[axis+2]; before+after > 0 {
			x = t.slice(x, axis+2, before, 1, x.shape[axis+2]-before-after)
		}
	}
	return x
}

// rowProducts returns the gradient of a depthwise convolution's kernel, [C, k*k].
// Element (r, s) of a channel is
//
//	sum over samples n and places (i, j) of dy[n, i, j] x[n, stride*i+r, stride*j+s]
//
// for a padded x. For each r the sum over n and i, for all pairs of columns, is one
// product of matrices a channel; the sum over j takes those pairs that belong
// together. This computes far more than is needed, in units that are made for it,
// and reads each tensor once for each of the k rows.
func (t *tape) rowProducts(l *model.Layer, x, dy value) value {
	n, c, k := x.shape[0], x.shape[1], l.Kernel
	h, w := dy.shape[2], dy.shape[3]
	padded := t.pad(x, []int{0, 0, l.Pads[0], l.Pads[1]}, []int{0, 0, l.Pads[2], l.Pads[3]})
	xs := t.transpose(padded, 1, 0, 2, 3)
	wide := xs.shape[3]
	dys := t.reshape(t.transpose(dy, 1, 0, 2, 3), c, n*h, w)
	var products []value
	for r := range k {
		rows := t.reshape(t.slice(xs, 2, r, l.Stride, h), c, n*h, wide)
		products = append(products, t.reshape(t.matmul(dys, rows, true, false), c, 1, w*wide))
	}
	all := t.reshape(t.concat(1, products...), c*k, w*wide)
	return t.matmul(all, t.columnPairs(w, wide, k, l.Stride), false, false)
}

// columnPairs returns [w*wide, k], where column s has a one at (j, stride*j+s).
func (t *tape) columnPairs(w, wide, k, stride int) value {
	raw := make([]byte, 4*w*wide*k)
	for j := range w {
		for s := range k {
			at := (j*wide+stride*j+s)*k + s
			binary.LittleEndian.PutUint32(raw[4*at:], math.Float32bits(1))
		}
	}
	return t.constant(fmt.Sprintf("pairs_%d_%d_%d_%d", w, wide, k, stride), onnx.Float, []int{w * wide, k}, raw)
}
