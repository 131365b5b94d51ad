package weightfile

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/evopose/evopose/model/onnx"
)

// A budget is the number of bytes that may still be taken for what a file
// holds, whatever it claims.
type budget struct {
	file int64 // bytes of the file
	left int64
}

// newBudget allows what half precision, compression and shared storage make of
// an honest file, and little more.
func newBudget(file []byte) *budget {
	n := int64(len(file))
	return &budget{file: n, left: 16*n + 64<<20}
}

func (b *budget) take(n uint64) error {
	if n > uint64(b.left) {
		return fmt.Errorf("claims %d bytes, too many for a file of %d bytes", n, b.file)
	}
	b.left -= int64(n)
	return nil
}

// A kind is an element type. read is nil where elements are not floating point
// numbers; raw is then of no interest.
type kind struct {
	name string
	size int // bytes of an element
	read func(raw []byte) float32
}

var (
	float16  = kind{"float16", 2, func(raw []byte) float32 { return onnx.Widen(binary.LittleEndian.Uint16(raw)) }}
	bfloat16 = kind{"bfloat16", 2, func(raw []byte) float32 {
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw)) << 16)
	}}
	float32s = kind{"float32", 4, func(raw []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(raw)) }}
	float64s = kind{"float64", 8, func(raw []byte) float32 {
		return float32(math.Float64frombits(binary.LittleEndian.Uint64(raw)))
	}}
)

// maxDims is far above what weights need, and keeps sums of offsets small.
const maxDims = 32

// An array is a tensor as files describe it: a view of raw, in elements.
type array struct {
	kind          kind
	raw           []byte
	offset        int
	shape, stride []int
}

// tensor returns the array's elements in C order. An array that reaches beyond
// raw is an error.
func (a array) tensor(b *budget) (Tensor, error) {
	n, err := count(a.shape)
	if err != nil {
		return Tensor{}, err
	}
	if err := a.check(n); err != nil {
		return Tensor{}, err
	}
	if err := b.take(4 * uint64(n)); err != nil {
		return Tensor{}, fmt.Errorf("shape %v: %w", a.shape, err)
	}
	t := Tensor{Shape: append([]int{}, a.shape...), Data: make([]float32, 0, n)}
	if n > 0 {
		t.Data = a.gather(t.Data, 0, a.offset)
	}
	return t, nil
}

// count returns the number of elements of a shape.
func count(shape []int) (int, error) {
	if len(shape) > maxDims {
		return 0, fmt.Errorf("has %d dimensions, want at most %d", len(shape), maxDims)
	}
	n := 1
	for _, d := range shape {
		if d < 0 || d > math.MaxInt32 || d > 0 && n > math.MaxInt32/d {
			return 0, fmt.Errorf("shape %v: want dimensions from 0, at most %d elements", shape, math.MaxInt32)
		}
		n *= d
	}
	return n, nil
}

// check returns an error unless all n elements lie within raw.
func (a array) check(n int) error {
	if len(a.stride) != len(a.shape) {
		return fmt.Errorf("has %d strides for shape %v", len(a.stride), a.shape)
	}
	if n == 0 {
		return nil
	}
	have := len(a.raw) / a.kind.size
	last := a.offset
	for i, s := range a.stride {
		steps := a.shape[i] - 1
		if s < 0 || s > 0 && steps > have/s {
			return fmt.Errorf("shape %v with strides %v reaches beyond its %d elements", a.shape, a.stride, have)
		}
		last += steps * s
	}
	if a.offset < 0 || a.offset > have || last >= have {
		return fmt.Errorf("shape %v with strides %v from element %d reaches beyond its %d elements", a.shape, a.stride, a.offset, have)
	}
	return nil
}

// gather appends the elements of the dimensions from dim on; at is the index of
// the first.
func (a array) gather(to []float32, dim, at int) []float32 {
	if dim == len(a.shape) {
		return append(to, a.kind.read(a.raw[at*a.kind.size:]))
	}
	for i := range a.shape[dim] {
		to = a.gather(to, dim+1, at+i*a.stride[dim])
	}
	return to
}

// strides returns the strides of a C-ordered array.
func strides(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// encode returns the elements as little-endian float32.
func encode(data []float32) []byte {
	raw := make([]byte, 0, 4*len(data))
	for _, v := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return raw
}
