package keras

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evopose/evopose/model"
)

// naming is the variables of a file under our names.
type naming struct {
	tensors  []tensor
	layers   map[string]bool // that have a tensor
	problems []string
}

// name finds our names for the variables. Those of optimisers are left out.
func name(variables []variable, like []*model.Network) (*naming, error) {
	n := &naming{layers: map[string]bool{}}
	paths := map[string]string{}
	numbered := map[string][]variable{}
	for _, v := range variables {
		parts := strings.Split(strings.Trim(v.path, "/"), "/")
		switch {
		case skipped[parts[0]]:
		case isNumbered(parts):
			numbered[parts[len(parts)-3]] = append(numbered[parts[len(parts)-3]], v)
		default:
			n.add(v, parts, paths)
		}
	}
	switch {
	case len(numbered) > 0 && len(n.tensors) == 0:
		return nameNumbered(numbered, like)
	case len(n.tensors) == 0 && n.problems == nil:
		return nil, errNoWeights
	}
	n.problems = slices.Compact(n.problems)
	return n, nil
}

// skipped are the groups of a file that hold no layers.
var skipped = map[string]bool{"optimizer_weights": true, "optimizer": true, "metrics": true, "_metrics": true}

// add names a variable by its path: the last part is the weight, and the last
// but it that is a layer's name is the layer; scopes may stand around it.
func (n *naming) add(v variable, parts []string, paths map[string]string) {
	weight := parts[len(parts)-1]
	scopes := parts[:len(parts)-1]
	if len(scopes) > 0 && scopes[0] == "model_weights" {
		scopes = scopes[1:]
	}
	layer, kind := "", model.Kind(0)
	for _, s := range scopes {
		if k, ok := model.LayerKind(s); ok {
			layer, kind = s, k
		}
	}
	tensor := tensor{variable: v, layer: layer, kind: kind}
	switch short, ok := weightName(weight, kind); {
	case layer == "":
		n.problems = append(n.problems, fmt.Sprintf("%s: no layer of an EvoPose2D network", slices.Concat(scopes, []string{v.path})[0]))
	case !ok:
		n.problems = append(n.problems, fmt.Sprintf("%s: has no weight %q of ours (%s)", layer, weight, v.path))
	case paths[layer+"/"+short] != "":
		n.problems = append(n.problems, fmt.Sprintf("%s: %s is there twice, at %s and at %s", layer, short, paths[layer+"/"+short], v.path))
	default:
		tensor.name = layer + "/" + short
		paths[tensor.name], n.layers[layer] = v.path, true
		n.tensors = append(n.tensors, tensor)
	}
}

// weightName returns our name of a Keras weight of a layer.
func weightName(weight string, kind model.Kind) (string, bool) {
	weight, _, _ = strings.Cut(weight, ":") // Keras 2 writes "kernel:0"
	if kind == model.DepthwiseConv && weight == "depthwise_kernel" {
		weight = "kernel"
	}
	return weight, slices.Contains(weightNames(kind), weight)
}

// weightNames lists the weights of a kind of layer in Keras's order.
func weightNames(kind model.Kind) []string {
	if kind == model.BatchNorm {
		return []string{"gamma", "beta", "moving_mean", "moving_variance"}
	}
	return []string{"kernel", "bias"}
}
