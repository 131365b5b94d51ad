package train

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/model/ort/orttest"
)

// smallGenotype has every kind of layer: both kernels at both strides,
// repeated blocks with residuals that drop out, blocks without.
const smallGenotype = "3,1,1,1 5,2,1,2 3,1,1,2 5,1,2,2 3,2,1,1 5,1,1,1 3,1,1,1"

func smallNetwork(t testing.TB) *model.Network {
	t.Helper()
	g, err := model.ParseGenotype(smallGenotype)
	if err != nil {
		t.Fatal(err)
	}
	n, err := model.NewScaledNetwork(g, model.Size{H: 64, W: 64}, model.Size{H: 64, W: 48})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// problem is a network with a batch, where every tensor has a gradient.
type problem struct {
	network          *model.Network
	weights          model.Weights
	crops, keypoints []float32
	batch            int
}

func newProblem(n *model.Network, batch int) problem {
	rng := rand.New(rand.NewPCG(3, 4))
	p := problem{network: n, weights: model.InitialWeights(n, 7), batch: batch}
	for _, param := range n.Params() {
		data := p.weights[param.Name]
		for i := range data {
			switch {
			case len(param.Shape) == 1:
				data[i] += float32(0.2 * rng.NormFloat64())
			case strings.Contains(param.Layer, "_se_"):
				data[i] *= 2 // gates far from 1/2, so that all depends on them
			}
		}
	}
	p.crops = make([]float32, batch*3*n.Input.Area())
	for i := range p.crops {
		p.crops[i] = float32(rng.NormFloat64())
	}
	p.keypoints = make([]float32, batch*model.Keypoints*3)
	for i := range batch * model.Keypoints {
		p.keypoints[3*i] = float32(rng.Float64() * float64(n.Input.W))
		p.keypoints[3*i+1] = float32(rng.Float64() * float64(n.Input.H))
		if rng.Float64() < 0.8 {
			p.keypoints[3*i+2] = []float32{1, 2.5}[i%2] // weights as of Config.Balance, too
		}
	}
	return p
}

func (p problem) stepper(t testing.TB, o StepperOptions) *Stepper {
	t.Helper()
	o.Batch, o.gradient = p.batch, true
	s, err := NewStepper(p.network, p.weights, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// run makes a step from the weights and returns its loss and the gradient by
// parameter.
func (p problem) run(t testing.TB, s *Stepper, w model.Weights) (float64, model.Weights) {
	t.Helper()
	s.SetWeights(w)
	loss, err := s.Step(p.crops, p.keypoints, 0, 1, rand.New(rand.NewPCG(5, 6)))
	if err != nil {
		t.Fatal(err)
	}
	gradient := model.Weights{}
	s.layout.trainable.unpack(gradient, s.gradient)
	return loss, gradient
}

// TestGradients compares every gradient tensor of a small network with central
// differences of order 6 along the gradient itself. The network computes in
// single precision, so the step that agrees best counts.
func TestGradients(t *testing.T) {
	orttest.Init(t)
	for name, frozen := range map[string]bool{"statistics of the batch": false, "frozen statistics": true} {
		t.Run(name, func(t *testing.T) {
			checkGradients(t, newProblem(smallNetwork(t), 4), StepperOptions{DropConnect: true, FreezeBN: frozen, amplitude: 1})
		})
	}
}

func checkGradients(t *testing.T, p problem, o StepperOptions) {
	if o.FreezeBN {
		p.takeStatistics(t, StepperOptions{DropConnect: true})
	}
	s := p.stepper(t, o)
	_, gradient := p.run(t, s, p.weights)
	total := norm2(s.gradient)
	worst, zero := 0.0, 0
	for _, param := range s.layout.trainable.params {
		g := gradient[param.Name]
		norm := norm2(g)
		// A shift that only linear layers and a batch normalisation see has no
		// effect; what is left of its gradient is rounding.
		if norm < 1e-6*total {
			zero++
			continue
		}
		along := func(h float64) float64 {
			after, _ := p.run(t, s, p.moved(param.Name, g, h/norm))
			before, _ := p.run(t, s, p.moved(param.Name, g, -h/norm))
			return after - before
		}
		best := math.Inf(1)
		for h := 0.5; h > 4e-4 && best > 3e-4; h /= 1.6 {
			d := (45*along(h) - 9*along(2*h) + along(3*h)) / (60 * h)
			best = min(best, math.Abs(d-norm)/norm)
		}
		worst = max(worst, best)
		if best > 1e-3 {
			t.Errorf("%s: gradient's norm %g, relative error %g", param.Name, norm, best)
		}
	}
	t.Logf("%d tensors, worst relative error %.2g; %d without effect", len(s.layout.trainable.params), worst, zero)
	if zero > 4 {
		t.Errorf("%d tensors have no gradient", zero)
	}
}

// moved returns the weights with one tensor moved by h times the direction.
func (p problem) moved(name string, direction []float32, h float64) model.Weights {
	w := maps.Clone(p.weights)
	w[name] = slices.Clone(w[name])
	for i, d := range direction {
		w[name][i] += float32(h * float64(d))
	}
	return w
}

func norm2(v []float32) float64 {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

// TestFormulationsAgree compares the gradients of the blocked formulation, with
// and without saving memory, with the native one's.
func TestFormulationsAgree(t *testing.T) {
	orttest.Init(t)
	block, err := ProbeBlock()
	if err != nil {
		t.Fatal(err)
	}
	if block == 0 {
		t.Skip("this runtime has no blocked layout on this processor")
	}
	p := newProblem(smallNetwork(t), 4)
	for _, save := range []bool{false, true} {
		for _, frozen := range []bool{false, true} {
			agrees(t, p, StepperOptions{DropConnect: true, FreezeBN: frozen, Block: block, Graph: ort.GraphOptions{SaveMemory: save}})
		}
	}
}

// TestGPUFormulation compares what a GPU gets, on the CPU, with the native
// formulation.
func TestGPUFormulation(t *testing.T) {
	orttest.Init(t)
	for _, frozen := range []bool{false, true} {
		agrees(t, newProblem(smallNetwork(t), 4), StepperOptions{DropConnect: true, FreezeBN: frozen, Block: GPU})
	}
}

// agrees compares a formulation's gradients with the native one's.
func agrees(t *testing.T, p problem, o StepperOptions) {
	lossA, a := p.run(t, p.stepper(t, o), p.weights)
	lossB, b := p.run(t, p.stepper(t, StepperOptions{DropConnect: true, FreezeBN: o.FreezeBN, Block: Native}), p.weights)
	if math.Abs(lossA-lossB) > 1e-5*lossA {
		t.Errorf("losses %g and %g", lossA, lossB)
	}
	total := norm2(concat(a))
	for name := range a {
		var diff float64
		for i := range a[name] {
			d := float64(a[name][i] - b[name][i])
			diff += d * d
		}
		if math.Sqrt(diff) > 1e-3*norm2(b[name])+1e-6*total {
			t.Errorf("%s: difference %g of %g", name, math.Sqrt(diff), norm2(b[name]))
		}
	}
}

func concat(w model.Weights) (all []float32) {
	for _, data := range w {
		all = append(all, data...)
	}
	return all
}
