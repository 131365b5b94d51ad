package efficientnet

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/weightfile"
	"github.com/evopose/evopose/preprocess"
)

// expand, filters and kernel of Lite0's 16 blocks, as its file has them.
var lite0 = []struct{ in, wide, out, kernel int }{
	{32, 32, 16, 3}, {16, 96, 24, 3}, {24, 144, 24, 3}, {24, 144, 40, 5}, {40, 240, 40, 5},
	{40, 240, 80, 3}, {80, 480, 80, 3}, {80, 480, 80, 3}, {80, 480, 112, 5}, {112, 672, 112, 5}, {112, 672, 112, 5},
	{112, 672, 192, 5}, {192, 1152, 192, 5}, {192, 1152, 192, 5}, {192, 1152, 192, 5}, {192, 1152, 320, 3},
}

// liteFile returns a file with Lite0's names and shapes and random values.
func liteFile() *weightfile.File {
	f := &weightfile.File{Tensors: map[string]weightfile.Tensor{}, Format: weightfile.PyTorch}
	rng := rand.New(rand.NewPCG(1, 2))
	put := func(name string, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		data := make([]float32, n)
		for i := range data {
			data[i] = rng.Float32() + 0.5
		}
		f.Tensors[name] = weightfile.Tensor{Shape: shape, Data: data}
	}
	norm := func(name string, n int) {
		for _, s := range []string{"weight", "bias", "running_mean", "running_var"} {
			put(name+"."+s, n)
		}
	}
	put("_conv_stem.weight", 32, 3, 3, 3)
	norm("_bn0", 32)
	for i, b := range lite0 {
		at := fmt.Sprintf("_blocks.%d.", i)
		if i > 0 {
			put(at+"_expand_conv.weight", b.wide, b.in, 1, 1)
			norm(at+"_bn0", b.wide)
		}
		put(at+"_depthwise_conv.weight", b.wide, 1, b.kernel, b.kernel)
		norm(at+"_bn1", b.wide)
		put(at+"_project_conv.weight", b.out, b.wide, 1, 1)
		norm(at+"_bn2", b.out)
	}
	put("_conv_head.weight", 1280, 320, 1, 1)
	return f
}

func convert(t *testing.T, f *weightfile.File) (*model.Network, model.Weights) {
	t.Helper()
	n, w, err := Weights(f, 7)
	if err != nil {
		t.Fatal(err)
	}
	if problems := n.Mismatch(w); problems != nil {
		t.Fatal(problems)
	}
	return n, w
}

func TestTensorsFindTheirPlaces(t *testing.T) {
	f := liteFile()
	n, w := convert(t, f)
	for name, want := range map[string]struct {
		from   string
		factor float32
	}{
		"block1a_dwconv/kernel":          {"_blocks.0._depthwise_conv.weight", 0.5},
		"block1a_project_conv/kernel":    {"_blocks.0._project_conv.weight", 1},
		"block2a_expand_conv/kernel":     {"_blocks.1._expand_conv.weight", 1},
		"block2b_expand_bn/beta":         {"_blocks.2._bn0.bias", 2},
		"block4c_bn/gamma":               {"_blocks.7._bn1.weight", 2},
		"block5b_bn/moving_mean":         {"_blocks.9._bn1.running_mean", 1},
		"block6d_project_bn/gamma":       {"_blocks.14._bn2.weight", 1},
		"block7a_project_bn/moving_mean": {"_blocks.15._bn2.running_mean", 1},
	} {
		for i, v := range f.Tensors[want.from].Data {
			if w[name][i] != v*want.factor {
				t.Errorf("%s[%d] is %v, want %v of %s times %v", name, i, w[name][i], v, want.from, want.factor)
				break
			}
		}
	}
	initial := model.InitialWeights(n, 7)
	for _, name := range []string{"head_block1_conv/kernel", "final_conv/kernel", "block3a_se_reduce/kernel"} {
		if w[name] == nil || !slices.Equal(w[name], initial[name]) {
			t.Errorf("%s is not initial", name)
		}
	}
}

// A gate of squeeze-excite that is a constant, as Weights says.
func TestGate(t *testing.T) {
	_, w := convert(t, liteFile())
	for name, data := range w {
		if strings.Contains(name, "_se_expand/") && slices.Max(data) != 0 {
			t.Errorf("%s is not zero", name)
		}
	}
	if got := 1 / (1 + math.Exp(0)); got != gate {
		t.Errorf("the gate is %v", got)
	}
}

// The stem gives twice Lite0's value before the activation, from the same
// pixels in the other normalisation.
func TestStem(t *testing.T) {
	f := liteFile()
	_, w := convert(t, f)
	kernel := f.Tensors["_conv_stem.weight"].Data
	rng := rand.New(rand.NewPCG(3, 4))
	for out := range 32 {
		var lite, ours float64
		for i := range 27 {
			p := rng.Float64() * 255
			lite += float64(kernel[out*27+i]) * (p - 127) / 128
			x := (p/255 - float64(preprocess.Mean[i/9])) / float64(preprocess.Std[i/9])
			ours += float64(w["stem_conv/kernel"][out*27+i]) * x
		}
		b := func(suffix string) float64 { return float64(f.Tensors["_bn0."+suffix].Data[out]) }
		want := 2 * ((lite-b("running_mean"))/math.Sqrt(b("running_var")+1e-3)*b("weight") + b("bias"))
		o := func(suffix string) float64 { return float64(w["stem_bn/"+suffix][out]) }
		got := (ours-o("moving_mean"))/math.Sqrt(o("moving_variance")+1e-3)*o("gamma") + o("beta")
		if math.Abs(got-want) > 1e-4*max(1, math.Abs(want)) {
			t.Errorf("channel %d: %v, want %v", out, got, want)
		}
	}
}

func TestOtherFiles(t *testing.T) {
	f := liteFile()
	if !Is(f) || Is(&weightfile.File{}) {
		t.Error("Is is wrong")
	}
	f.Tensors["_blocks.3._bn1.weight"] = weightfile.Tensor{Shape: []int{5}, Data: make([]float32, 5)}
	if _, _, err := Weights(f, 1); err == nil || !strings.Contains(err.Error(), "_blocks.3._bn1.weight has shape [5], want [144]") {
		t.Errorf("error %v", err)
	}
	delete(f.Tensors, "_blocks.2._project_conv.weight")
	if _, _, err := Weights(f, 1); err == nil || !strings.Contains(err.Error(), "no _blocks.2._project_conv.weight") {
		t.Errorf("error %v", err)
	}
}
