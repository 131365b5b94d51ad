package search

import (
	"math"
	"slices"
	"strings"

	"github.com/evopose/evopose/model"
)

// AddTaskVector returns weights, which are n's, with share of what a network of
// another size has learnt between old and updated, both of that parent: its task
// vector, grown to n (Ilharco et al., "Editing models with task arithmetic",
// ICLR 2023):
//
//	w + share (grow(updated) - grow(old))
//
// and for the variances of batch normalisation, which stay positive,
//
//	w (grow(updated) / grow(old))^share
//
// It is for a network that was grown from old and trained, when old has been
// trained on, too: it takes over what old learnt since without the training. A
// share of 0 leaves weights as they are; if weights are those of old, 1 makes
// them those of updated. All must fit their networks (Network.Mismatch), and
// are left as they are.
func AddTaskVector(n *model.Network, weights model.Weights, parent *model.Network, old, updated model.Weights, share float64) model.Weights {
	initial := model.InitialWeights(n, 0) // what old and updated lack; alike in both
	from, _ := Grow(n, initial, parent, old)
	to, _ := Grow(n, initial, parent, updated)
	out := make(model.Weights, len(weights))
	for _, p := range n.Params() {
		add := addScaled
		if isVariance(p.Name) {
			add = scaleByRatio
		}
		out[p.Name] = slices.Clone(weights[p.Name])
		add(out[p.Name], from[p.Name], to[p.Name], share)
	}
	return out
}

func isVariance(tensor string) bool { return strings.HasSuffix(tensor, "/moving_variance") }

// addScaled adds share times the way from old to updated.
func addScaled(w, old, updated []float32, share float64) {
	for i := range w {
		w[i] += float32(share * (float64(updated[i]) - float64(old[i])))
	}
}

// scaleByRatio multiplies by the ratio of updated to old to the power of share.
// A ratio of no sense, of a channel without variance, counts as 1.
func scaleByRatio(w, old, updated []float32, share float64) {
	for i := range w {
		if old[i] > 0 && updated[i] > 0 {
			w[i] *= float32(math.Pow(float64(updated[i])/float64(old[i]), share))
		}
	}
}
