package onnx

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/evopose/evopose/model"
)

// withGraph is the least model around a graph's fields.
func withGraph(b []byte) []byte {
	graph := appendBytes(b, 12, appendString(nil, 1, "out"))
	return appendBytes(appendBytes(nil, 8, appendInt(nil, 2, 17)), 7, graph)
}

// withTensor is a model that holds one tensor of these fields.
func withTensor(b []byte) []byte { return withGraph(appendBytes(nil, 5, b)) }

// floats are the fields of a float32 tensor without data.
func floats(dims ...int64) []byte {
	var b []byte
	for _, v := range dims {
		b = appendInt(b, 1, v)
	}
	return appendInt(b, 2, int64(Float))
}

// raw adds n bytes of data to a tensor.
func raw(tensor []byte, n int) []byte { return appendBytes(tensor, 9, make([]byte, n)) }

// claims is a field whose length is claimed to be n.
func claims(number protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.BytesType), n)
}

// nested opens so many groups of a field that nobody knows.
func nested(depth int) []byte {
	return bytes.Repeat(protowire.AppendTag(nil, 100, protowire.StartGroupType), depth)
}

func TestUnmarshalRefuses(t *testing.T) {
	endless := bytes.Repeat([]byte{0xff}, 11) // a number of more than 64 bits
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":                 {nil, "no outputs"},
		"text":                  {[]byte("hello, I am not a model"), "not a readable ONNX file"},
		"short tensor":          {withTensor(floats(2, 2)), "has 0 bytes, its shape [2 2] asks for 16"},
		"one byte short":        {withTensor(raw(floats(2, 2), 15)), "has 15 bytes, its shape [2 2] asks for 16"},
		"one byte long":         {withTensor(raw(floats(2, 2), 17)), "has 17 bytes, its shape [2 2] asks for 16"},
		"scalar without data":   {withTensor(floats()), "has 0 bytes, its shape [] asks for 4"},
		"data of an empty one":  {withTensor(raw(floats(0, 1<<40), 4)), "has 4 bytes"},
		"halves as floats":      {withTensor(raw(floats(4), 8)), "asks for 16"},
		"huge shape":            {withTensor(floats(1<<40, 1<<40)), "has shape"},
		"product is 2^64":       {withTensor(raw(floats(1<<31, 1<<31), 0)), "has shape"},
		"product is 2^62":       {withTensor(raw(floats(1<<20, 1<<20, 1<<20), 0)), "has shape"},
		"negative":              {withTensor(floats(-1)), "has shape"},
		"two negatives":         {withTensor(raw(floats(-2, -2), 16)), "has shape"},
		"least integer":         {withTensor(floats(-1<<63, -1<<63)), "has shape"},
		"element type":          {withTensor(appendInt(nil, 2, 16)), "element type 16"},
		"no element type":       {withTensor(raw(appendInt(nil, 1, 1), 4)), "element type 0"},
		"external data":         {withTensor(appendInt(floats(1), 14, 1)), "outside the file"},
		"endless dimension":     {withTensor(append(protowire.AppendTag(nil, 1, protowire.VarintType), endless...)), "overflow"},
		"broken packed shape":   {withTensor(appendBytes(nil, 1, []byte{2, 0x80})), "unexpected EOF"},
		"length over the file":  {claims(7, 100), "unexpected EOF"},
		"length of 2^31":        {claims(7, 1<<31), "unexpected EOF"},
		"length of 2^63":        {claims(7, 1<<63), "unexpected EOF"},
		"length over its field": {withGraph(claims(5, 1<<20)), "unexpected EOF"},
		"tensor over its graph": {withTensor(claims(9, 1<<40)), "unexpected EOF"},
		"group never ended":     {nested(3), "unexpected EOF"},
		"group never begun":     {protowire.AppendTag(nil, 100, protowire.EndGroupType), "mismatching end group"},
		"nested too deep":       {nested(1 << 20), "parse error"},
		"field number 0":        {[]byte{0x02, 0x00}, "invalid field number"},
		"two graphs":            {append(withGraph(nil), appendBytes(nil, 7, nil)...), "more than one graph"},
	} {
		m, err := Unmarshal(tt.data)
		if m != nil || !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, tt.want)
		}
	}
}

// Odd but valid: what other writers may do.
func TestUnmarshalAccepts(t *testing.T) {
	group := append(nested(50), bytes.Repeat(protowire.AppendTag(nil, 100, protowire.EndGroupType), 50)...)
	for name, data := range map[string][]byte{
		"nobody's field":    append(withGraph(nil), group...),
		"empty tensor":      withTensor(floats(3, 0, 2)),
		"packed shape":      withTensor(raw(appendInt(appendBytes(nil, 1, []byte{2, 3}), 2, int64(Float)), 24)),
		"packed float data": withTensor(appendBytes(floats(2), 4, make([]byte, 8))),
	} {
		if _, err := Unmarshal(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file cut anywhere is refused, or lacks only metadata.
func TestUnmarshalOfCutFiles(t *testing.T) {
	n := network(t, model.GenotypeS, model.Size{H: 16, W: 16})
	data, err := Export(n, model.InitialWeights(n, 1), testCard(), true)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(data); i += 1 + i/50 {
		m, err := Unmarshal(data[:i])
		switch {
		case err != nil && !errors.Is(err, ErrFormat):
			t.Fatalf("cut at %d: %v", i, err)
		case err == nil && len(m.Graph.Initializers) == 0:
			t.Fatalf("cut at %d of %d: accepted without weights", i, len(data))
		}
	}
}

func TestWeightsRefusesATensorTwice(t *testing.T) {
	n := network(t, model.GenotypeS, model.Size{H: 16, W: 16})
	data, err := Export(n, model.InitialWeights(n, 1), testCard(), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []Tensor{
		{"final_conv/bias", Float, []int64{1}, make([]byte, 4)},
		{"stem_conv/kernel", Float, []int64{1}, make([]byte, 4)}, // also there in half precision
	} {
		m, err := Unmarshal(data)
		if err != nil {
			t.Fatal(err)
		}
		m.Graph.Initializers = append(m.Graph.Initializers, again)
		if _, _, err := Weights(Marshal(m)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), again.Name+" is there twice") {
			t.Errorf("%s: %v", again.Name, err)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	n := network(f, model.GenotypeS, model.Size{H: 16, W: 16})
	data, err := Export(n, model.InitialWeights(n, 1), testCard(), true)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:2000])
	small := &Model{Producer: "x", Opset: 17, Graph: Graph{Outputs: []Value{{"y", Float, []Dim{{Param: "N"}, {Size: 2}}}},
		Nodes:        []Node{{Op: "Conv", Inputs: []string{"x"}, Outputs: []string{"y"}, Attributes: []Attribute{{Name: "pads", Type: AttrInts, Ints: []int64{0, 1}}}}},
		Initializers: []Tensor{{"w", Float, []int64{1}, make([]byte, 4)}}}}
	f.Add(Marshal(small))
	f.Add(withTensor(raw(floats(2, 2), 16)))
	f.Add(withTensor(raw(floats(1<<31, 1<<31), 0)))
	f.Add(append(withGraph(nil), nested(9)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Unmarshal(data)
		if err != nil {
			return
		}
		again, err := Unmarshal(Marshal(m))
		if err != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		if len(again.Graph.Nodes) != len(m.Graph.Nodes) || len(again.Graph.Initializers) != len(m.Graph.Initializers) {
			t.Fatal("nodes or tensors were lost")
		}
	})
}
