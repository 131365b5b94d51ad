package train

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/evopose/evopose/model/ort/orttest"
)

// TestGoldenStep compares a training step of S, in both formulations, with the
// one that Keras computed in double precision (testdata/step.py).
func TestGoldenStep(t *testing.T) {
	orttest.Init(t)
	block, err := ProbeBlock()
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]int{"native": Native, "gpu": GPU, "blocked": block} {
		t.Run(name, func(t *testing.T) {
			if block == 0 {
				t.Skip("this runtime has no blocked layout on this processor")
			}
			goldenStep(t, block)
		})
	}
}

func goldenStep(t *testing.T, block int) {
	g, n := readGolden(t), goldenNetwork(t)
	images, keypoints := goldenInputs()
	p := problem{network: n, weights: goldenWeights(n), crops: images, keypoints: keypoints, batch: goldenPictures}
	s := p.stepper(t, StepperOptions{Block: block, L2: 1e-5, RoundTargets: true})
	_, gradient := p.run(t, s, p.weights)

	s.SetWeights(p.weights)
	rng := rand.New(rand.NewPCG(1, 1))
	for i, want := range g.Losses {
		loss, err := s.Step(images, keypoints, goldenRate, i+1, rng)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(loss-want) > 2e-4*want {
			t.Errorf("loss of step %d: %.8g, Keras %.8g", i+1, loss, want)
		}
		if i == 0 {
			compareGolden(t, g, s, gradient)
		}
	}
}

func compareGolden(t *testing.T, g golden, s *Stepper, gradient map[string][]float32) {
	after := s.Weights()
	worstGrad, worstAfter := 0.0, 0.0
	for name, want := range g.Tensors {
		places := goldenPlaces(name, len(after[name]))
		trained := want.Grad != nil
		if trained && want.GradNorm == 0 {
			if norm := norm2(gradient[name]); norm > 1e-4 {
				t.Errorf("%s: gradient's norm %g, Keras 0", name, norm)
			}
			continue
		}
		largest := 0.0
		for _, v := range want.Grad {
			largest = max(largest, math.Abs(v))
		}
		for i, at := range places {
			if trained {
				d := math.Abs(float64(gradient[name][at])-want.Grad[i]) / largest
				worstGrad = max(worstGrad, d)
				if d > 1e-3 {
					t.Errorf("%s[%d]: gradient %g, Keras %g", name, at, gradient[name][at], want.Grad[i])
				}
			}
			d := math.Abs(float64(after[name][at]) - want.After[i])
			worstAfter = max(worstAfter, d)
			if d > 2e-5 {
				t.Errorf("%s[%d]: %.8g after the step, Keras %.8g", name, at, after[name][at], want.After[i])
			}
		}
		if trained && math.Abs(norm2(gradient[name])-want.GradNorm) > 1e-4*want.GradNorm {
			t.Errorf("%s: gradient's norm %g, Keras %g", name, norm2(gradient[name]), want.GradNorm)
		}
	}
	t.Logf("%d tensors: worst gradient off by %.2g of the largest, worst weight by %.2g after the step", len(g.Tensors), worstGrad, worstAfter)
}
