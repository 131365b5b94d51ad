// Package onnx writes and reads ONNX model files: the only package that knows
// the format. It covers the subset that EvoPose2D networks need.
package onnx

// Model is an ONNX model: one graph, its operator set and free-form metadata.
type Model struct {
	Producer string
	Opset    int64
	Domains  []string // further operator sets in use, each at version 1; not read back
	Graph    Graph
	Metadata []Property // written in this order
}

// Property is one entry of a model's metadata.
type Property struct{ Key, Value string }

// Graph is a list of nodes in the order of computation.
type Graph struct {
	Name         string
	Nodes        []Node
	Initializers []Tensor
	Inputs       []Value
	Outputs      []Value
}

// Node is one operator.
type Node struct {
	Name, Op, Domain string
	Inputs, Outputs  []string
	Attributes       []Attribute
}

// Attribute is a named constant of a node: exactly one of the values counts,
// as Type says.
type Attribute struct {
	Name   string
	Type   AttributeType
	Int    int64
	Float  float32
	String string
	Ints   []int64
}

// AttributeType is the type of an attribute, with ONNX's numbers.
type AttributeType int32

// The attribute types in use.
const (
	AttrFloat  AttributeType = 1
	AttrInt    AttributeType = 2
	AttrString AttributeType = 3
	AttrInts   AttributeType = 7
)

// DataType is an element type, with ONNX's numbers.
type DataType int32

// The element types in use.
const (
	Float   DataType = 1
	Int64   DataType = 7
	Float16 DataType = 10
)

// size returns the bytes of one element, 0 for a type that is not supported.
func (d DataType) size() int {
	switch d {
	case Float:
		return 4
	case Int64:
		return 8
	case Float16:
		return 2
	}
	return 0
}

// Tensor is a constant; Raw holds its elements, little-endian.
type Tensor struct {
	Name string
	Type DataType
	Dims []int64
	Raw  []byte
}

// Value describes an input or output. A dimension is a number, or a name when
// it is free.
type Value struct {
	Name string
	Type DataType
	Dims []Dim
}

// Dim is one dimension: Param if that is set, else Size.
type Dim struct {
	Size  int64
	Param string
}
