package weightfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/evopose/evopose/model"
)

// torchSuffixes are PyTorch's names of what Param.Name ends in. Its layout of
// kernels is ours, that of transposed convolutions included.
var torchSuffixes = [][2]string{
	{"/kernel", ".weight"}, {"/bias", ".bias"},
	{"/gamma", ".weight"}, {"/beta", ".bias"},
	{"/moving_mean", ".running_mean"}, {"/moving_variance", ".running_var"},
}

// torchName returns PyTorch's name of a tensor of ours.
func torchName(name string) string {
	for _, s := range torchSuffixes {
		if layer, ok := strings.CutSuffix(name, s[0]); ok {
			name = layer + s[1]
		}
	}
	return strings.ReplaceAll(name, "/", ".")
}

// Weights returns the tensors by Param.Name with their shapes. The file's names
// may be those themselves ("stem_conv/kernel") or PyTorch's ("stem_conv.weight",
// also after "module."). Whether they are those of a network is for
// CheckNetwork to say.
func (f *File) Weights() (model.Weights, map[string][]int, error) {
	w, shapes := model.Weights{}, map[string][]int{}
	for _, name := range slices.Sorted(maps.Keys(f.Tensors)) {
		ours := f.paramName(name)
		if _, twice := w[ours]; twice {
			return nil, nil, fmt.Errorf("more than one of its tensors, the last of them %s, is called %s here", name, ours)
		}
		w[ours], shapes[ours] = f.Tensors[name].Data, f.Tensors[name].Shape
	}
	return w, shapes, nil
}

// paramName returns our name of a tensor of the file. A layer is batch
// normalisation if it has a moving variance.
func (f *File) paramName(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, s := range torchSuffixes {
		layer, ok := strings.CutSuffix(name, s[1])
		if !ok {
			continue
		}
		_, isNorm := f.Tensors[layer+".running_var"]
		ours := strings.TrimPrefix(layer, "module.") + s[0]
		if isNorm == (s[0] != "/kernel" && s[0] != "/bias") {
			return ours
		}
	}
	return name
}

// CheckNetwork returns an error that names each tensor that a network lacks,
// has not, or has in another shape. Shapes matter: a kernel in the layout of
// another program has the right number of values in the wrong order.
func CheckNetwork(n *model.Network, shapes map[string][]int) error {
	var problems []string
	known := map[string]bool{}
	for _, p := range n.Params() {
		known[p.Name] = true
		switch shape, ok := shapes[p.Name]; {
		case !ok:
			problems = append(problems, p.Name+": missing")
		case !slices.Equal(shape, p.Shape):
			problems = append(problems, fmt.Sprintf("%s: has shape %v, want %v", p.Name, shape, p.Shape))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		if !known[name] {
			problems = append(problems, name+": the network has no such weights")
		}
	}
	return model.MismatchError(problems)
}
