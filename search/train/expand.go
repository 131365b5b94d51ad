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
// length out multiply rows.
func (t *tape) expand(conv, norm *model.Layer, x value) value {
	in, out := conv.In.C, conv.Out.C
	count := float64(x.shape[0] * x.shape[2] * x.shape[3])
	column := func(v value) value { return t.reshape(v, v.len(), 1) }
	w := t.reshape(t.param(conv, "kernel"), out, in)
	flat := t.flat(x)

	mu := column(t.times(t.sum(x, 0, 2, 3), 1/count))
	gram := t.times(t.products(flat, flat), 1/count)
	wc := t.matmul(w, t.sub(gram, t.matmul(mu, mu, false, true)), false, false)
	mean := t.matmul(w, mu, false, false)
	variance := t.sum(t.mul(wc, w), 1)
	t.keepStatistics(norm, mean, variance)

	rstd := t.div(t.scalar(1), t.unary("Sqrt", t.add(variance, t.scalar(model.Epsilon))))
	scale := t.mul(column(t.param(norm, "gamma")), rstd)
	shift := t.sub(column(t.param(norm, "beta")), t.mul(mean, scale))
	scaled := t.mul(w, scale)
	y := t.conv(convolution{op: "Conv"}, x, t.reshape(scaled, out, in, 1, 1), out, t.reshape(shift, out))

	t.onBackward(norm, func(dy value) {
		d := t.flat(dy)
		p := t.products(d, flat)
		dbeta := column(t.sum(dy, 0, 2, 3))
		dgamma := t.mul(rstd, t.sub(t.sum(t.mul(w, p), 1), t.mul(mean, dbeta)))
		t.setGrad(norm, "beta", dbeta)
		t.setGrad(norm, "gamma", dgamma)

		k := t.mul(scale, t.mul(rstd, dgamma))
		centred := t.sub(p, t.matmul(dbeta, mu, false, true))
		t.setGrad(conv, "kernel", t.sub(t.mul(scale, centred), t.mul(k, wc)))

		b := t.times(k, -1/count)
		c := t.sub(t.times(t.mul(scale, dbeta), -1/count), t.mul(b, mean))
		direct := t.matmul(scaled, d, true, false)
		through := t.matmul(t.matmul(w, t.mul(b, w), true, false), flat, false, false)
		constant := t.reshape(t.matmul(w, c, true, false), 1, in, 1)
		dx := t.add(direct, t.add(through, constant))
		t.gradient(conv.Inputs[0], t.reshape(dx, x.shape...))
	})
	return y
}
