package train

import (
	"errors"
	"sync"

	"github.com/evopose/evopose/model/ort"
)

// ProbeBlock returns the number of channels in a block of the runtime's
// blocked layout on this processor: 8 with AVX2, 16 with AVX-512, 0 where there is
// no such layout. ort.Init must have been called.
var ProbeBlock = sync.OnceValues(probeBlock)

// probeBlock reorders a tensor of 32 channels of two pixels, numbered in
// order, and looks where the second pixel of channel 0 went.
func probeBlock() (block int, err error) {
	g := newGraph("blocks")
	t := &tape{graph: g}
	const channels = 32
	g.output("y", t.toBlocks(g.input("x", 1, channels, 1, 2)))
	session, err := ort.OpenGraph(g.marshal(), []string{"x"}, []string{"y"}, ort.GraphOptions{Threads: 1})
	if err != nil {
		return 0, nil // a runtime without these operators
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	x, y := make([]float32, 2*channels), make([]float32, 2*channels)
	for i := range x {
		x[i] = float32(i)
	}
	shape := []int{1, channels, 1, 2}
	binding, err := session.Bind([]ort.Tensor{{Shape: shape, Data: x}}, []ort.Tensor{{Shape: shape, Data: y}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, binding.Close()) }()
	if binding.Run() != nil {
		return 0, nil
	}
	for _, block := range []int{8, 16} {
		if y[1] == 2 && y[block] == 1 {
			return block, nil
		}
	}
	return 0, nil
}
