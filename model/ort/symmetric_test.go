package ort

import (
	"testing"

	"github.com/evopose/evopose/model/onnx"
)

// What is put together for CUDA computes the same, and has no transposed
// convolution that would be left to the CPU.
func TestSymmetric(t *testing.T) {
	loadRuntime(t)
	data, card := network(t, small)
	changed, err := symmetric(data)
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Unmarshal(changed)
	if err != nil {
		t.Fatal(err)
	}
	transposed, cuts := 0, 0
	for _, n := range m.Graph.Nodes {
		if n.Op == "Slice" {
			cuts++
		}
		if n.Op != "ConvTranspose" {
			continue
		}
		transposed++
		for _, a := range n.Attributes {
			if a.Name == "pads" && (a.Ints[0] != a.Ints[2] || a.Ints[1] != a.Ints[3]) {
				t.Errorf("%s: pads %v", n.Name, a.Ints)
			}
		}
	}
	if transposed == 0 || cuts != transposed {
		t.Errorf("%d transposed convolutions, %d cut", transposed, cuts)
	}
	want := openSmall(t, Options{Provider: CPU})
	got, err := Open(changed, card, Options{Provider: CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Close() }()
	b := noise(want, 3, 1)
	if d := difference(reference(t, got, b, 3), reference(t, want, b, 3)); d > tolerance {
		t.Errorf("the heatmaps differ by %g", d)
	}
}
