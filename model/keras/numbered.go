package keras

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/evopose/evopose/model"
)

// The weights that Keras 3 saves alone are in /layers/CLASS_N/vars/W: layer
// number N of its class in the order of the model, weight number W of it.

// isNumbered reports whether a path is of that form.
func isNumbered(parts []string) bool {
	n := len(parts)
	return n >= 4 && parts[n-4] == "layers" && parts[n-2] == "vars"
}

// classes are the names of Keras's classes with weights.
var classes = map[model.Kind]string{
	model.Conv: "conv2d", model.DepthwiseConv: "depthwise_conv2d", model.ConvTranspose: "conv2d_transpose",
	model.BatchNorm: "batch_normalization", //nolint:misspell // Keras's spelling
}

// nameNumbered names numbered layers after those of the first network that
// they fit.
func nameNumbered(numbered map[string][]variable, like []*model.Network) (*naming, error) {
	for _, network := range like {
		if n := nameLike(numbered, network); n != nil {
			return n, nil
		}
	}
	var names []string
	for name := range numbered {
		names = append(names, name)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("the %d layers have no names of their own, only numbers such as %s, for Keras 3 saved the weights alone; "+
		"and their shapes are not those of %s. Save the whole model instead, model.save(\"model.h5\"), or say with --model which network it is",
		len(names), names[0], likeText(like))
}

func likeText(like []*model.Network) string {
	if len(like) == 1 {
		return "the network of --model"
	}
	return "the published networks"
}

// nameLike names the layers after the network's, nil unless they are just its
// layers with its shapes.
func nameLike(numbered map[string][]variable, network *model.Network) *naming {
	n := &naming{layers: map[string]bool{}}
	shapes := map[string][]int{}
	count := map[model.Kind]int{}
	for i := range network.Layers {
		l := &network.Layers[i]
		class, ok := classes[l.Kind]
		if !ok {
			continue
		}
		if count[l.Kind] > 0 {
			class += "_" + strconv.Itoa(count[l.Kind])
		}
		count[l.Kind]++
		for _, v := range numbered[class] {
			t, err := numberedTensor(v, l)
			if err != nil {
				return nil
			}
			if shapes[t.name], err = t.shape(); err != nil {
				return nil
			}
			n.tensors = append(n.tensors, t)
		}
		n.layers[l.Name] = true
	}
	if len(n.layers) != len(numbered) || len(model.Clues{Shapes: shapes}.Contradictions(network)) > 0 {
		return nil
	}
	return n
}

var errNumber = errors.New("no such weight")

// numberedTensor names a variable of a layer by its number, the last part of
// its path.
func numberedTensor(v variable, l *model.Layer) (tensor, error) {
	names := weightNames(l.Kind)
	i, err := strconv.Atoi(v.path[strings.LastIndex(v.path, "/")+1:])
	if err != nil || i < 0 || i >= len(names) {
		return tensor{}, errNumber
	}
	return tensor{variable: v, name: l.Name + "/" + names[i], layer: l.Name, kind: l.Kind}, nil
}
