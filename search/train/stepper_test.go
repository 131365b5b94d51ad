package train

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/model/ort/orttest"
)

// BenchmarkStep measures training steps of S, batch 16. GMAC/s counts three
// times the forward pass's multiply-adds; ceiling% is their share of what a
// product of two large matrices reaches on the same runtime and threads, just
// before. peak-MiB is the process's so far: run one size at a time for it.
// PROFILE=prefix writes the runtime's profile.
//
//	go test ./search/train -run '^$' -bench Step/256x192 -benchtime 10x
func BenchmarkStep(b *testing.B) {
	orttest.Init(b)
	for _, size := range []model.Size{{H: 128, W: 96}, {H: 192, W: 144}, {H: 256, W: 192}} {
		b.Run(size.String(), func(b *testing.B) { benchmarkStep(b, size, 16) })
	}
}

func benchmarkStep(b *testing.B, size model.Size, batch int) {
	n, err := model.NewScaledNetwork(model.GenotypeS, model.Size{H: 256, W: 192}, size)
	if err != nil {
		b.Fatal(err)
	}
	ceiling := gemmRate(b)
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
	rate := float64(batch) * float64(b.N) / b.Elapsed().Seconds()
	macs := 3 * float64(n.MultiplyAdds()) * rate
	b.ReportMetric(rate, "images/s")
	b.ReportMetric(macs/1e9, "GMAC/s")
	b.ReportMetric(100*macs/ceiling, "ceiling%")
	b.ReportMetric(peakMiB(b), "peak-MiB")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// gemmRate returns the multiply-adds a second of a product of two 1536x1536
// matrices, the best of a few.
func gemmRate(b *testing.B) float64 {
	const side = 1536
	g := newGraph("gemm")
	g.output("y", g.matmul(g.input("a", side, side), g.input("b", side, side), false, false))
	session, err := ort.OpenGraph(g.marshal(), []string{"a", "b"}, []string{"y"}, ort.GraphOptions{})
	if err != nil {
		b.Fatal(err)
	}
	matrix := func() ort.Tensor {
		t := ort.Tensor{Shape: []int{side, side}, Data: make([]float32, side*side)}
		for i := range t.Data {
			t.Data[i] = float32(i%7) - 3
		}
		return t
	}
	binding, err := session.Bind([]ort.Tensor{matrix(), matrix()}, []ort.Tensor{matrix()})
	if err != nil {
		b.Fatal(err)
	}
	best := time.Hour
	for range 12 {
		began := time.Now()
		if err := binding.Run(); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(began))
	}
	if err := binding.Close(); err != nil {
		b.Fatal(err)
	}
	if err := session.Close(); err != nil {
		b.Fatal(err)
	}
	return side * side * side / best.Seconds()
}

// peakMiB is the process's largest resident memory, 0 where it is not known.
func peakMiB(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	var kib float64
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if _, err := fmt.Sscan(value, &kib); err != nil {
				b.Fatal(err)
			}
		}
	}
	return kib / 1024
}
