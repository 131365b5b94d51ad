package search

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
)

// By hand: the child's values are 1 to n.
func TestSilenceByHand(t *testing.T) {
	for _, tt := range []struct {
		name     string
		to, from []int
		input    int
		want     []float32
	}{
		{"same", []int{1, 2, 1, 1}, []int{1, 2, 1, 1}, 1, []float32{1, 2}},
		{"input added", []int{2, 2, 1, 1}, []int{2, 1, 1, 1}, 1, []float32{1, 0, 3, 0}},
		{"output added", []int{2, 2, 1, 1}, []int{1, 2, 1, 1}, 1, []float32{1, 2, 3, 4}},
		{"both added", []int{2, 2, 1, 1}, []int{1, 1, 1, 1}, 1, []float32{1, 0, 3, 4}},
		{"transposed, input added", []int{2, 2, 1, 1}, []int{1, 2, 1, 1}, 0, []float32{1, 2, 0, 0}},
		{"transposed, both added", []int{2, 2, 1, 1}, []int{1, 1, 1, 1}, 0, []float32{1, 2, 0, 4}},
		{"depthwise, channel added", []int{2, 1, 1, 1}, []int{1, 1, 1, 1}, 1, []float32{1, 2}},
		{"depthwise, kernel grown", []int{1, 1, 3, 3}, []int{1, 1, 1, 1}, 1, []float32{0, 0, 0, 0, 5, 0, 0, 0, 0}},
		{"depthwise, kernel grown, channel added", []int{2, 1, 3, 3}, []int{1, 1, 1, 1}, 1,
			[]float32{0, 0, 0, 0, 5, 0, 0, 0, 0, 10, 11, 12, 13, 14, 15, 16, 17, 18}},
		{"kernel shrunk, input added", []int{1, 2, 1, 1}, []int{1, 1, 3, 3}, 1, []float32{1, 0}},
	} {
		got := count(1, model.Param{Shape: tt.to}.Len())
		silence(got, tt.to, tt.from, tt.input)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// Between any pair, a value is either what Transfer gives or zero, zero only
// where it is not the parent's or in the last normalisation of a block that the
// parent lacks; and neither argument is changed.
func TestGrowOnlySilences(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 40 {
		child := transferNetwork(t, anyGenotype(rng), anySize(rng))
		parent := transferNetwork(t, anyGenotype(rng), anySize(rng))
		initial, weights := marked(child, -1), marked(parent, 1)
		plain, _ := Transfer(child, initial, parent, weights)
		got, summary := Grow(child, initial, parent, weights)
		for i, p := range child.Params() {
			checkSilenced(t, p, summary[i], plain[p.Name], got[p.Name])
		}
		if !sameWeights(initial, marked(child, -1)) || !sameWeights(weights, marked(parent, 1)) {
			t.Fatal("an argument was changed")
		}
	}
}

func checkSilenced(t *testing.T, p model.Param, s Transferred, plain, got []float32) {
	t.Helper()
	newBlock := s.From != p.Name
	for i, v := range got {
		if v == plain[i] {
			continue
		}
		if v != 0 || (!newBlock && plain[i] > 0) || (newBlock && len(p.Shape) != 1) {
			t.Fatalf("%v: value %d is %v, Transfer gives %v", s, i, v, plain[i])
		}
	}
}

// A child with nothing new gets what Transfer gives.
func TestGrowWithNothingNew(t *testing.T) {
	for _, tt := range [][2]string{{"s", "s"}, {"xs", "s"}} {
		child, parent := preset(t, tt[0]), preset(t, tt[1])
		want, _ := Transfer(child, marked(child, -1), parent, marked(parent, 1))
		if got, _ := Grow(child, marked(child, -1), parent, marked(parent, 1)); !sameWeights(got, want) {
			t.Errorf("%s to %s: not what Transfer gives", tt[1], tt[0])
		}
	}
}
