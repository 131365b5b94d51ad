package train

import "github.com/evopose/evopose/model"

// depthwise is a convolution of each channel by its own kernel, [C, 1, k, k].
// Towards its input the gradient is the convolution of dy, spread out to the
// input's places, with the kernel turned by 180 degrees; towards the kernel it
// is the convolution of x with dy as its kernel, one for each sample and
// channel, dilated by the stride.
func (t *tape) depthwise(l *model.Layer, x value) value {
	if t.block > 0 && l.Out.C%t.block == 0 {
		return t.depthwiseBlocked(l, x)
	}
	c, k := l.Out.C, l.Kernel
	kernel := t.param(l, "kernel")
	y := t.conv(convolution{op: "Conv", group: c, stride: l.Stride, pads: l.Pads}, x, kernel, c)
	t.onBackward(l, func(dy value) {
		turned := t.slice(t.slice(kernel, 2, k-1, -1, k), 3, k-1, -1, k)
		spread, pads := t.spread(l, dy, 1)
		t.gradient(l.Inputs[0], t.conv(convolution{op: "Conv", group: c, pads: pads}, spread, turned, c))

		if t.gpu {
			t.setGrad(l, "kernel", t.rowProducts(l, x, dy))
			return
		}
		n := x.shape[0]
		all := t.reshape(x, 1, n*c, x.shape[2], x.shape[3])
		filters := t.reshape(dy, n*c, 1, dy.shape[2], dy.shape[3])
		d := t.conv(convolution{op: "Conv", group: n * c, dilation: l.Stride, pads: l.Pads}, all, filters, n*c)
		t.setGrad(l, "kernel", t.sum(t.reshape(d, n, c, k, k), 0))
	})
	return y
}

// spread puts zeros between the places of dy, whose channels are in blocks of
// block, for a stride above 1, and returns with it the padding with which a
// convolution of stride 1 gives the input's size.
func (t *tape) spread(l *model.Layer, dy value, block int) (value, [4]int) {
	k, s := l.Kernel, l.Stride
	// The zeros behind the last place take the place of padding.
	pads := [4]int{k - 1 - l.Pads[0], k - 1 - l.Pads[1], k - l.Pads[2] - s, k - l.Pads[3] - s}
	if s == 1 {
		return dy, pads
	}
	n, c, h, w := dy.shape[0], dy.shape[1], dy.shape[2], dy.shape[3]
	columns := t.widen(t.reshape(dy, n*c*h/block, w, block), block*(s-1))
	rows := t.widen(t.reshape(columns, n*c/block, h, s*w*block), s*w*block*(s-1))
	return t.reshape(rows, n, c, s*h, s*w), pads
}

// widen adds zeros behind the last axis of a tensor of rank 3.
func (t *tape) widen(x value, zeros int) value {
	return t.pad(x, []int{0, 0, 0}, []int{0, 0, zeros})
}

// depthwiseBlocked is depthwise in the blocked layout. A kernel is [C/b, k*k, b]
// there, called [C, 1, k, k].
func (t *tape) depthwiseBlocked(l *model.Layer, x value) value {
	c, k := l.Out.C, l.Kernel
	flat := t.reshape(t.param(l, "kernel"), c/t.block, t.block, k*k)
	kernel := t.transpose(flat, 0, 2, 1) // [C/b, k*k, b]
	xb := t.toBlocks(x)
	y := t.blockedConv(convolution{group: c, stride: l.Stride, pads: l.Pads}, xb, t.reshape(kernel, c, 1, k, k))
	t.onBackward(l, func(dy value) {
		turned := t.reshape(t.slice(kernel, 1, k*k-1, -1, k*k), c, 1, k, k)
		spread, pads := t.spread(l, dy, t.block)
		t.gradient(l.Inputs[0], t.blockedConv(convolution{group: c, pads: pads}, spread, turned))

		n := x.shape[0]
		all := t.reshape(xb, 1, n*c, x.shape[2], x.shape[3])
		filters := t.reshape(dy, n*c, 1, dy.shape[2], dy.shape[3])
		d := t.blockedConv(convolution{group: n * c, dilation: l.Stride, pads: l.Pads}, all, filters)
		sum := t.sum(t.reshape(d, n, c/t.block, k*k, t.block), 0)
		t.setGrad(l, "kernel", t.transpose(t.reshape(sum, c/t.block, k*k, t.block), 0, 2, 1))
	})
	return y
}
