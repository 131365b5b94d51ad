package onnx_test

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
)

// visibleWeights returns weights under which every one of them shows in the
// heatmaps: kernels are initial ones, batch normalisation divides by about the
// variance that its input has, biases and shifts are of the size of the
// values that they are added to. With them heatmaps are of order one.
func visibleWeights(n *model.Network, seed uint64) model.Weights {
	w := model.InitialWeights(n, seed)
	square := map[string]float64{model.InputName: 1} // about the mean square of a layer's output
	for i := range n.Layers {
		l := &n.Layers[i]
		square[l.Name] = visibleLayer(l, w, square)
	}
	return w
}

// visibleLayer sets the weights of a layer and returns about the mean square of
// its output, as if all its inputs were independent.
func visibleLayer(l *model.Layer, w model.Weights, square map[string]float64) float64 {
	in := square[l.Inputs[0]]
	switch l.Kind {
	case model.Conv, model.DepthwiseConv, model.ConvTranspose:
		out := in * taps(l) * meanSquare(w[l.Name+"/kernel"])
		fill(w, l.Name+"/bias", 0, 0.5)
		return out
	case model.BatchNorm:
		fill(w, l.Name+"/gamma", 1, 0.5)
		fill(w, l.Name+"/beta", 0, 0.5)
		fill(w, l.Name+"/moving_mean", 0, 0.5*math.Sqrt(in))
		fill(w, l.Name+"/moving_variance", 1.25*in, 0.75*in)
		return 1.2
	case model.Swish: // E[(x sigmoid(x))^2] is 0.36 for a unit normal
		return 0.36 * in
	case model.Sigmoid:
		return 0.3
	case model.GlobalPool: // the mean of swish is about half of its root mean square
		return 0.25 * in
	case model.Multiply:
		return in * square[l.Inputs[1]]
	case model.Add:
		return in + square[l.Inputs[1]]
	}
	panic(l.Name + ": unknown kind of layer")
}

// taps returns the number of products that are added for one output value.
func taps(l *model.Layer) float64 {
	n := float64(l.Kernel * l.Kernel)
	switch l.Kind {
	case model.Conv:
		n *= float64(l.In.C)
	case model.ConvTranspose:
		n *= float64(l.In.C) / float64(l.Stride*l.Stride)
	}
	return n
}

func meanSquare(x []float32) (sum float64) {
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum / float64(len(x))
}

// fill draws a tensor, if there is one of that name, uniformly from
// centre-reach to centre+reach.
func fill(w model.Weights, name string, centre, reach float64) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	rng := rand.New(rand.NewPCG(7, h.Sum64()))
	for i := range w[name] {
		w[name][i] = float32(centre + reach*(2*rng.Float64()-1))
	}
}

func TestVisibleWeightsAreComplete(t *testing.T) {
	n, err := model.NewNetwork(model.GenotypeS, model.Size{H: 64, W: 64})
	if err != nil {
		t.Fatal(err)
	}
	w := visibleWeights(n, 1)
	if problems := n.Mismatch(w); problems != nil {
		t.Fatal(problems)
	}
	for name, data := range w {
		if !strings.HasSuffix(name, "/kernel") && len(data) > 3 && data[0] == data[1] && data[1] == data[2] {
			t.Errorf("%s is constant", name)
		}
	}
}
