package model

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Problems is an error about several layers, a line for each.
type Problems struct {
	What  string
	Lines []string
}

// maxLines is how many problems a message names.
const maxLines = 10

// Error names the first ten problems and counts the others.
func (p Problems) Error() string {
	lines := p.Lines
	if more := len(lines) - maxLines; more > 0 {
		lines = append(slices.Clone(lines[:maxLines]), fmt.Sprintf("and %d more", more))
	}
	return p.What + ":\n  " + strings.Join(lines, "\n  ")
}

var layerKinds = []struct {
	pattern *regexp.Regexp
	kind    Kind
}{
	{regexp.MustCompile(`^(stem_conv|final_conv|block[1-7]z*[a-z]_(expand_conv|project_conv|se_reduce|se_expand))$`), Conv},
	{regexp.MustCompile(`^block[1-7]z*[a-z]_dwconv$`), DepthwiseConv},
	{regexp.MustCompile(`^head_block[1-3]_conv$`), ConvTranspose},
	{regexp.MustCompile(`^(stem|head_block[1-3]|block[1-7]z*[a-z](_expand|_project)?)_bn$`), BatchNorm},
}

// LayerKind returns the kind of a layer with weights by its name, and whether
// a network of the search space may have a layer of that name.
func LayerKind(name string) (Kind, bool) {
	for _, k := range layerKinds {
		if k.pattern.MatchString(name) {
			return k.kind, true
		}
	}
	return 0, false
}

// Contradictions lists, layer by layer, what of the clues is not so in the
// network: tensors that are missing, of another shape, or of layers that it
// does not have; strides; the input size.
func (c Clues) Contradictions(n *Network) []string {
	var problems []string
	if c.Input != (Size{}) && c.Input != n.Input {
		problems = append(problems, fmt.Sprintf("input: %v in the file, want %v", c.Input, n.Input))
	}
	for i := range n.Layers {
		l := &n.Layers[i]
		if stride, told := c.Strides[l.Name]; told && stride != l.Stride {
			problems = append(problems, fmt.Sprintf("%s: stride %d in the file, want %d", l.Name, stride, l.Stride))
		}
		problems = append(problems, c.contradictions(l)...)
	}
	return append(problems, c.strangers(n)...)
}

// contradictions lists those of a layer's tensors; tensors of which the same is
// to be said share a line.
func (c Clues) contradictions(l *Layer) []string {
	params := l.params()
	var texts []string
	tensors := map[string][]string{}
	for _, p := range params {
		text := compareShapes(c.Shapes[p.Name], p.Shape)
		if text == "" {
			continue
		}
		if tensors[text] == nil {
			texts = append(texts, text)
		}
		tensors[text] = append(tensors[text], strings.TrimPrefix(p.Name, l.Name+"/"))
	}
	for i, text := range texts {
		if len(tensors[text]) == len(params) {
			texts[i] = l.Name + ": " + text
		} else {
			texts[i] = fmt.Sprintf("%s: %s %s", l.Name, strings.Join(tensors[text], ", "), text)
		}
	}
	return texts
}

// compareShapes says how a shape is not the wanted one; "" where it is.
func compareShapes(got, want []int) string {
	switch {
	case got == nil:
		return "missing"
	case !slices.Equal(got, want):
		return fmt.Sprintf("shape %v in the file, want %v", got, want)
	}
	return ""
}

// strangers lists what the clues have and the network has not: tensors of its
// layers, and whole layers.
func (c Clues) strangers(n *Network) []string {
	layers, tensors := map[string]bool{}, map[string]bool{}
	for _, p := range n.Params() {
		layers[p.Layer], tensors[p.Name] = true, true
	}
	var problems []string
	for name := range c.Shapes {
		layer, tensor, _ := strings.Cut(name, "/")
		switch {
		case !layers[layer]:
			problems = append(problems, layer+": the network has no such layer")
		case !tensors[name]:
			problems = append(problems, fmt.Sprintf("%s: the network's has no %s", layer, tensor))
		}
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

// Faults lists the tensors with values that no training gives: infinite, not a
// number, or variances below zero.
func (n *Network) Faults(w Weights) []string {
	var problems []string
	for _, p := range n.Params() {
		bad, what := notFinite, "not finite"
		if strings.HasSuffix(p.Name, "/moving_variance") {
			bad, what = notVariance, "no variance"
		}
		count, first := 0, float32(0)
		for _, v := range w[p.Name] {
			if bad(float64(v)) {
				if count == 0 {
					first = v
				}
				count++
			}
		}
		if count > 0 {
			problems = append(problems, fmt.Sprintf("%s: %d of %d values are %s, the first is %g", p.Name, count, p.Len(), what, first))
		}
	}
	return problems
}

func notFinite(v float64) bool   { return math.IsNaN(v) || math.IsInf(v, 0) }
func notVariance(v float64) bool { return notFinite(v) || v < 0 }
