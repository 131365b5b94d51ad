package keras

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
)

func network(t *testing.T, g model.Genotype, h, w int) *model.Network {
	t.Helper()
	n, err := model.NewNetwork(g, model.Size{H: h, W: w})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// kerasAxes says, in words of its own, what Keras's axes are: the place of each
// in our shape.
func kerasShape(p model.Param, kind model.Kind) []int {
	s := p.Shape
	if len(s) == 1 {
		return s
	}
	if kind == model.DepthwiseConv { // ours [channel, 1, kh, kw]
		return []int{s[2], s[3], s[0], s[1]}
	}
	return []int{s[2], s[3], s[1], s[0]} // ours [out, in, kh, kw], transposed [in, out, kh, kw]
}

// variables returns a file's arrays for a network. path makes the path of a
// weight of a layer; the values tell the tensor's number and the place.
func variables(n *model.Network, path func(layer, weight string, kind model.Kind) string) []variable {
	var out []variable
	for _, p := range n.Params() {
		kind, _ := model.LayerKind(p.Layer)
		shape := kerasShape(p, kind)
		data := make([]float32, p.Len())
		for i := range data {
			data[i] = float32(len(out)*1000 + i)
		}
		weight := strings.TrimPrefix(p.Name, p.Layer+"/")
		out = append(out, variable{path(p.Layer, weight, kind), shape, func() ([]float32, error) { return data, nil }})
	}
	return out
}

func plain(layer, weight string, _ model.Kind) string {
	return fmt.Sprintf("/model_weights/%s/%s/%s:0", layer, layer, weight)
}

// styles are the ways in which Keras names weights.
var styles = map[string]func(layer, weight string, kind model.Kind) string{
	"Keras 2 whole": func(layer, weight string, kind model.Kind) string {
		if kind == model.DepthwiseConv {
			weight = "depthwise_kernel"
		}
		return plain(layer, weight, kind)
	},
	"Keras 3 whole":      func(l, w string, _ model.Kind) string { return fmt.Sprintf("/model_weights/%s/evopose/%s/%s", l, l, w) },
	"scope made unique":  func(l, w string, _ model.Kind) string { return fmt.Sprintf("/model_weights/%s/%s_1/%s:0", l, l, w) },
	"inside a model":     func(l, w string, _ model.Kind) string { return fmt.Sprintf("/model_weights/evopose/%s/%s:0", l, w) },
	"Keras 2 weights":    func(l, w string, _ model.Kind) string { return fmt.Sprintf("/%s/%s/%s:0", l, l, w) },
	"weights by replica": func(l, w string, _ model.Kind) string { return fmt.Sprintf("/%s/%s/replica_0/%s:0", l, l, w) },
}

func TestStyles(t *testing.T) {
	n := network(t, model.GenotypeDefault, 64, 64)
	want, err := assemble(variables(n, plain), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if problems := want.Clues.Contradictions(n); problems != nil {
		t.Fatal(problems)
	}
	for name, path := range styles {
		got, err := assemble(variables(n, path), nil, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !maps.EqualFunc(want.Weights, got.Weights, slices.Equal) {
			t.Errorf("%s: other weights", name)
		}
	}
}

// TestLayout has the formula of each kind of kernel: where a value of Keras's
// is in ours.
func TestLayout(t *testing.T) {
	const kh, kw, a, b = 3, 5, 4, 2 // all different, so that no axis stands for another
	for kind, index := range map[model.Kind]func(y, x, i, j int) int{
		model.Conv:          func(y, x, in, out int) int { return ((out*a+in)*kh+y)*kw + x },
		model.DepthwiseConv: func(y, x, c, one int) int { return ((c*b+one)*kh+y)*kw + x },
		model.ConvTranspose: func(y, x, out, in int) int { return ((in*a+out)*kh+y)*kw + x },
	} {
		data := make([]float32, kh*kw*a*b)
		for i := range data {
			data[i] = float32(i)
		}
		v := variable{shape: []int{kh, kw, a, b}, read: func() ([]float32, error) { return data, nil }}
		got, err := tensor{variable: v, kind: kind}.read()
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range data {
			j, rest := i%b, i/b
			if at := index(rest/a/kw, rest/a%kw, rest%a, j); got[at] != v {
				t.Fatalf("kind %d: value %d is not at %d", kind, i, at)
			}
		}
	}
}

// edit returns the variables of S with one change.
func edit(t *testing.T, change func(v []variable) []variable) []variable {
	t.Helper()
	return change(variables(network(t, model.GenotypeS, 256, 192), plain))
}

func find(v []variable, path string) *variable {
	i := slices.IndexFunc(v, func(v variable) bool { return strings.HasSuffix(v.path, path) })
	return &v[i]
}

func TestAssembleRefuses(t *testing.T) {
	broken := errors.New("a broken chunk")
	for name, test := range map[string]struct {
		change func(v []variable) []variable
		want   []string
	}{
		"empty":     {func([]variable) []variable { return nil }, []string{"no weights: it has no datasets"}},
		"optimiser": {func(v []variable) []variable { v[0].path = "/optimizer_weights/x:0"; return v[:1] }, []string{"no weights"}},
		"strangers": {func(v []variable) []variable {
			return append(v, variable{path: "/model_weights/conv2d_3/conv2d_3/kernel:0"}, variable{path: "/model_weights/conv2d_3/conv2d_3/bias:0"}, variable{path: "/loose"})
		}, []string{"not the weights of an EvoPose2D network:\n  conv2d_3: no layer of an EvoPose2D network\n  /loose: no layer"}},
		"twice": {func(v []variable) []variable {
			return append(v, variable{path: "/model_weights/stem_conv/other/kernel:0"})
		}, []string{"stem_conv: kernel is there twice, at /model_weights/stem_conv/stem_conv/kernel:0 and at /model_weights/stem_conv/other/kernel:0"}},
		"weight": {func(v []variable) []variable { v[0].path = "/stem_conv/stem_conv/pointwise_kernel:0"; return v },
			[]string{`stem_conv: has no weight "pointwise_kernel:0" of ours (/stem_conv/stem_conv/pointwise_kernel:0)`}},
		"rank": {func(v []variable) []variable {
			find(v, "/stem_conv/kernel:0").shape, find(v, "/stem_bn/beta:0").shape = []int{3, 3, 96}, []int{32, 1}
			return v
		}, []string{"stem_conv/kernel: shape [3 3 96]: want four numbers", "stem_bn/beta: shape [32 1]: want one number"}},
		"many values": {func(v []variable) []variable { v[0].shape = []int{1 << 20, 1 << 10, 1, 1}; return v }, []string{"values: more than any network of ours has"}},
		"unreadable": {func(v []variable) []variable { v[0].read = func() ([]float32, error) { return nil, broken }; return v },
			[]string{"/model_weights/stem_conv/stem_conv/kernel:0: a broken chunk"}},
		"short": {func(v []variable) []variable {
			v[0].read = func() ([]float32, error) { return make([]float32, 3), nil }
			return v
		},
			[]string{"has 3 values, its shape [3 3 3 32] wants 864"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := assemble(edit(t, test.change), nil, nil)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message lacks %q:\n%v", want, err)
				}
			}
		})
	}
}

// numbered returns the variables as Keras 3 saves weights alone: layers count
// by class.
func numbered(n *model.Network) []variable {
	number, seen := map[string]int{}, map[string]int{}
	return variables(n, func(layer, weight string, kind model.Kind) string {
		class := map[model.Kind]string{
			model.Conv: "conv2d", model.DepthwiseConv: "depthwise_conv2d", model.ConvTranspose: "conv2d_transpose",
			model.BatchNorm: "batch_normalization", //nolint:misspell // Keras's spelling
		}[kind]
		if _, ok := number[layer]; !ok {
			number[layer] = seen[class]
			seen[class]++
		}
		if number[layer] > 0 {
			class = fmt.Sprintf("%s_%d", class, number[layer])
		}
		w := map[string]int{"kernel": 0, "bias": 1, "gamma": 0, "beta": 1, "moving_mean": 2, "moving_variance": 3}[weight]
		return fmt.Sprintf("/layers/%s/vars/%d", class, w)
	})
}

func TestNumberedLayers(t *testing.T) {
	s, m := network(t, model.GenotypeS, 256, 192), network(t, model.GenotypeS, 384, 288)
	want, err := assemble(variables(m, plain), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := assemble(numbered(m), nil, []*model.Network{s, m})
	if err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(want.Weights, got.Weights, slices.Equal) {
		t.Error("other weights")
	}
	if d := cmp.Diff(want.Clues, got.Clues); d != "" {
		t.Error(d)
	}
	for what, like := range map[string][]*model.Network{"the network of --model": {s}, "the published networks": {s, network(t, model.GenotypeDefault, 256, 192)}} {
		_, err := assemble(numbered(m), nil, like)
		if err == nil || !strings.Contains(err.Error(), "have no names of their own") || !strings.Contains(err.Error(), "not those of "+what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, path := range []string{"/layers/conv2d/vars/2", "/layers/conv2d/vars/x", "/layers/dense/vars/0", "/layers/conv2d/vars/0"} {
		v := append(numbered(m), variable{path: path, shape: []int{1}})
		if _, err := assemble(v, nil, []*model.Network{m}); err == nil {
			t.Errorf("%s besides: no error", path)
		}
	}
}
