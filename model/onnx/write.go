package onnx

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// irVersion is the version of the file format that opset 17 came with.
const irVersion = 8

// Field numbers below are those of onnx.proto3.

// Marshal returns the model's file. Equal models give equal bytes.
func Marshal(m *Model) []byte {
	var b []byte
	b = appendInt(b, 1, irVersion)
	b = appendString(b, 2, m.Producer)
	b = appendBytes(b, 7, marshalGraph(&m.Graph))
	b = appendBytes(b, 8, appendInt(nil, 2, m.Opset))
	for _, d := range m.Domains {
		b = appendBytes(b, 8, appendInt(appendString(nil, 1, d), 2, 1))
	}
	for _, p := range m.Metadata {
		b = appendBytes(b, 14, appendString(appendString(nil, 1, p.Key), 2, p.Value))
	}
	return b
}

func marshalGraph(g *Graph) []byte {
	var b []byte
	for i := range g.Nodes {
		b = appendBytes(b, 1, marshalNode(&g.Nodes[i]))
	}
	b = appendString(b, 2, g.Name)
	for i := range g.Initializers {
		b = appendBytes(b, 5, marshalTensor(&g.Initializers[i]))
	}
	for _, v := range g.Inputs {
		b = appendBytes(b, 11, marshalValue(v))
	}
	for _, v := range g.Outputs {
		b = appendBytes(b, 12, marshalValue(v))
	}
	return b
}

func marshalNode(n *Node) []byte {
	var b []byte
	for _, s := range n.Inputs {
		b = appendString(b, 1, s)
	}
	for _, s := range n.Outputs {
		b = appendString(b, 2, s)
	}
	b = appendString(b, 3, n.Name)
	b = appendString(b, 4, n.Op)
	for i := range n.Attributes {
		b = appendBytes(b, 5, marshalAttribute(&n.Attributes[i]))
	}
	if n.Domain != "" {
		b = appendString(b, 7, n.Domain)
	}
	return b
}

func marshalAttribute(a *Attribute) []byte {
	b := appendString(nil, 1, a.Name)
	switch a.Type {
	case AttrFloat:
		b = protowire.AppendTag(b, 2, protowire.Fixed32Type)
		b = protowire.AppendFixed32(b, math.Float32bits(a.Float))
	case AttrInt:
		b = appendInt(b, 3, a.Int)
	case AttrString:
		b = appendString(b, 4, a.String)
	case AttrInts:
		for _, v := range a.Ints {
			b = appendInt(b, 8, v)
		}
	}
	return appendInt(b, 20, int64(a.Type))
}

func marshalTensor(t *Tensor) []byte {
	var b []byte
	for _, d := range t.Dims {
		b = appendInt(b, 1, d)
	}
	b = appendInt(b, 2, int64(t.Type))
	b = appendString(b, 8, t.Name)
	return appendBytes(b, 9, t.Raw)
}

func marshalValue(v Value) []byte {
	var shape []byte
	for _, d := range v.Dims {
		dim := appendString(nil, 2, d.Param)
		if d.Param == "" {
			dim = appendInt(nil, 1, d.Size)
		}
		shape = appendBytes(shape, 1, dim)
	}
	tensor := appendBytes(appendInt(nil, 1, int64(v.Type)), 2, shape)
	return appendBytes(appendString(nil, 1, v.Name), 2, appendBytes(nil, 1, tensor))
}

func appendInt(b []byte, field protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}
