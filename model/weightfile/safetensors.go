package weightfile

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/nlpodyssey/safetensors"
)

// maxSafeHeader is the format's own limit.
const maxSafeHeader = 100_000_000

// isSafeTensors reports whether data begins with a length and a JSON object.
func isSafeTensors(data []byte) bool {
	return len(data) > 8 && data[8] == '{' && binary.LittleEndian.Uint64(data) <= maxSafeHeader
}

var safeKinds = map[safetensors.DType]kind{
	safetensors.F16: float16, safetensors.BF16: bfloat16, safetensors.F32: float32s, safetensors.F64: float64s,
}

// parseSafeTensors reads a safetensors file. The library checks that the
// tensors fill the file, each with the bytes of its shape.
func parseSafeTensors(data []byte, b *budget) (*File, error) {
	st, err := safetensors.Deserialize(data)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	_, meta, err := safetensors.ReadMetadata(data)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	f := newFile(SafeTensors)
	f.Meta = meta.Metadata()
	for _, t := range st.Tensors() {
		if err := f.addSafe(t, b); err != nil {
			return nil, fmt.Errorf("tensor %s: %w", t.Name, err)
		}
	}
	return f, nil
}

func (f *File) addSafe(t safetensors.NamedTensorView, b *budget) error {
	k, ok := safeKinds[t.TensorView.DType()]
	if !ok {
		f.skip(t.Name)
		return nil
	}
	shape := make([]int, len(t.TensorView.Shape()))
	for i, d := range t.TensorView.Shape() {
		shape[i] = int(min(d, math.MaxInt))
	}
	return f.add(t.Name, array{kind: k, raw: t.TensorView.Data(), shape: shape, stride: strides(shape)}, b)
}

// safeView is a tensor as the library writes it. (Its own views refuse scalars.)
type safeView struct {
	shape []uint64
	raw   []byte
}

func (v safeView) DType() safetensors.DType { return safetensors.F32 }
func (v safeView) Shape() []uint64          { return v.shape }
func (v safeView) Data() []byte             { return v.raw }
func (v safeView) DataLen() uint64          { return uint64(len(v.raw)) }

func encodeSafeTensors(f *File) ([]byte, error) {
	views := map[string]safeView{}
	for name, t := range f.Tensors {
		v := safeView{make([]uint64, len(t.Shape)), encode(t.Data)}
		for i, d := range t.Shape {
			v.shape[i] = uint64(d)
		}
		views[name] = v
	}
	return safetensors.Serialize(views, f.Meta)
}
