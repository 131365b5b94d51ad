package train

import (
	"testing"

	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/model/ort/orttest"
)

// TestCUDA compares a step on a GPU with one on the CPU, without the matrix
// units' shorter numbers (TF32).
func TestCUDA(t *testing.T) {
	t.Setenv("NVIDIA_TF32_OVERRIDE", "0") // read when CUDA is loaded
	orttest.Init(t)
	if err := ort.CheckCUDA(0); err != nil {
		t.Skip(err)
	}
	p := newProblem(smallNetwork(t), 4)
	for _, frozen := range []bool{false, true} {
		agrees(t, p, StepperOptions{DropConnect: true, FreezeBN: frozen, Graph: ort.GraphOptions{Provider: ort.CUDA}})
	}
}
