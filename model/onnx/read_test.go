package onnx

import (
	"errors"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
)

func TestUnmarshalRefuses(t *testing.T) {
	tensor := func(b []byte) []byte { // a model that holds one tensor
		graph := appendBytes(appendBytes(nil, 5, b), 12, appendString(nil, 1, "out"))
		return appendBytes(appendBytes(nil, 8, appendInt(nil, 2, 17)), 7, graph)
	}
	dims := func(d ...int64) []byte {
		var b []byte
		for _, v := range d {
			b = appendInt(b, 1, v)
		}
		return appendInt(b, 2, int64(Float))
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":         {nil, "no outputs"},
		"text":          {[]byte("hello, I am not a model"), "not a readable ONNX file"},
		"short tensor":  {tensor(dims(2, 2)), "has 0 bytes, its shape [2 2] asks for 16"},
		"huge shape":    {tensor(dims(1<<40, 1<<40)), "has shape"},
		"negative":      {tensor(dims(-1)), "has shape"},
		"element type":  {tensor(appendInt(nil, 2, 16)), "element type 16"},
		"external data": {tensor(appendInt(dims(1), 14, 1)), "outside the file"},
	} {
		_, err := Unmarshal(tt.data)
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, tt.want)
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
