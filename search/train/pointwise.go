package train

import (
	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

// Convolutions over all channels in the blocked layout. Kernels lie as [O/b, I/b,
// k, k, b(in), b(out)] there, called [O, I, k, k]. Channels that do not fill
// their last block are followed by zeros: such a tensor or kernel is called by
// the padded number.

// fills reports whether c channels are whole blocks.
func (t *tape) fills(c int) bool { return t.block > 0 && c%t.block == 0 }

func (t *tape) padded(c int) int { return (c + t.block - 1) / t.block * t.block }

// paddedBlocks returns x in the blocked layout, with as many channels more as
// its last block needs.
func (t *tape) paddedBlocks(x value) value {
	c := x.shape[1]
	if more := (4 - c%4) % 4; more > 0 { // ReorderInput takes fours only
		x = t.pad(x, []int{0, 0, 0, 0}, []int{0, more, 0, 0})
	}
	x = t.toBlocks(x)
	x.shape = []int{x.shape[0], t.padded(c), x.shape[2], x.shape[3]}
	return x
}

// cropped returns the first c channels of a blocked x, in planes where they do
// not fill their blocks.
func (t *tape) cropped(x value, c int) value {
	if x.shape[1] == c {
		return x
	}
	return t.emit(node{op: "ReorderOutput", domain: nchwc, in: []value{x}, shape: []int{x.shape[0], c, x.shape[2], x.shape[3]},
		attrs: []onnx.Attribute{integer("channels", c)}})
}

// paddedMatrix returns the kernel of a 1x1 convolution, [out, in], with zeros up
// to whole blocks.
func (t *tape) paddedMatrix(w value) value {
	out, in := w.shape[0], w.shape[1]
	w = t.reshape(w, out, in)
	if out == t.padded(out) && in == t.padded(in) {
		return w
	}
	return t.pad(w, []int{0, 0}, []int{t.padded(out) - out, t.padded(in) - in})
}

// blockKernel returns a kernel [O, I, k, k] or [O, I] in the blocked layout, one
// of [O, I] with O and I exchanged if turned.
func (t *tape) blockKernel(w value, turned bool) value {
	o, i, b := w.shape[0], w.shape[1], t.block
	switch {
	case turned:
		return t.reshape(t.transpose(t.reshape(w, o, i/b, b), 1, 0, 2), i, o, 1, 1)
	case len(w.shape) == 2:
		return t.reshape(t.transpose(t.reshape(w, o/b, b, i), 0, 2, 1), o, i, 1, 1)
	}
	kh, kw := w.shape[2], w.shape[3]
	return t.reshape(t.transpose(t.reshape(w, o/b, b, i/b, b, kh, kw), 0, 2, 4, 5, 3, 1), o, i, kh, kw)
}

// blockedDense convolves a blocked x with a kernel in the blocked layout; more
// are a bias and a tensor to add to the result.
func (t *tape) blockedDense(c convolution, x, kernel value, more ...value) value {
	c.op, c.domain = "Conv", nchwc
	v := t.conv(c, x, kernel, kernel.shape[0], more...)
	v.blocked = true
	return v
}

// dense convolves x with a kernel [O, I, k, k] in x's layout and adds plus, if
// there is one.
func (t *tape) dense(pads [4]int, x, kernel value, plus ...value) value {
	if x.blocked {
		var more []value
		if len(plus) > 0 {
			more = []value{{}, plus[0]}
		}
		return t.blockedDense(convolution{pads: pads}, x, t.blockKernel(kernel, false), more...)
	}
	y := t.conv(convolution{op: "Conv", pads: pads}, x, kernel, kernel.shape[0])
	for _, p := range plus {
		y = t.add(y, p)
	}
	return y
}

// outer returns the sum over samples and places of a b^T, [A, B]. a is plain.
func (t *tape) outer(a, b value) value {
	if !b.blocked {
		return t.products(t.flat(a), t.flat(b))
	}
	n, rows, columns, m := a.shape[0], a.shape[1], b.shape[1], a.shape[2]*a.shape[3]
	blocks := columns / t.block
	var sum value // [blocks, A, b]
	if rows*columns < (rows+columns)*m {
		sum = t.sum(t.sampleProducts(a, b), 0)
	} else {
		side := t.reshape(t.transpose(t.flat(a), 1, 0, 2), 1, rows, n*m)
		places := t.transpose(t.reshape(b, n, blocks, m*t.block), 1, 0, 2)
		sum = t.matmul(side, t.reshape(places, blocks, n*m, t.block), false, false)
	}
	return t.reshape(t.transpose(t.reshape(sum, blocks, rows, t.block), 1, 0, 2), rows, columns)
}

// sampleProducts returns for each sample the sum over the places of a b^T, [N,
// B/b, A, b], for a plain a and a blocked b.
func (t *tape) sampleProducts(a, b value) value {
	n, m, blocks := a.shape[0], a.shape[2]*a.shape[3], b.shape[1]/t.block
	return t.matmul(t.reshape(a, n, 1, a.shape[1], m), t.reshape(b, n, blocks, m, t.block), false, false)
}

// pointwiseBlocked is pointwise for a blocked x.
func (t *tape) pointwiseBlocked(l *model.Layer, x value) value {
	w := t.paddedMatrix(t.param(l, "kernel"))
	var bias []value
	if l.Bias {
		bias = append(bias, t.pad(t.param(l, "bias"), []int{0}, []int{w.shape[0] - l.Out.C}))
	}
	y := t.cropped(t.blockedDense(convolution{}, x, t.blockKernel(w, false), bias...), l.Out.C)
	t.onBackward(l, func(dy value) {
		t.biasGrad(l, dy)
		t.setGrad(l, "kernel", t.outer(t.toPlanes(dy), x))
		t.gradient(l.Inputs[0], t.blockedDense(convolution{}, t.paddedBlocks(dy), t.blockKernel(w, true)))
	})
	return y
}

// gates reports whether mul and conv are the end of a block that gated can
// compute: a gate for each plane and a 1x1 convolution. With more channels than
// pixels the kernels of all samples would be larger than what they save.
func (t *tape) gates(mul, conv *model.Layer) bool {
	return mul.Kind == model.Multiply && conv.Kind == model.Conv && conv.Kernel == 1 && conv.Stride == 1 && !conv.Bias &&
		conv.Inputs[0] == mul.Name && t.fills(conv.In.C) && t.padded(conv.Out.C) < conv.In.H*conv.In.W
}

// gated is multiply and pointwise together, without the product of x [N,C,H,W]
// and gate [N,C,1,1]: each sample n has a kernel of its own, W_n = W diag(g_n),
// and is a group of one convolution. With the products Q_n = dY_n X_n^T,
//
//	dW = sum_n Q_n diag(g_n), dg_n = diag(W^T Q_n), dX_n = W_n^T dY_n
func (t *tape) gated(mul, conv *model.Layer, x, gate value) value {
	n, in, out, b := t.batch, conv.In.C, conv.Out.C, t.block
	x = t.toBlocks(x)
	w := t.paddedMatrix(t.param(conv, "kernel"))
	outs := w.shape[0]
	kernel := t.mul(t.reshape(t.blockKernel(w, false), 1, outs/b, in/b, b, b), t.reshape(gate, n, 1, in/b, b, 1))
	y := t.groups(x, t.reshape(kernel, n*outs, in, 1, 1))
	t.onBackward(conv, func(dy value) {
		q := t.sampleProducts(t.toPlanes(dy), x) // [N, in/b, out, b]
		dw := t.sum(t.mul(q, t.reshape(gate, n, in/b, 1, b)), 0)
		t.setGrad(conv, "kernel", t.transpose(t.reshape(dw, in/b, out, b), 1, 0, 2))
		dyb := t.paddedBlocks(dy)
		t.scaledGradient(mul.Inputs[0], func(shift ...value) value {
			back := t.mul(t.reshape(t.blockKernel(w, true), 1, in/b, outs/b, b, b), t.reshape(gate, n, in/b, 1, 1, b))
			return t.groups(dyb, t.reshape(back, n*in, outs, 1, 1), shift...)
		})
		rows := t.transpose(t.reshape(t.param(conv, "kernel"), out, in/b, b), 1, 0, 2)
		dgate := t.sum(t.mul(q, t.reshape(rows, 1, in/b, out, b)), 2)
		t.gradient(mul.Inputs[1], t.reshape(dgate, n, in, 1, 1))
	})
	return t.cropped(y, out)
}

// groups is a 1x1 convolution of each sample of a blocked x with its own kernel,
// [N*O, I, 1, 1], and its own bias [N,O,1,1], if there is one.
func (t *tape) groups(x, kernel value, bias ...value) value {
	n, h, w := x.shape[0], x.shape[2], x.shape[3]
	var more []value
	for _, v := range bias {
		more = append(more, t.reshape(v, v.len()))
	}
	y := t.blockedDense(convolution{group: n}, t.reshape(x, 1, n*x.shape[1], h, w), kernel, more...)
	y = t.reshape(y, n, kernel.shape[0]/n, h, w)
	y.blocked = true
	return y
}
