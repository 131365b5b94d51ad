package model

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Weights holds every weight tensor of a network by Param.Name, flat, in the
// layout of Param.Shape.
type Weights map[string][]float32

// Param describes one weight tensor.
type Param struct {
	Name      string // "stem_conv/kernel"
	Layer     string
	Shape     []int // as in ONNX: [out, in, k, k]; see Kind for the others
	Trainable bool  // false for the moving statistics
	init      func(rng *rand.Rand, data []float32)
}

// Len returns the number of values.
func (p Param) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Params lists every weight tensor in the order of the layers.
func (n *Network) Params() []Param {
	var params []Param
	for i := range n.Layers {
		params = append(params, n.Layers[i].params()...)
	}
	return params
}

func (l *Layer) params() []Param {
	switch l.Kind {
	case Conv, DepthwiseConv, ConvTranspose:
		return l.convParams()
	case BatchNorm:
		c := []int{l.Out.C}
		return []Param{
			{l.Name + "/gamma", l.Name, c, true, constant(1)},
			{l.Name + "/beta", l.Name, c, true, constant(0)},
			{l.Name + "/moving_mean", l.Name, c, false, constant(0)},
			{l.Name + "/moving_variance", l.Name, c, false, constant(1)},
		}
	}
	return nil
}

func (l *Layer) convParams() []Param {
	k := l.Kernel
	shape := []int{l.Out.C, l.In.C, k, k}
	fanOut := k * k * l.Out.C
	switch l.Kind {
	case DepthwiseConv:
		shape = []int{l.Out.C, 1, k, k}
		fanOut = k * k
	case ConvTranspose:
		shape = []int{l.In.C, l.Out.C, k, k}
		fanOut = k * k * l.In.C
	}
	init := truncatedNormal(2, fanOut)
	if l.Name == "final_conv" {
		init = uniform(1.0/3, fanOut)
	}
	params := []Param{{l.Name + "/kernel", l.Name, shape, true, init}}
	if l.Bias {
		params = append(params, Param{l.Name + "/bias", l.Name, []int{l.Out.C}, true, constant(0)})
	}
	return params
}

// Parameters counts weights as Keras's count_params does, with the moving
// statistics in total and without them in trainable.
func (n *Network) Parameters() (total, trainable int64) {
	for _, p := range n.Params() {
		total += int64(p.Len())
		if p.Trainable {
			trainable += int64(p.Len())
		}
	}
	return total, trainable
}

// InitialWeights returns the weights that training starts from. Each tensor is
// a function of the seed and its name only, so that networks that share a
// layer share its initial values.
//
// As in the paper's training (Keras's VarianceScaling), kernels are normal of
// variance 2/fan_out, cut at two standard deviations of the normal before its
// variance is restored, and the final convolution's is uniform of variance
// 1/(3 fan_out). fan_out = k*k*c where c is the last dimension of Keras's
// kernel: the output channels, 1 for a depthwise kernel, and the *input*
// channels for a transposed one. Batch normalisation starts as the identity,
// biases at zero.
func InitialWeights(n *Network, seed uint64) Weights {
	w := Weights{}
	for _, p := range n.Params() {
		data := make([]float32, p.Len())
		p.init(paramRand(seed, p.Name), data)
		w[p.Name] = data
	}
	return w
}

// paramRand returns the generator of one tensor.
func paramRand(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	h.Write(binary.LittleEndian.AppendUint64(nil, seed))
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

func constant(v float32) func(*rand.Rand, []float32) {
	return func(_ *rand.Rand, data []float32) {
		for i := range data {
			data[i] = v
		}
	}
}

// truncatedStd is the standard deviation of a unit normal cut at two; dividing
// by it keeps the variance that was asked for (as Keras's VarianceScaling).
const truncatedStd = 0.87962566103423978

func truncatedNormal(scale float64, fanOut int) func(*rand.Rand, []float32) {
	std := math.Sqrt(scale/float64(fanOut)) / truncatedStd
	return func(rng *rand.Rand, data []float32) {
		for i := range data {
			x := rng.NormFloat64()
			for math.Abs(x) > 2 {
				x = rng.NormFloat64()
			}
			data[i] = float32(std * x)
		}
	}
}

func uniform(scale float64, fanOut int) func(*rand.Rand, []float32) {
	limit := math.Sqrt(3 * scale / float64(fanOut))
	return func(rng *rand.Rand, data []float32) {
		for i := range data {
			data[i] = float32(limit * (2*rng.Float64() - 1))
		}
	}
}

// Mismatch lists, layer by layer, what of the weights does not fit the
// network: missing tensors, wrong lengths, and tensors it does not have.
func (n *Network) Mismatch(w Weights) []string {
	var problems []string
	known := map[string]bool{}
	for _, p := range n.Params() {
		known[p.Name] = true
		data, ok := w[p.Name]
		switch {
		case !ok:
			problems = append(problems, p.Name+": missing")
		case len(data) != p.Len():
			problems = append(problems, sprintMismatch(p, len(data)))
		}
	}
	var extra []string
	for name := range w {
		if !known[name] {
			extra = append(extra, name+": the network has no such weights")
		}
	}
	slices.Sort(extra)
	return append(problems, extra...)
}

// MismatchError returns an error that names what Mismatch lists, a line each,
// or the first twenty and how many more there are; nil if there are none.
func MismatchError(problems []string) error {
	const most = 20
	if len(problems) == 0 {
		return nil
	}
	if more := len(problems) - most; more > 0 {
		problems = append(slices.Clone(problems[:most]), fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("the weights do not fit the network:\n  %s", strings.Join(problems, "\n  "))
}

func sprintMismatch(p Param, got int) string {
	return fmt.Sprintf("%s: has %d values, want %d (shape %v)", p.Name, got, p.Len(), p.Shape)
}
