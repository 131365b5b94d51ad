package search

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evopose/evopose/model"
)

// Origin tells where the values of a transferred tensor come from.
type Origin int

// The origins of a tensor.
const (
	Copied   Origin = iota // every value is the parent's
	Partial                // cut to the child's shape, or partly initial
	Extended               // a vector continued with the mean of the parent's
	Initial                // the parent has no such tensor
	origins
)

// String returns the origin in a word.
func (o Origin) String() string {
	return [origins]string{"copied", "partial", "extended", "initial"}[o]
}

// Transferred tells how one tensor of the child got its values.
type Transferred struct {
	Name      string // the child's tensor, such as "block3b_dwconv/kernel"
	From      string // the parent's tensor; empty if Initial
	Origin    Origin
	Shape     []int // of the child's tensor
	FromShape []int // of the parent's; nil if Initial
	Values    int   // how many values are the parent's own
}

// String describes the transfer of one tensor in a line.
func (t Transferred) String() string {
	if t.Origin == Initial {
		return fmt.Sprintf("%s %v: initial", t.Name, t.Shape)
	}
	return fmt.Sprintf("%s %v: %v from %s %v", t.Name, t.Shape, t.Origin, t.From, t.FromShape)
}

// Transfer returns the weights that child starts from when its parent is
// already trained, and how each tensor got them, in the order of the layers.
// It is the paper's weight transfer, by the names of tensors:
//
//   - a tensor of the parent's shape is copied;
//   - another kernel takes the leading output and input channels that both
//     have, aligned at the centre, and keeps its initial values elsewhere;
//   - another vector (batch normalisation, bias) is cut, or continued with the
//     mean of the parent's values;
//   - a block that the parent lacks takes from the last block of the same stage
//     that the parent has.
//
// initial must fit child and weights must fit parent (Network.Mismatch); both
// are left as they are. A tensor that the parent does not have in any form
// keeps its initial values.
func Transfer(child *model.Network, initial model.Weights, parent *model.Network, weights model.Weights) (model.Weights, Summary) {
	sources := newSources(parent)
	out := make(model.Weights, len(initial))
	var summary Summary
	for _, p := range child.Params() {
		data := slices.Clone(initial[p.Name])
		out[p.Name] = data
		t := Transferred{Name: p.Name, Shape: p.Shape, Origin: Initial}
		if from, ok := sources.find(p); ok {
			t.From, t.FromShape = from.Name, from.Shape
			t.Origin, t.Values = transferTensor(data, p.Shape, weights[from.Name], from.Shape)
		}
		summary = append(summary, t)
	}
	return out, summary
}

// sources finds the parent's tensor for one of the child's.
type sources struct {
	byName map[string]model.Param
	// last holds the last block's tensor of each stage, under the name
	// without the block's letter: "block3_dwconv/kernel".
	last map[string]model.Param
}

func newSources(parent *model.Network) sources {
	s := sources{map[string]model.Param{}, map[string]model.Param{}}
	for _, p := range parent.Params() {
		s.byName[p.Name] = p
		if name, ok := stageTensor(p.Name); ok {
			s.last[name] = p
		}
	}
	return s
}

func (s sources) find(p model.Param) (model.Param, bool) {
	if from, ok := s.byName[p.Name]; ok {
		return from, len(from.Shape) == len(p.Shape)
	}
	name, ok := stageTensor(p.Name)
	if !ok {
		return model.Param{}, false
	}
	from, ok := s.last[name]
	return from, ok && len(from.Shape) == len(p.Shape)
}

// stageTensor takes the letters of the block out of a tensor's name:
// "block3b_dwconv/kernel" gives "block3_dwconv/kernel". It is false for
// tensors outside the stages' blocks.
func stageTensor(name string) (string, bool) {
	const stage = len("block3")
	block, rest, ok := strings.Cut(name, "_")
	if !ok || !strings.HasPrefix(block, "block") || len(block) <= stage {
		return "", false
	}
	return block[:stage] + "_" + rest, true
}

// transferTensor overwrites dst, which holds initial values, with those of src
// by the rules of Transfer. It returns what it did and how many values of src
// it took.
func transferTensor(dst []float32, to []int, src []float32, from []int) (Origin, int) {
	switch {
	case slices.Equal(to, from):
		return Copied, copy(dst, src)
	case len(to) == 1:
		return transferVector(dst, src)
	}
	return Partial, copyKernel(dst, to, src, from)
}

func transferVector(dst, src []float32) (Origin, int) {
	n := copy(dst, src)
	if n == len(dst) {
		return Partial, n
	}
	var sum float64
	for _, v := range src {
		sum += float64(v)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = float32(sum / float64(len(src)))
	}
	return Extended, n
}

// copyKernel copies what two kernels have in common and returns how many values
// that are. Every layout of model.Param is two dimensions of channels (one of
// length 1 for a depthwise kernel), then a square with an odd side.
func copyKernel(dst []float32, to []int, src []float32, from []int) int {
	out, in, side := min(to[0], from[0]), min(to[1], from[1]), min(to[2], from[2])
	for o := range out {
		for i := range in {
			for y := range side {
				d, s := rowOf(to, o, i, y, side), rowOf(from, o, i, y, side)
				copy(dst[d:d+side], src[s:s+side])
			}
		}
	}
	return out * in * side * side
}

// rowOf returns where row y of the square of the given side in the middle of
// filter (o, i) begins, in a kernel of the given shape.
func rowOf(shape []int, o, i, y, side int) int {
	k := shape[2]
	margin := (k - side) / 2
	return ((o*shape[1]+i)*k+margin+y)*k + margin
}

// Summary tells of each tensor of a child, in the order of its layers, how it
// got its values.
type Summary []Transferred

// String counts tensors by origin, and the share of values that are the
// parent's.
func (s Summary) String() string {
	var counts [origins]int
	taken, total := 0, 0
	for _, t := range s {
		counts[t.Origin]++
		taken += t.Values
		total += model.Param{Shape: t.Shape}.Len()
	}
	var parts []string
	for o, n := range counts {
		parts = append(parts, fmt.Sprintf("%d %v", n, Origin(o)))
	}
	return fmt.Sprintf("%d tensors: %s; %.1f %% of the values are the parent's",
		len(s), strings.Join(parts, ", "), 100*float64(taken)/float64(max(total, 1)))
}
