package search

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
)

func TestTaskVectorByHand(t *testing.T) {
	w := []float32{1, 2, 3}
	addScaled(w, []float32{4, 0, 1}, []float32{8, 0, -1}, 0.25)
	if diff := cmp.Diff([]float32{2, 2, 2.5}, w); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
	w = []float32{5, 5, 5, 5, 5}
	scaleByRatio(w, []float32{1, 8, 0, 2, -1}, []float32{4, 2, 2, 0, 2}, 0.5)
	if diff := cmp.Diff([]float32{10, 2.5, 5, 5, 5}, w); diff != "" {
		t.Errorf("scaled (-want +got):\n%s", diff)
	}
}

// randomWeights are normal numbers, variances their exponentials.
func randomWeights(n *model.Network, rng *rand.Rand) model.Weights {
	w := model.InitialWeights(n, 3)
	for _, p := range n.Params() {
		for i := range w[p.Name] {
			w[p.Name][i] = float32(rng.NormFloat64())
			if isVariance(p.Name) {
				w[p.Name][i] = float32(math.Exp(rng.NormFloat64()))
			}
		}
	}
	return w
}

// A network grown from old becomes the one grown from updated, for any pair of
// sizes; a share of nothing changes nothing; the arguments stay as they are.
func TestTaskVectorBetweenSizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 5))
	for _, pair := range [][2]string{{"m", "s"}, {"s", "s"}, {"xs", "s"}, {"s", "m"}} {
		n, parent := preset(t, pair[0]), preset(t, pair[1])
		old, updated := randomWeights(parent, rng), randomWeights(parent, rng)
		oldBefore, updatedBefore := cloneWeights(old), cloneWeights(updated)
		initial := model.InitialWeights(n, 9)
		w, _ := Grow(n, initial, parent, old)
		before := cloneWeights(w)

		got := AddTaskVector(n, w, parent, old, updated, 1)
		if problems := n.Mismatch(got); problems != nil {
			t.Fatal(problems)
		}
		want, _ := Grow(n, initial, parent, updated)
		if worst := farthest(want, got); worst > 1e-5 {
			t.Errorf("%s from %s: %.1e from the one grown from updated", pair[0], pair[1], worst)
		}
		if !sameWeights(AddTaskVector(n, w, parent, old, updated, 0), w) {
			t.Errorf("%s from %s: a share of 0 changes weights", pair[0], pair[1])
		}
		if !sameWeights(w, before) || !sameWeights(old, oldBefore) || !sameWeights(updated, updatedBefore) {
			t.Errorf("%s from %s: an argument was changed", pair[0], pair[1])
		}
	}
}

func cloneWeights(w model.Weights) model.Weights {
	out := make(model.Weights, len(w))
	for name, data := range w {
		out[name] = append([]float32(nil), data...)
	}
	return out
}

// farthest is the largest difference of two values, relative where above 1.
func farthest(want, got model.Weights) float64 {
	var worst float64
	for name := range want {
		for i, v := range want[name] {
			worst = max(worst, math.Abs(float64(v-got[name][i]))/max(1, math.Abs(float64(v))))
		}
	}
	return worst
}
