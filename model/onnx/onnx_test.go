package onnx

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
)

func network(t testing.TB, g model.Genotype, s model.Size) *model.Network {
	t.Helper()
	n, err := model.NewNetwork(g, s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func testCard() model.Card {
	return model.Card{Name: "test", Genotype: model.GenotypeS, Input: model.Size{H: 64, W: 48}, Seed: 3, Data: "none",
		Licence: "Apache-2.0", Lineage: []string{"initial weights, seed 3", "a \"quoted\" step"}}
}

func TestWeightsRoundTrip(t *testing.T) {
	card := testCard()
	n := network(t, card.Genotype, card.Input)
	w := model.InitialWeights(n, 3)
	data, err := Export(n, w, card, false)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Export(n, w, card, false)
	if !bytes.Equal(data, again) {
		t.Error("two exports of the same model differ")
	}
	got, gotCard, err := Weights(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, got); diff != "" {
		t.Error("weights changed on the way")
	}
	if diff := cmp.Diff(card, gotCard); diff != "" {
		t.Error(diff)
	}
}

func TestHalfOnlyRoundsKernels(t *testing.T) {
	card := testCard()
	n := network(t, card.Genotype, card.Input)
	w := model.InitialWeights(n, 3)
	full, _ := Export(n, w, card, false)
	data, err := Export(n, w, card, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(data)*10 > len(full)*6 {
		t.Errorf("half precision takes %d bytes of %d", len(data), len(full))
	}
	got, _, err := Weights(data)
	if err != nil {
		t.Fatal(err)
	}
	if problems := n.Mismatch(got); problems != nil {
		t.Fatal(problems)
	}
	for name, values := range w {
		for i, v := range values {
			if d := math.Abs(float64(got[name][i] - v)); d > math.Abs(float64(v))/2048+0x1p-25 {
				t.Fatalf("%s[%d] = %v, stored as %v", name, i, v, got[name][i])
			}
		}
	}
}

func TestExportNamesWhatDoesNotFit(t *testing.T) {
	n := network(t, model.GenotypeS, model.Size{H: 64, W: 48})
	w := model.InitialWeights(n, 1)
	delete(w, "block3a_dwconv/kernel")
	if _, err := Export(n, w, testCard(), false); err == nil || !strings.Contains(err.Error(), "block3a_dwconv/kernel: missing") {
		t.Errorf("error %v", err)
	}
}

func TestCheck(t *testing.T) {
	card := testCard()
	n := network(t, card.Genotype, card.Input)
	data, _ := Export(n, model.InitialWeights(n, 1), card, false)
	if err := Check(data, card); err != nil {
		t.Error(err)
	}
	other := card
	other.Genotype = model.GenotypeXS
	if err := Check(data, other); err == nil || !strings.Contains(err.Error(), "genotype") {
		t.Errorf("another genotype: %v", err)
	}
	other = card
	other.Input.H = 96
	if err := Check(data, other); err == nil || !strings.Contains(err.Error(), "input 96x48") {
		t.Errorf("another size: %v", err)
	}
	if err := Check(data[:len(data)/2], card); !errors.Is(err, ErrFormat) {
		t.Errorf("half a file: %v", err)
	}
}

// Every mutant of the search space is writable and read back the same.
func TestRandomGenotypesRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		g := model.GenotypeDefault
		for i := range g {
			g[i].Kernel, g[i].Repeats = 3+2*rng.IntN(2), 1+rng.IntN(4)
			g[i].Filters = 1 + rng.IntN(g[i].Filters)
		}
		n := network(t, g, model.Size{H: 256, W: 256})
		w := model.InitialWeights(n, 1)
		data, err := Export(n, w, model.Card{Name: "random"}, false)
		if err != nil {
			t.Fatal(err)
		}
		got, card, err := Weights(data)
		if err != nil {
			t.Fatal(err)
		}
		if card.Genotype != g || n.Mismatch(got) != nil {
			t.Fatalf("genotype %v came back as %v, %v", g, card.Genotype, n.Mismatch(got))
		}
	}
}
