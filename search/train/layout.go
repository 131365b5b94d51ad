package train

import (
	"cmp"
	"slices"
	"strings"

	"github.com/evopose/evopose/model"
)

// layout places a network's parameters in flat vectors: the trainable ones in
// one, the moving statistics in another. Convolution kernels come first, so
// that what is only theirs (L2) works on a prefix.
type layout struct {
	trainable, moving vector
	kernels           int // values of kernels, the prefix of trainable
	size, movingSize  int // of the vectors
}

// vector is how parameters lie one behind the other. Each begins at a multiple
// of row; what is left between them is zero.
type vector struct {
	params []model.Param
	row    int
}

func newLayout(n *model.Network, row int) *layout {
	l := &layout{trainable: vector{row: row}, moving: vector{row: row}}
	for _, p := range n.Params() {
		switch {
		case !p.Trainable:
			l.moving.params = append(l.moving.params, p)
			l.movingSize += l.moving.span(p)
			continue
		case isKernel(p):
			l.kernels += l.trainable.span(p)
		}
		l.trainable.params = append(l.trainable.params, p)
		l.size += l.trainable.span(p)
	}
	slices.SortStableFunc(l.trainable.params, func(a, b model.Param) int { return cmp.Compare(rank(a), rank(b)) })
	return l
}

func isKernel(p model.Param) bool { return strings.HasSuffix(p.Name, "/kernel") }

func rank(p model.Param) int {
	if isKernel(p) {
		return 0
	}
	return 1
}

// span is how many values a parameter takes up.
func (v vector) span(p model.Param) int { return (p.Len() + v.row - 1) / v.row * v.row }

// pack copies the parameters into dst.
func (v vector) pack(dst []float32, w model.Weights) {
	for _, p := range v.params {
		copy(dst, w[p.Name])
		dst = dst[v.span(p):]
	}
}

// unpack adds copies of the parameters in src to w.
func (v vector) unpack(w model.Weights, src []float32) {
	for _, p := range v.params {
		w[p.Name] = slices.Clone(src[:p.Len()])
		src = src[v.span(p):]
	}
}
