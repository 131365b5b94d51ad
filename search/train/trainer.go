package train

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort"
)

// The StepperOptions.Block that are no block: Native keeps to operators which
// every execution provider has, and GPU puts them as a GPU is fast at, which is
// what CUDA gets.
const (
	Native = -1
	GPU    = -2
)

// StepperOptions say how training steps run.
type StepperOptions struct {
	// Batch is the number of samples in a step.
	Batch int
	// L2 is the weight of the sum of the squared convolution kernels in the
	// loss; the paper's is 1e-5, 0 is none.
	L2 float64
	// DropConnect lets residual branches drop out at the network's rates.
	DropConnect bool
	// FreezeBN has batch normalisation use the moving statistics, as in
	// inference, and leaves them as they are.
	FreezeBN bool
	// RoundTargets puts a target's centre on a heatmap pixel, as the paper
	// does; else it lies where the label is.
	RoundTargets bool
	// Block is the number of channels in a block of the runtime's internal
	// layout for depthwise convolutions on the CPU: 8 or 16, Native or GPU
	// for none, 0 to find out.
	Block int
	// Graph says where the steps run.
	Graph ort.GraphOptions

	gradient  bool    // keep the gradient, for tests
	amplitude float64 // of the targets; 0 means model.Amplitude
}

// state is what a step changes.
type state struct{ weights, first, second, moving []float32 }

func newState(l *layout) state {
	return state{make([]float32, l.size), make([]float32, l.size), make([]float32, l.size), make([]float32, l.movingSize)}
}

func (s state) tensors() []ort.Tensor {
	var t []ort.Tensor
	for _, v := range [][]float32{s.weights, s.first, s.second, s.moving} {
		t = append(t, ort.Tensor{Shape: []int{len(v)}, Data: v})
	}
	return t
}

// Stepper runs training steps of a network: forward, backward and Adam in one
// graph. It is not safe for concurrent use.
type Stepper struct {
	network *model.Network
	layout  *layout
	options StepperOptions
	graph   *ort.Graph
	// The graph reads one state and writes the other; current is the one that
	// is read next.
	states   [2]state
	bindings [2]*ort.Binding
	current  int

	image, targetX, targetY, valid, drops, rate, loss, gradient []float32
	rates                                                       []float64 // of the residual branches, in order
}

// NewStepper builds the network's training step and starts it from the
// weights. ort.Init must have been called. The caller closes it.
func NewStepper(n *model.Network, w model.Weights, o StepperOptions) (*Stepper, error) {
	if err := model.MismatchError(n.Mismatch(w)); err != nil {
		return nil, err
	}
	if o.Batch < 1 {
		return nil, fmt.Errorf("batch %d: want 1 or more", o.Batch)
	}
	if o.amplitude == 0 {
		o.amplitude = model.Amplitude
	}
	block, err := chooseBlock(o)
	if err != nil {
		return nil, err
	}
	g := buildStep(n, stepOptions{Batch: o.Batch, Block: max(block, 0), GPU: block == GPU, SaveMemory: o.Graph.SaveMemory, L2: o.L2, DropConnect: o.DropConnect, FreezeBN: o.FreezeBN, Gradient: o.gradient})
	s := &Stepper{network: n, layout: g.layout, options: o}
	if s.graph, err = ort.OpenGraph(g.onnx, g.inputs, g.outputs, o.Graph); err != nil {
		return nil, err
	}
	if err := s.bind(g); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.SetWeights(w)
	return s, nil
}

func chooseBlock(o StepperOptions) (int, error) {
	switch {
	case o.Block != 0:
		return o.Block, nil
	case o.Graph.Provider == ort.CUDA:
		return GPU, nil
	}
	return ProbeBlock()
}

// bind allocates the step's memory and ties both directions to it.
func (s *Stepper) bind(g *stepGraph) (err error) {
	n, size := s.options.Batch, s.network.Heatmap
	s.image = make([]float32, n*3*s.network.Input.Area())
	s.targetX = make([]float32, phases*n*model.Keypoints*size.W/2)
	s.targetY = make([]float32, phases*n*model.Keypoints*size.H/2)
	s.valid = make([]float32, phases*n*model.Keypoints)
	s.rate, s.loss = make([]float32, 1), make([]float32, 1)
	s.states = [2]state{newState(s.layout), newState(s.layout)}
	inputs := []ort.Tensor{
		{Shape: []int{1}, Data: s.rate},
		{Shape: []int{n, 3, s.network.Input.H, s.network.Input.W}, Data: s.image},
	}
	if s.options.DropConnect && g.drops > 0 {
		s.drops = make([]float32, g.drops*n)
		for i := range s.network.Layers {
			if l := &s.network.Layers[i]; l.Kind == model.Add && l.DropRate > 0 {
				s.rates = append(s.rates, l.DropRate)
			}
		}
		inputs = append(inputs, ort.Tensor{Shape: []int{g.drops, n}, Data: s.drops})
	}
	inputs = append(inputs,
		ort.Tensor{Shape: []int{phases * n, model.Keypoints, size.H / 2, 1}, Data: s.targetY},
		ort.Tensor{Shape: []int{phases * n, model.Keypoints, 1, size.W / 2}, Data: s.targetX},
		ort.Tensor{Shape: []int{phases * n, model.Keypoints, 1, 1}, Data: s.valid})
	outputs := []ort.Tensor{{Shape: []int{1}, Data: s.loss}}
	if s.options.gradient {
		s.gradient = make([]float32, s.layout.size)
		outputs = append(outputs, ort.Tensor{Shape: []int{s.layout.size}, Data: s.gradient})
	}
	for i := range s.bindings {
		from, to := s.states[i].tensors(), s.states[1-i].tensors()
		if s.bindings[i], err = s.graph.Bind(append(from, inputs...), append(to, outputs...)); err != nil {
			return err
		}
	}
	return nil
}

// SetWeights starts afresh from the weights, with Adam's moments at zero.
func (s *Stepper) SetWeights(w model.Weights) {
	c := s.states[s.current]
	s.layout.trainable.pack(c.weights, w)
	s.layout.moving.pack(c.moving, w)
	clear(c.first)
	clear(c.second)
}

// Weights returns a copy of the network's weights as they are now.
func (s *Stepper) Weights() model.Weights {
	w := model.Weights{}
	s.layout.trainable.unpack(w, s.states[s.current].weights)
	s.layout.moving.unpack(w, s.states[s.current].moving)
	return w
}

// Step is one training step. crops is [N,3,H,W], normalised; keypoints
// [N,17,3]: u, v in input pixels and the keypoint's weight in the loss, 0 for
// one that is not labelled. rate is the learning rate, t the number of the
// step from 1, for Adam's bias correction. rng draws what drops out. It returns the
// loss, without L2.
func (s *Stepper) Step(crops, keypoints []float32, rate float64, t int, rng *rand.Rand) (float64, error) {
	parallel(len(crops), func(from, to int) { copy(s.image[from:to], crops[from:to]) })
	s.setTargets(keypoints)
	s.setDrops(rng)
	s.rate[0] = float32(rate * math.Sqrt(1-math.Pow(beta2, float64(t))) / (1 - math.Pow(beta1, float64(t))))
	if err := s.bindings[s.current].Run(); err != nil {
		return 0, err
	}
	s.current = 1 - s.current
	return float64(s.loss[0]), nil
}

// setTargets writes the targets' factors: the target of a keypoint is
//
//	255 exp(-((x-cx)^2 + (y-cy)^2) / (2 sigma^2)), sigma = 2 h/64,
//
// so 255 times a function of x times one of y. It stands at cx = u*w/W, or
// rounded at floor(cx + 0.5). Phase (a, b) has the pixels (2i+a, 2j+b).
func (s *Stepper) setTargets(keypoints []float32) {
	n, in, out := s.options.Batch, s.network.Input, s.network.Heatmap
	sigma, round := heatmapSigma(out), s.options.RoundTargets
	sx, sy := float64(out.W)/float64(in.W), float64(out.H)/float64(in.H)
	parallel(n*model.Keypoints, func(from, to int) {
		for i := from; i < to; i++ {
			kp := keypoints[3*i:][:3]
			for phase := range phases {
				at := phase*n*model.Keypoints + i
				s.valid[at] = kp[2]
				bell(s.targetY[at*out.H/2:][:out.H/2], centre(float64(kp[1])*sy, round), phase/2, 2, sigma, s.options.amplitude)
				bell(s.targetX[at*out.W/2:][:out.W/2], centre(float64(kp[0])*sx, round), phase%2, 2, sigma, 1)
			}
		}
	})
}

// parallel calls f for equal parts of 0..n, a part for each processor.
func parallel(n int, f func(from, to int)) {
	parts := runtime.GOMAXPROCS(0)
	var wait sync.WaitGroup
	for i := range parts {
		wait.Go(func() { f(n*i/parts, n*(i+1)/parts) })
	}
	wait.Wait()
}

// heatmapSigma is the targets' standard deviation in heatmap pixels.
func heatmapSigma(heatmap model.Size) float64 { return 2 * float64(heatmap.H) / 64 }

func centre(x float64, round bool) float64 {
	if round {
		return math.Floor(x + 0.5)
	}
	return x
}

// bell writes a Gaussian at the pixels first, first+step, ...
func bell(dst []float32, centre float64, first, step int, sigma, amplitude float64) {
	for i := range dst {
		d := (float64(step*i+first) - centre) / sigma
		dst[i] = float32(amplitude * math.Exp(-d*d/2))
	}
}

// setDrops draws for each branch and sample 0 or 1/(1-rate).
func (s *Stepper) setDrops(rng *rand.Rand) {
	n := s.options.Batch
	for i, rate := range s.rates {
		for j := range n {
			s.drops[i*n+j] = float32(1 / (1 - rate))
			if rng.Float64() < rate {
				s.drops[i*n+j] = 0
			}
		}
	}
}

// Close releases the step.
func (s *Stepper) Close() error {
	var errs []error
	for _, b := range s.bindings {
		if b != nil {
			errs = append(errs, b.Close())
		}
	}
	return errors.Join(append(errs, s.graph.Close())...)
}
