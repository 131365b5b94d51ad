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
	trainable, moving []model.Param
	kernels           int // values in kernels, the prefix of trainable
	size, movingSize  int // values in all of trainable and of moving
}

func newLayout(n *model.Network) *layout {
	l := &layout{}
	for _, p := range n.Params() {
		switch {
		case !p.Trainable:
			l.moving = append(l.moving, p)
			l.movingSize += p.Len()
			continue
		case isKernel(p):
			l.kernels += p.Len()
		}
		l.trainable = append(l.trainable, p)
		l.size += p.Len()
	}
	slices.SortStableFunc(l.trainable, func(a, b model.Param) int { return cmp.Compare(rank(a), rank(b)) })
	return l
}

func isKernel(p model.Param) bool { return strings.HasSuffix(p.Name, "/kernel") }

func rank(p model.Param) int {
	if isKernel(p) {
		return 0
	}
	return 1
}

// pack copies the parameters into dst, one behind the other.
func pack(dst []float32, params []model.Param, w model.Weights) {
	for _, p := range params {
		dst = dst[copy(dst, w[p.Name]):]
	}
}

// unpack adds copies of the parameters in src to w.
func unpack(w model.Weights, params []model.Param, src []float32) {
	for _, p := range params {
		w[p.Name] = slices.Clone(src[:p.Len()])
		src = src[p.Len():]
	}
}
