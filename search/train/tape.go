package train

import (
	"fmt"

	"github.com/evopose/evopose/model"
)

// tape builds the forward pass of a network in training mode and remembers,
// for each layer, how to build its share of the backward pass: reverse-mode
// differentiation while the graph is written (Griewank, Walther, "Evaluating
// Derivatives", chapter 3).
//
// Tensors are [N, C, H, W]; behind the last transposed convolution they are
// [4N, C, H/2, W/2]: see phasedTranspose.
type tape struct {
	*graph
	batch  int
	block  int              // channels in a block of the blocked layout; 0: native operators only
	params map[string]value // by model.Param.Name
	gpu    bool             // native operators as a GPU is fast at
	save   bool             // compute sigmoids again in the backward pass
	frozen bool             // normalise with the moving statistics
	drops  value            // [adds, N]: what each residual branch is multiplied by; no name: 1

	outputs  map[string]value // of the layers, by name
	backward []func()         // in the order of the layers
	// grads and paramGrads are the loss's derivatives by layers' outputs and
	// by trainable parameters; statistics holds the batch's mean and variance
	// by the moving statistic's name.
	grads, paramGrads, statistics map[string]value
	scaled                        map[string]func(shift ...value) value
	adds                          int // residual additions so far
	// sigmoids hold, to save memory, how to compute the sigmoid of a layer's
	// output again, after another value and from what is kept anyway.
	sigmoids map[string]func(after value) value
}

// network appends the layers.
func (t *tape) network(layers []model.Layer) {
	last := 0
	for i := range layers {
		if layers[i].Kind == model.ConvTranspose {
			last = i
		}
	}
	for i := 0; i < len(layers); i++ {
		l := &layers[i]
		if i+1 < len(layers) && expands(l, &layers[i+1]) {
			t.outputs[layers[i+1].Name] = t.expand(l, &layers[i+1], t.outputs[l.Inputs[0]])
			i++
			continue
		}
		if i+1 < len(layers) && t.gates(l, &layers[i+1]) {
			t.outputs[layers[i+1].Name] = t.gated(l, &layers[i+1], t.outputs[l.Inputs[0]], t.outputs[l.Inputs[1]])
			i++
			continue
		}
		t.forward(l, i == last)
	}
}

// forward appends a layer; last tells the last transposed convolution.
func (t *tape) forward(l *model.Layer, last bool) {
	x := t.outputs[l.Inputs[0]]
	var y value
	switch l.Kind {
	case model.Conv:
		y = t.denseConv(l, x)
	case model.DepthwiseConv:
		y = t.depthwise(l, x)
	case model.ConvTranspose:
		if last {
			y = t.phasedTranspose(l, x)
		} else {
			y = t.transposed(l, x)
		}
	case model.BatchNorm:
		y = t.batchNorm(l, x)
	case model.Swish:
		y = t.swish(l, x)
	case model.Sigmoid:
		y = t.sigmoid(l, x)
	case model.GlobalPool:
		y = t.globalPool(l, x)
	case model.Multiply:
		y = t.multiply(l, x, t.outputs[l.Inputs[1]])
	case model.Add:
		y = t.residual(l, x, t.outputs[l.Inputs[1]])
	default:
		panic(fmt.Sprintf("train: layer %s: no derivative for kind %d", l.Name, l.Kind))
	}
	t.outputs[l.Name] = y
}

// onBackward registers how to get from the gradient of a layer's output to
// those of its inputs and parameters.
func (t *tape) onBackward(l *model.Layer, f func(dy value)) {
	t.backward = append(t.backward, func() {
		t.settle(l.Name)
		f(t.grads[l.Name])
	})
}

// gradient adds to the gradient of a layer's output, in that output's layout.
// d may be [N,C,1,1] where the output is larger: then it is the same at each
// place, and comes after a scaledGradient.
func (t *tape) gradient(layer string, d value) {
	if s, ok := t.scaled[layer]; ok && d.shape[2]*d.shape[3] == 1 {
		delete(t.scaled, layer)
		d = s(d)
	}
	t.settle(layer)
	if t.outputs[layer].blocked {
		d = t.toBlocks(d)
	} else {
		d = t.toPlanes(d)
	}
	if sum, ok := t.grads[layer]; ok {
		d = t.add(sum, d)
	}
	t.grads[layer] = d
}

// scaledGradient starts the gradient of a layer's output with one that is still
// to be computed, by f, so that what is the same at each place, shift [N,C,1,1],
// can be added with it.
func (t *tape) scaledGradient(layer string, f func(shift ...value) value) { t.scaled[layer] = f }

// settle computes the scaledGradient of a layer, if there is one.
func (t *tape) settle(layer string) {
	if s, ok := t.scaled[layer]; ok {
		delete(t.scaled, layer)
		t.gradient(layer, s())
	}
}

// wants reports whether a layer's input needs a gradient.
func wants(l *model.Layer) bool { return l.Inputs[0] != model.InputName }

// param returns a layer's parameter.
func (t *tape) param(l *model.Layer, name string) value { return t.params[l.Name+"/"+name] }

// setGrad stores the gradient of a layer's parameter, which has its shape or
// as many elements.
func (t *tape) setGrad(l *model.Layer, name string, d value) { t.paramGrads[l.Name+"/"+name] = d }

// flat reshapes [N,C,H,W] to [N,C,H*W].
func (t *tape) flat(x value) value {
	return t.reshape(x, x.shape[0], x.shape[1], x.shape[2]*x.shape[3])
}

// perChannel returns a vector of C values as [1,C,1,1].
func (t *tape) perChannel(v value) value { return t.reshape(v, 1, v.len(), 1, 1) }

// batchNorm normalises with the batch's statistics:
//
//	y = gamma (x - mean) / sqrt(variance + epsilon) + beta
//
// in the form scale*x + shift. With M = N*H*W values a channel and x^ the
// normalised x, its gradients are (Ioffe, Szegedy 2015)
//
//	dbeta = sum dy, dgamma = sum dy x^, dx = scale (dy - dbeta/M - x^ dgamma/M)
//
// With the moving statistics, which do not depend on x, dx = scale dy.
func (t *tape) batchNorm(l *model.Layer, x value) value {
	if t.fills(x.shape[1]) {
		x = t.toBlocks(x)
	}
	count := float64(x.shape[0] * x.shape[2] * x.shape[3])
	var mean, variance value
	if t.frozen {
		mean, variance = t.perChannel(t.param(l, "moving_mean")), t.perChannel(t.param(l, "moving_variance"))
	} else {
		mean = t.times(t.channelSums(x), 1/count)
		square := t.times(t.sum(t.dots(x, x), 0), 1/count)
		variance = t.sub(square, t.mul(mean, mean))
		t.keepStatistics(l, mean, variance)
	}
	rstd := t.div(t.scalar(1), t.unary("Sqrt", t.add(variance, t.scalar(model.Epsilon))))
	scale := t.mul(t.perChannel(t.param(l, "gamma")), rstd)
	shift := t.sub(t.perChannel(t.param(l, "beta")), t.mul(mean, scale))
	y := t.scaleChannels(x, scale, shift)
	if x.blocked && t.save {
		t.sigmoids[l.Name] = func(after value) value {
			return t.scaleRows(x, convolution{group: x.shape[1], activation: "Sigmoid"}, scale, t.late(shift, after))
		}
	}
	t.onBackward(l, func(dy value) {
		dbeta := t.channelSums(dy)
		dgamma := t.mul(rstd, t.sub(t.sum(t.dots(dy, x), 0), t.mul(mean, dbeta)))
		t.setGrad(l, "beta", dbeta)
		t.setGrad(l, "gamma", dgamma)
		if t.frozen {
			t.gradient(l.Inputs[0], t.scaleChannels(dy, scale, value{}))
			return
		}
		// dx = scale*dy + b*x + c
		b := t.times(t.mul(scale, t.mul(rstd, dgamma)), -1/count)
		c := t.sub(t.times(t.mul(scale, dbeta), -1/count), t.mul(b, mean))
		t.gradient(l.Inputs[0], t.scaleChannels(dy, scale, value{}, t.scaleChannels(x, b, c)))
	})
	return y
}

func (t *tape) keepStatistics(l *model.Layer, mean, variance value) {
	t.statistics[l.Name+"/moving_mean"] = mean
	t.statistics[l.Name+"/moving_variance"] = variance
}

// swish is x*sigmoid(x); with s the sigmoid and y the result its derivative is
// s + y (1 - s) = s (1 - y) + y. Where x can be had again, only y is kept.
func (t *tape) swish(l *model.Layer, x value) value {
	again := t.sigmoids[l.Inputs[0]]
	var s, y value
	if again != nil {
		y = t.unary("QuickGelu", x)
	} else {
		s = t.unary("Sigmoid", x)
		y = t.mul(x, s)
	}
	t.onBackward(l, func(dy value) {
		one := t.scalar(1)
		if again != nil {
			s, one = again(dy), t.late(one, dy)
		}
		slope := t.add(t.mul(s, t.sub(one, y)), y)
		t.gradient(l.Inputs[0], t.mul(dy, slope))
	})
	return y
}

// late returns a small v that is computed after another value. The runtime
// computes what needs no gradient before the backward pass, and would keep it
// until it is used.
func (t *tape) late(v, after value) value {
	first := t.slice(t.reshape(after, after.len()), 0, 0, 1, 1)
	if len(v.shape) > 0 {
		v = t.reshape(v, v.len())
	}
	return t.add(v, t.times(first, 0))
}

func (t *tape) sigmoid(l *model.Layer, x value) value {
	y := t.unary("Sigmoid", x)
	t.onBackward(l, func(dy value) {
		t.gradient(l.Inputs[0], t.mul(dy, t.mul(y, t.sub(t.scalar(1), y))))
	})
	return y
}

// globalPool is the mean over each plane, [N,C,1,1].
func (t *tape) globalPool(l *model.Layer, x value) value {
	area := float64(x.shape[2] * x.shape[3])
	y := t.planeMeans(x)
	t.onBackward(l, func(dy value) { t.gradient(l.Inputs[0], t.times(dy, 1/area)) })
	return y
}

// multiply scales each plane of x by the gate [N,C,1,1].
func (t *tape) multiply(l *model.Layer, x, gate value) value {
	y := t.scalePlanes(x, gate)
	t.onBackward(l, func(dy value) {
		t.scaledGradient(l.Inputs[0], func(shift ...value) value { return t.scalePlanes(dy, gate, shift...) })
		t.gradient(l.Inputs[1], t.dots(dy, x))
	})
	return y
}

// residual adds the branch to x. Drop-connect (stochastic depth: Huang et al.,
// ECCV 2016) multiplies the branch, sample by sample, by 0 or 1/(1-rate).
func (t *tape) residual(l *model.Layer, x, branch value) value {
	if x.blocked != branch.blocked { // the same channels, so both can be either
		x, branch = t.toBlocks(x), t.toBlocks(branch)
	}
	var drop value
	if t.drops.name != "" && l.DropRate > 0 {
		drop = t.reshape(t.slice(t.drops, 0, t.adds, 1, 1), t.batch, 1, 1, 1)
		branch = t.mul(branch, drop)
		t.adds++
	}
	t.onBackward(l, func(dy value) {
		t.gradient(l.Inputs[0], dy)
		if drop.name != "" {
			dy = t.mul(dy, drop)
		}
		t.gradient(l.Inputs[1], dy)
	})
	return t.add(x, branch)
}
