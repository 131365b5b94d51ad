package train

import "github.com/evopose/evopose/model"

// denseConv is a convolution over all channels, kernel [out, in, k, k].
func (t *tape) denseConv(l *model.Layer, x value) value {
	switch {
	case l.In.H*l.In.W == 1:
		return t.fullyConnected(l, x)
	case l.Kernel == 1 && l.Stride == 1 && t.fills(l.In.C) && wants(l):
		return t.pointwiseBlocked(l, t.toBlocks(x))
	case l.Kernel == 1 && l.Stride == 1:
		return t.pointwise(l, x)
	}
	return t.windowed(l, x)
}

// biased adds the bias of a layer that has one to y.
func (t *tape) biased(l *model.Layer, y value) value {
	if !l.Bias {
		return y
	}
	return t.add(y, t.perChannel(t.param(l, "bias")))
}

func (t *tape) biasGrad(l *model.Layer, dy value) {
	if l.Bias {
		t.setGrad(l, "bias", t.channelSums(dy))
	}
}

// fullyConnected is a 1x1 convolution of [N,C,1,1]: Y = X W^T, so
// dW = dY^T X and dX = dY W.
func (t *tape) fullyConnected(l *model.Layer, x value) value {
	in, out := l.In.C, l.Out.C
	w := t.reshape(t.param(l, "kernel"), out, in)
	x2 := t.reshape(x, t.batch, in)
	y := t.biased(l, t.reshape(t.matmul(x2, w, false, true), t.batch, out, 1, 1))
	t.onBackward(l, func(dy value) {
		t.biasGrad(l, dy)
		dy = t.reshape(dy, t.batch, out)
		t.setGrad(l, "kernel", t.matmul(dy, x2, true, false))
		t.gradient(l.Inputs[0], t.reshape(t.matmul(dy, w, false, false), t.batch, in, 1, 1))
	})
	return y
}

// pointwise is a 1x1 convolution: for each sample Y = W X with X [in, H*W], so
// dW = sum over the samples of dY X^T, and dX = W^T dY.
func (t *tape) pointwise(l *model.Layer, x value) value {
	in, out := l.In.C, l.Out.C
	x, kernel := t.toPlanes(x), t.param(l, "kernel")
	y := t.biased(l, t.conv(convolution{op: "Conv"}, x, kernel, out))
	t.onBackward(l, func(dy value) {
		t.biasGrad(l, dy)
		t.setGrad(l, "kernel", t.outer(dy, x))
		if wants(l) {
			dx := t.matmul(t.reshape(kernel, out, in), t.flat(dy), true, false)
			t.gradient(l.Inputs[0], t.reshape(dx, x.shape...))
		}
	})
	return y
}

// products returns the sum over the samples of a b^T, [A,B], for a [N,A,M] and b
// [N,B,M]. Where the N products are larger than what they are made of, the
// samples are laid side by side and there is one product.
func (t *tape) products(a, b value) value {
	n, rows, columns, m := a.shape[0], a.shape[1], b.shape[1], a.shape[2]
	if rows*columns < (rows+columns)*m {
		return t.reshape(t.sum(t.matmul(a, b, false, true), 0), rows, columns)
	}
	side := func(x value) value { return t.reshape(t.transpose(x, 1, 0, 2), x.shape[1], n*m) }
	return t.matmul(side(a), side(b), false, true)
}

// windowed is a convolution with a kernel larger than 1x1: the stem's. Its
// input is the picture, which needs no gradient.
func (t *tape) windowed(l *model.Layer, x value) value {
	if wants(l) {
		panic("train: layer " + l.Name + ": dense k x k convolutions are differentiated by their kernels only")
	}
	y := t.biased(l, t.conv(convolution{op: "Conv", stride: l.Stride, pads: l.Pads}, x, t.param(l, "kernel"), l.Out.C))
	t.onBackward(l, func(dy value) {
		t.biasGrad(l, dy)
		windows := t.windows(x, l.Kernel, l.Stride, l.Pads)
		d := t.transpose(t.outer(windows, dy), 1, 0)
		t.setGrad(l, "kernel", t.kernelOf(t.reshape(d, 1, l.Out.C, windows.shape[1]), l.Kernel))
	})
	return y
}

// windows lays out what each place of a convolution's output sees ("im2col"):
// [N, k*k*C, h, w], channels in the order (row, column, channel).
func (t *tape) windows(x value, k, stride int, pads [4]int) value {
	padded := t.pad(x, []int{0, 0, pads[0], pads[1]}, []int{0, 0, pads[2], pads[3]})
	h, w := (padded.shape[2]-k)/stride+1, (padded.shape[3]-k)/stride+1
	var parts []value
	for i := range k {
		rows := t.slice(padded, 2, i, stride, h)
		for j := range k {
			parts = append(parts, t.slice(rows, 3, j, stride, w))
		}
	}
	return t.concat(1, parts...)
}

// kernelOf sums d [N, A, k*k*B] over the samples and returns it as a kernel
// [A, B, k, k].
func (t *tape) kernelOf(d value, k int) value {
	a, b := d.shape[1], d.shape[2]/(k*k)
	sum := t.reshape(t.sum(d, 0), a, k*k, b)
	return t.reshape(t.transpose(sum, 0, 2, 1), a, b, k, k)
}

// transposed is a transposed convolution, kernel [in, out, k, k]. It is the
// gradient of a convolution, so its own gradient by x is that convolution:
// with the windows D of dy, dX = K D and dK = X D^T.
func (t *tape) transposed(l *model.Layer, x value) value {
	x, kernel := t.toPlanes(x), t.param(l, "kernel")
	within, after := l.Pads, [4]int{}
	if t.gpu { // CUDA leaves uneven padding to the CPU
		within, after = after, within
	}
	y := t.cut(t.conv(convolution{op: "ConvTranspose", stride: l.Stride, pads: within}, x, kernel, l.Out.C), after)
	t.onBackward(l, func(dy value) {
		windows := t.flat(t.windows(t.toPlanes(dy), l.Kernel, l.Stride, l.Pads))
		t.setGrad(l, "kernel", t.kernelOf(t.matmul(t.flat(x), windows, false, true), l.Kernel))
		flat := t.reshape(t.transpose(kernel, 0, 2, 3, 1), l.In.C, windows.shape[1])
		t.gradient(l.Inputs[0], t.reshape(t.matmul(flat, windows, false, false), x.shape...))
	})
	return y
}

// The phases of a 3x3 transposed convolution with stride 2: output (2i+a,
// 2j+b) is phase (a, b). Phase 0 of an axis sees kernel element 2 of input i-1
// and element 0 of input i; phase 1 sees element 1 of input i.
var phaseTaps = [2][]int{{2, 0}, {1}}

// phasedTranspose is the last transposed convolution (3x3, stride 2, output
// twice the input) with its four phases kept apart, stacked along the batch:
// [4N, C, H, W], phase (a, b) at 2a+b. Each is a small convolution; what
// follows works place by place, so that nothing ever has to be interleaved
// (Odena, Dumoulin, Olah 2016, on checkerboards,
// describe the phases).
func (t *tape) phasedTranspose(l *model.Layer, x value) value {
	kernel := t.param(l, "kernel")
	if t.fills(l.In.C) && t.fills(l.Out.C) {
		x = t.toBlocks(x)
	}
	// As a convolution the kernel is [out, in, k, k].
	k := t.transpose(kernel, 1, 0, 2, 3)
	var phases []value
	for a := range 2 {
		for b := range 2 {
			pads := [4]int{len(phaseTaps[a]) - 1, len(phaseTaps[b]) - 1, 0, 0}
			phases = append(phases, t.dense(pads, x, t.taps(k, phaseTaps[a], phaseTaps[b])))
		}
	}
	t.onBackward(l, func(dy value) { t.phasedBackward(l, x, kernel, dy) })
	y := t.concat(0, phases...)
	y.blocked = x.blocked
	return y
}

// taps picks kernel elements along both axes.
func (t *tape) taps(k value, rows, columns []int) value {
	pick := func(k value, axis int, at []int) value {
		step := 1
		if len(at) == 2 {
			step = at[1] - at[0]
		}
		return t.slice(k, axis, at[0], step, len(at))
	}
	return pick(pick(k, 2, rows), 3, columns)
}

// phasedBackward: input (i, j) met element (r, s) at the output's phase
// (a(r), b(s)), place (i + shift(r), j + shift(s)), shift 1 for element 2.
func (t *tape) phasedBackward(l *model.Layer, x, kernel, dy value) {
	n := t.batch
	phases := t.split(dy, n, n, n, n)
	for i := range phases {
		phases[i].blocked = dy.blocked
	}
	var dx []value
	for a := range 2 {
		for b := range 2 {
			// Towards x the taps are in rising order of places: element 0 of
			// place i, then element 2 of place i+1.
			rows, columns := []int{0, 2}[:len(phaseTaps[a])], []int{0, 2}[:len(phaseTaps[b])]
			if a == 1 {
				rows = phaseTaps[1]
			}
			if b == 1 {
				columns = phaseTaps[1]
			}
			pads := [4]int{0, 0, len(rows) - 1, len(columns) - 1}
			dx = []value{t.dense(pads, phases[2*a+b], t.taps(kernel, rows, columns), dx...)}
		}
	}
	t.gradient(l.Inputs[0], dx[0])
	t.setGrad(l, "kernel", t.phasedKernel(l, t.toPlanes(x), t.split(t.toPlanes(dy), n, n, n, n)))
}

// phasedKernel returns the kernel's gradient [in, out, 3, 3]: element (r, s)
// is the product of its phase with x shifted by its place.
func (t *tape) phasedKernel(l *model.Layer, x value, phases []value) value {
	h, w := x.shape[2], x.shape[3]
	// shifted[p][q] at (i, j) is x at (i-p, j-q).
	padded := t.pad(x, []int{0, 0, 1, 1}, []int{0, 0, 0, 0})
	var shifted [2][2]value
	for p := range 2 {
		rows := t.slice(padded, 2, 1-p, 1, h)
		for q := range 2 {
			shifted[p][q] = t.slice(rows, 3, 1-q, 1, w)
		}
	}
	shifted[0][0] = x
	var parts []value
	for r := range 3 {
		for s := range 3 {
			d := t.outer(shifted[r/2][s/2], phases[2*(r%2)+s%2])
			parts = append(parts, t.reshape(d, l.In.C, l.Out.C, 1))
		}
	}
	return t.reshape(t.concat(2, parts...), l.In.C, l.Out.C, 3, 3)
}
