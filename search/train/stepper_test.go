package train

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/model/ort/orttest"
)

// BenchmarkStep measures training steps of S at rising sizes. PROFILE=prefix
// writes the runtime's profile.
func BenchmarkStep(b *testing.B) {
	orttest.Init(b)
	for _, c := range []struct {
		size  model.Size
		batch int
	}{{model.Size{H: 128, W: 96}, 8}, {model.Size{H: 128, W: 96}, 16}, {model.Size{H: 128, W: 96}, 32}, {model.Size{H: 256, W: 192}, 8}} {
		b.Run(fmt.Sprintf("%v-%d", c.size, c.batch), func(b *testing.B) { benchmarkStep(b, c.size, c.batch) })
	}
}

func benchmarkStep(b *testing.B, size model.Size, batch int) {
	n, err := model.NewScaledNetwork(model.GenotypeS, model.Size{H: 256, W: 192}, size)
	if err != nil {
		b.Fatal(err)
	}
	p := newProblem(n, batch)
	s, err := NewStepper(n, p.weights, StepperOptions{Batch: batch, L2: 1e-5, DropConnect: true,
		Graph: ort.GraphOptions{Profile: os.Getenv("PROFILE")}})
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	i := 0
	step := func() {
		i++
		if _, err := s.Step(p.crops, p.keypoints, 1e-4, i, rng); err != nil {
			b.Fatal(err)
		}
	}
	step()
	step()
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(batch)*float64(b.N)/b.Elapsed().Seconds(), "images/s")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
