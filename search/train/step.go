package train

import (
	"github.com/evopose/evopose/model"
)

// Adam's constants (Kingma, Ba 2015, with Keras's epsilon).
const (
	beta1       = 0.9
	beta2       = 0.999
	adamEpsilon = 1e-7
)

// The names of a training step's inputs and outputs.
const (
	inWeights, inFirst, inSecond, inMoving     = "weights", "first_moment", "second_moment", "moving"
	inRate, inTargetX, inTargetY, inValid      = "rate", "target_x", "target_y", "valid"
	inDrops                                    = "drops"
	outWeights, outFirst, outSecond, outMoving = "new_weights", "new_first_moment", "new_second_moment", "new_moving"
	outLoss, outGradient                       = "loss", "gradient"
)

// stepOptions say what a step's graph computes.
type stepOptions struct {
	Batch int
	// Block is the number of channels in a block of the runtime's blocked
	// layout, 0 for a graph of native operators only.
	Block int
	// GPU puts native operators as a GPU is fast at: see gpu.go.
	GPU bool
	// SaveMemory computes again in the backward pass what is cheap to compute.
	SaveMemory bool
	// L2 is the weight of the sum of the squared kernels in the loss.
	L2 float64
	// DropConnect makes residual branches drop out.
	DropConnect bool
	// FreezeBN normalises with the moving statistics, which stay.
	FreezeBN bool
	// Gradient makes the gradient an output, for tests.
	Gradient bool
}

// phases is by how much the last transposed convolution's output is stacked
// along the batch.
const phases = 4

// stepGraph is a training step as one ONNX graph: forward pass, loss, backward
// pass, Adam and the moving statistics.
type stepGraph struct {
	onnx            []byte
	layout          *layout
	inputs, outputs []string
	drops           int // residual additions that may drop out
}

// buildStep writes the graph. With P trainable values and S moving ones, N the
// batch, h x w the heatmaps' size, its inputs are
//
//	weights, first_moment, second_moment [P]; moving [S]
//	rate [1]: Adam's, with its bias correction
//	image [N,3,H,W]
//	target_x [4N,17,1,w/2], target_y [4N,17,h/2,1]: the target's factors, see target
//	valid [4N,17,1,1]: the weight of a keypoint's heatmap in the loss
//	drops [D,N], if anything drops out
//
// and its outputs the new weights, moments and moving statistics and the loss
// [1], which is the mean over batch, keypoints and pixels of
// valid*(heatmap-target)^2; L2 counts in the gradient only.
func buildStep(n *model.Network, o stepOptions) *stepGraph {
	g := newGraph("training step")
	s := &stepGraph{layout: newLayout(n, 1)}
	if o.GPU {
		s.layout = newLayout(n, gpuRow)
	}
	t := &tape{graph: g, batch: o.Batch, block: o.Block, gpu: o.GPU, save: o.SaveMemory, frozen: o.FreezeBN,
		params: map[string]value{}, outputs: map[string]value{},
		grads: map[string]value{}, scaled: map[string]func(...value) value{}, sigmoids: map[string]func(value) value{}, paramGrads: map[string]value{}, statistics: map[string]value{}}

	weights := g.input(inWeights, s.layout.size)
	first := g.input(inFirst, s.layout.size)
	second := g.input(inSecond, s.layout.size)
	moving := g.input(inMoving, s.layout.movingSize)
	rate := g.input(inRate, 1)
	t.splitParams(weights, s.layout.trainable)
	if t.frozen {
		t.splitParams(moving, s.layout.moving)
	}
	t.outputs[model.InputName] = g.input(model.InputName, o.Batch, 3, n.Input.H, n.Input.W)
	if s.drops = dropping(n); o.DropConnect && s.drops > 0 {
		t.drops = g.input(inDrops, s.drops, o.Batch)
	}

	t.network(n.Layers)
	loss := t.loss(n)
	for i := len(t.backward) - 1; i >= 0; i-- {
		t.backward[i]()
	}
	gradient := t.flatGradient(s.layout, weights, o.L2)
	newWeights, newFirst, newSecond := t.adam(weights, first, second, gradient, rate)
	g.output(outWeights, newWeights)
	g.output(outFirst, newFirst)
	g.output(outSecond, newSecond)
	g.output(outMoving, t.movingAverages(s.layout, moving))
	g.output(outLoss, loss)
	if o.Gradient {
		g.output(outGradient, gradient)
	}
	for _, v := range g.onnx.Inputs {
		s.inputs = append(s.inputs, v.Name)
	}
	for _, v := range g.onnx.Outputs {
		s.outputs = append(s.outputs, v.Name)
	}
	s.onnx = g.marshal()
	return s
}

// dropping counts the residual additions that may drop out.
func dropping(n *model.Network) (count int) {
	for i := range n.Layers {
		if l := &n.Layers[i]; l.Kind == model.Add && l.DropRate > 0 {
			count++
		}
	}
	return count
}

func (t *tape) splitParams(weights value, v vector) {
	for i, part := range t.parts(weights, v) {
		t.params[v.params[i].Name] = t.reshape(part, v.params[i].Shape...)
	}
}

// parts cuts the parameters out of a vector.
func (t *tape) parts(flat value, v vector) []value {
	if t.gpu {
		return t.slices(flat, v)
	}
	lengths := make([]int, len(v.params))
	for i, p := range v.params {
		lengths[i] = p.Len()
	}
	return t.split(flat, lengths...)
}

// vector puts the values of parameters, by name, one behind the other.
func (t *tape) vector(v vector, values map[string]value) value {
	parts := make([]value, len(v.params))
	for i, p := range v.params {
		parts[i] = t.reshape(values[p.Name], p.Len())
	}
	if t.gpu {
		return t.rows(parts, v)
	}
	return t.concat(0, parts...)
}

// loss appends the heatmaps' loss and starts the gradients with its own.
func (t *tape) loss(n *model.Network) value {
	name := n.Layers[len(n.Layers)-1].Name
	heatmaps := t.outputs[name]
	batch, k, h, w := heatmaps.shape[0], heatmaps.shape[1], heatmaps.shape[2], heatmaps.shape[3]
	target := t.mul(t.input(inTargetY, batch, k, h, 1), t.input(inTargetX, batch, k, 1, w))
	diff := t.sub(heatmaps, target)
	weighted := t.mul(diff, t.input(inValid, batch, k, 1, 1))
	count := float64(heatmaps.len())
	t.gradient(name, t.times(weighted, 2/count))
	return t.reshape(t.times(t.sum(t.dots(weighted, diff), 0, 1), 1/count), 1)
}

// flatGradient puts the parameters' gradients into one vector and adds that of
// L2 times the sum of the squared kernels.
func (t *tape) flatGradient(l *layout, weights value, l2 float64) value {
	gradient := t.vector(l.trainable, t.paramGrads)
	if l2 == 0 {
		return gradient
	}
	decay := t.times(t.slice(weights, 0, 0, 1, l.kernels), 2*l2)
	return t.add(gradient, t.pad(decay, []int{0}, []int{l.size - l.kernels}))
}

// adam is one step of Adam; rate holds its bias correction.
func (t *tape) adam(weights, first, second, gradient, rate value) (w, m, v value) {
	m = t.add(t.times(first, beta1), t.times(gradient, 1-beta1))
	v = t.add(t.times(second, beta2), t.times(t.mul(gradient, gradient), 1-beta2))
	step := t.div(m, t.add(t.unary("Sqrt", v), t.scalar(adamEpsilon)))
	return t.sub(weights, t.mul(step, rate)), m, v
}

// movingAverages moves the statistics towards the batch's, as Keras does:
// momentum*moving + (1-momentum)*batch, with the variance of the batch itself.
// Frozen, they stay.
func (t *tape) movingAverages(l *layout, moving value) value {
	if t.frozen {
		return t.unary("Identity", moving)
	}
	return t.add(t.times(moving, model.Momentum), t.times(t.vector(l.moving, t.statistics), 1-model.Momentum))
}
