package train

import "github.com/evopose/evopose/model/onnx"

// The blocked layout, the runtime's own for convolutions on the CPU (NCHWc): b
// channels of a pixel lie together, [N, C/b, H, W, b], b = tape.block. Such a
// tensor is called by its plain shape [N, C, H, W]. The samples' blocks lie
// behind each other, so [N, C] is also [1, N*C], and a tensor of one pixel is
// the same in both layouts.
//
// Depthwise convolutions in it are several times as fast as on planes, and with
// kernels of one pixel they multiply, add a bias and add a tensor in one pass.

// toBlocks returns x in the blocked layout.
func (t *tape) toBlocks(x value) value {
	if x.blocked {
		return x
	}
	v := t.emit(node{op: "ReorderInput", domain: nchwc, in: []value{x}, shape: x.shape})
	v.blocked = true
	return v
}

// toPlanes returns x in the plain layout.
func (t *tape) toPlanes(x value) value {
	if !x.blocked {
		return x
	}
	return t.emit(node{op: "ReorderOutput", domain: nchwc, in: []value{x}, shape: x.shape,
		attrs: []onnx.Attribute{integer("channels", x.shape[1])}})
}

// blockedConv is a depthwise convolution in the blocked layout.
func (t *tape) blockedConv(c convolution, x, kernel value, more ...value) value {
	c.op, c.domain = "Conv", nchwc
	v := t.conv(c, x, kernel, c.group, more...)
	v.blocked = true
	return v
}

// scaleChannels returns factor*x + shift (+ plus), factor and shift with a value
// for each channel. A shift without a name is left out.
func (t *tape) scaleChannels(x, factor, shift value, plus ...value) value {
	if x.blocked {
		return t.scaleRows(x, convolution{group: x.shape[1]}, factor, shift, plus...)
	}
	y := t.mul(x, t.perChannel(factor))
	if shift.name != "" {
		y = t.add(y, t.perChannel(shift))
	}
	for _, p := range plus {
		y = t.add(y, p)
	}
	return y
}

// scalePlanes returns factor*x + shift with a value for each plane, [N,C,1,1].
func (t *tape) scalePlanes(x, factor value, shift ...value) value {
	if !x.blocked {
		y := t.mul(x, factor)
		for _, s := range shift {
			y = t.add(y, s)
		}
		return y
	}
	planes := x.shape[0] * x.shape[1]
	if len(shift) == 0 {
		return t.scaleRows(x, convolution{group: planes}, factor, value{})
	}
	return t.scaleRows(x, convolution{group: planes}, factor, shift[0])
}

// scaleRows takes a blocked x for samples of as many channels as o's group has,
// each of one row.
func (t *tape) scaleRows(x value, o convolution, factor, shift value, plus ...value) value {
	c := o.group
	n, row := x.shape[0]*x.shape[1]/c, x.shape[2]*x.shape[3]
	var more []value
	switch {
	case shift.name != "":
		more = append(more, t.reshape(shift, c))
	case len(plus) > 0:
		more = append(more, value{}) // an input that is left out
	}
	for _, p := range plus {
		more = append(more, t.reshape(p, n, c, 1, row))
	}
	y := t.blockedConv(o, t.reshape(x, n, c, 1, row), t.reshape(factor, c, 1, 1, 1), more...)
	y = t.reshape(y, x.shape...)
	y.blocked = true
	return y
}

// planeMeans returns the mean of each plane, [N,C,1,1].
func (t *tape) planeMeans(x value) value {
	if !x.blocked {
		return t.times(t.sum(x, 2, 3), 1/float64(x.shape[2]*x.shape[3]))
	}
	return t.emit(node{op: "GlobalAveragePool", domain: nchwc, in: []value{x}, shape: []int{x.shape[0], x.shape[1], 1, 1}})
}

// channelSums returns the sum of each channel, [1,C,1,1].
func (t *tape) channelSums(x value) value {
	switch {
	case t.gpu:
		return t.sum(t.sum(x, 2, 3), 0)
	case !x.blocked:
		return t.sum(x, 0, 2, 3)
	}
	return t.times(t.sum(t.planeMeans(x), 0), float64(x.shape[2]*x.shape[3]))
}

// smallPlane is the number of pixels below which multiplying and adding up a
// plane is faster than a product of matrices as small.
const smallPlane = 512

// dots returns the dot product of each plane of a and b, [N,C,1,1].
func (t *tape) dots(a, b value) value {
	n, c, hw := a.shape[0], a.shape[1], a.shape[2]*a.shape[3]
	switch {
	case a.blocked: // a kernel as large as the plane
		d := t.blockedConv(convolution{group: n * c}, t.reshape(a, 1, n*c, 1, hw), t.reshape(b, n*c, 1, 1, hw))
		return t.reshape(d, n, c, 1, 1)
	case hw < smallPlane || t.gpu:
		return t.sum(t.mul(a, b), 2, 3)
	}
	return t.matmul(t.reshape(a, n, c, 1, hw), t.reshape(b, n, c, 1, hw), false, true)
}
