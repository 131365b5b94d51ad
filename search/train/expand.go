package train

import "github.com/evopose/evopose/model"

// expands reports whether conv and norm are a block's expansion: a 1x1
// convolution to more channels and its batch normalisation.
func expands(conv, norm *model.Layer) bool {
	return conv.Kind == model.Conv && conv.Kernel == 1 && !conv.Bias && wants(conv) &&
		conv.In.C < conv.Out.C && conv.In.H*conv.In.W > 1 &&
		norm.Kind == model.BatchNorm && norm.Inputs[0] == conv.Name
}

// expand is a block's expansion, convolution and batch normalisation together,
// without a pass over the expanded tensor other than the convolution's own.
//
// With X [in, M] all places' inputs, mu their mean and C = X X^T/M - mu mu^T
// their covariance, the convolution W [out, in] gives values of mean W mu and
// variance diag(W C W^T). So y = (scale W) X + shift, where
//
//	scale = gamma / sqrt(variance + epsilon), shift = beta - mean scale
//
// Backward, with P = dY X^T and r = 1/sqrt(variance + epsilon), the formulas of
// batchNorm become
//
//	dbeta = sum dY, dgamma = r (diag(W P^T) - mean dbeta)
//	dW = scale (P - dbeta mu^T) - scale r dgamma W C
//	dX = (scale W)^T dY + W^T (b W) X + W^T c
//
// where b = -scale r dgamma/M, c = -scale dbeta/M - b mean, and factors of
// length out multiply rows. With the moving statistics
//
//	dW = scale P, dX = (scale W)^T dY
func (t *tape) expand(conv, norm *model.Layer, x value) value {
	in, out := conv.In.C, conv.Out.C
	count := float64(x.shape[0] * x.shape[2] * x.shape[3])
	column := func(v value) value { return t.reshape(v, v.len(), 1) }
	w := t.reshape(t.param(conv, "kernel"), out, in)
	plain := t.toPlanes(x)

	var mu, wc, mean, variance value
	if t.frozen {
		mean, variance = column(t.param(norm, "moving_mean")), column(t.param(norm, "moving_variance"))
	} else {
		flat := t.flat(plain)
		mu = column(t.times(t.channelSums(x), 1/count))
		gram := t.times(t.products(flat, flat), 1/count)
		wc = t.matmul(w, t.sub(gram, t.matmul(mu, mu, false, true)), false, false)
		mean = t.matmul(w, mu, false, false)
		variance = t.sum(t.mul(wc, w), 1)
		t.keepStatistics(norm, mean, variance)
	}

	rstd := t.div(t.scalar(1), t.unary("Sqrt", t.add(variance, t.scalar(model.Epsilon))))
	scale := t.mul(column(t.param(norm, "gamma")), rstd)
	shift := t.sub(column(t.param(norm, "beta")), t.mul(mean, scale))
	scaled := t.mul(w, scale)
	var y value
	if t.fills(out) {
		y = t.expandBlocked(norm, x, scaled, shift)
	} else {
		x = plain
		y = t.conv(convolution{op: "Conv"}, x, t.reshape(scaled, out, in, 1, 1), out, t.reshape(shift, out))
	}

	t.onBackward(norm, func(dy value) {
		p := t.transpose(t.outer(plain, dy), 1, 0)
		dbeta := column(t.channelSums(dy))
		dgamma := t.mul(rstd, t.sub(t.sum(t.mul(w, p), 1), t.mul(mean, dbeta)))
		t.setGrad(norm, "beta", dbeta)
		t.setGrad(norm, "gamma", dgamma)
		if t.frozen {
			t.setGrad(conv, "kernel", t.mul(scale, p))
			t.gradient(conv.Inputs[0], t.expandDirect(x, dy, scaled))
			return
		}

		k := t.mul(scale, t.mul(rstd, dgamma))
		centred := t.sub(p, t.matmul(dbeta, mu, false, true))
		t.setGrad(conv, "kernel", t.sub(t.mul(scale, centred), t.mul(k, wc)))

		b := t.times(k, -1/count)
		c := t.sub(t.times(t.mul(scale, dbeta), -1/count), t.mul(b, mean))
		if dy.blocked {
			t.gradient(conv.Inputs[0], t.expandBlockedBack(x, dy, w, scaled, b, c))
		} else {
			t.gradient(conv.Inputs[0], t.expandPlainBack(x, dy, w, scaled, b, c))
		}
	})
	return y
}

// expandDirect returns (scale W)^T dY, and what is added to it, in dy's layout.
func (t *tape) expandDirect(x, dy, scaled value, plus ...value) value {
	if dy.blocked {
		more := append([]value{{}}, plus...) // no bias
		return t.cropped(t.blockedDense(convolution{}, dy, t.blockKernel(t.paddedMatrix(scaled), true), more...), scaled.shape[1])
	}
	y := t.matmul(scaled, t.flat(dy), true, false)
	for _, p := range plus {
		y = t.add(y, p)
	}
	return t.reshape(y, x.shape...)
}

// expandPlainBack returns dX for tensors in planes; w and scaled are [out, in], b
// and c [out, 1].
func (t *tape) expandPlainBack(x, dy, w, scaled, b, c value) value {
	through := t.matmul(t.matmul(w, t.mul(b, w), true, false), t.flat(x), false, false)
	constant := t.reshape(t.matmul(w, c, true, false), 1, w.shape[1], 1)
	return t.expandDirect(x, dy, scaled, t.add(through, constant))
}

// expandBlocked returns y in the blocked layout.
func (t *tape) expandBlocked(norm *model.Layer, x, scaled, shift value) value {
	x = t.paddedBlocks(x)
	kernel, bias := t.blockKernel(t.paddedMatrix(scaled), false), t.reshape(shift, scaled.shape[0])
	if t.save {
		t.sigmoids[norm.Name] = func(after value) value {
			return t.blockedDense(convolution{activation: "Sigmoid"}, x, kernel, t.late(bias, after))
		}
	}
	return t.blockedDense(convolution{}, x, kernel, bias)
}

// expandBlockedBack is expandPlainBack for a dy in the blocked layout. What the
// channels of padding get is zero, and cut off.
func (t *tape) expandBlockedBack(x, dy, w, scaled, b, c value) value {
	w = t.paddedMatrix(w)
	constant := t.reshape(t.matmul(w, c, true, false), w.shape[1])
	square := t.matmul(w, t.mul(b, w), true, false) // symmetric
	through := t.blockedDense(convolution{}, t.paddedBlocks(x), t.blockKernel(square, false), constant)
	return t.expandDirect(x, dy, scaled, through)
}
