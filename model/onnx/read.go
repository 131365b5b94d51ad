package onnx

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrFormat is the error of a file that is not a readable ONNX model.
var ErrFormat = errors.New("not a readable ONNX file")

// Unmarshal reads a model file. It keeps slices of data. Fields that this
// package does not know are skipped; a truncated or contradictory file is an
// error that wraps ErrFormat.
func Unmarshal(data []byte) (*Model, error) {
	m := &Model{}
	graphs := 0
	err := fields(data, func(f field) (err error) {
		switch f.number {
		case 2:
			m.Producer = string(f.bytes)
		case 7:
			if graphs++; graphs > 1 { // a reader may merge them, another takes the last
				return errors.New("it has more than one graph")
			}
			m.Graph, err = readGraph(f.bytes)
		case 8:
			m.Opset, err = readOpset(f.bytes, m.Opset)
		case 14:
			var p Property
			p, err = readProperty(f.bytes)
			m.Metadata = append(m.Metadata, p)
		}
		return err
	})
	if err == nil && (len(m.Graph.Outputs) == 0 || m.Opset == 0) {
		err = errors.New("it has no outputs or no operator set")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return m, nil
}

// field is one field of a protobuf message: bytes for the length-delimited,
// integer for the others.
type field struct {
	number  protowire.Number
	kind    protowire.Type
	integer uint64
	bytes   []byte
}

// fields calls visit for each field of a message.
func fields(b []byte, visit func(field) error) error {
	for len(b) > 0 {
		f, n := consume(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := visit(f); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func consume(b []byte) (f field, total int) {
	var n int
	f.number, f.kind, n = protowire.ConsumeTag(b)
	if n < 0 {
		return f, n
	}
	value := b[n:]
	var m int
	switch f.kind {
	case protowire.VarintType:
		f.integer, m = protowire.ConsumeVarint(value)
	case protowire.Fixed32Type:
		var v uint32
		v, m = protowire.ConsumeFixed32(value)
		f.integer = uint64(v)
	case protowire.BytesType:
		f.bytes, m = protowire.ConsumeBytes(value)
	default:
		m = protowire.ConsumeFieldValue(f.number, f.kind, value)
	}
	if m < 0 {
		return f, m
	}
	return f, n + m
}

// ints appends a repeated integer, which may be packed.
func (f field) ints(to []int64) ([]int64, error) {
	if f.kind == protowire.VarintType {
		return append(to, int64(f.integer)), nil
	}
	for b := f.bytes; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		to, b = append(to, int64(v)), b[n:]
	}
	return to, nil
}

// readOpset returns the version of the default domain, else what was known.
func readOpset(b []byte, known int64) (int64, error) {
	var domain string
	var version int64
	err := fields(b, func(f field) error {
		switch f.number {
		case 1:
			domain = string(f.bytes)
		case 2:
			version = int64(f.integer)
		}
		return nil
	})
	if domain != "" && domain != "ai.onnx" {
		return known, err
	}
	return version, err
}

func readProperty(b []byte) (p Property, err error) {
	err = fields(b, func(f field) error {
		switch f.number {
		case 1:
			p.Key = string(f.bytes)
		case 2:
			p.Value = string(f.bytes)
		}
		return nil
	})
	return p, err
}

func readGraph(b []byte) (g Graph, err error) {
	err = fields(b, func(f field) error {
		switch f.number {
		case 1:
			n, err := readNode(f.bytes)
			g.Nodes = append(g.Nodes, n)
			return err
		case 2:
			g.Name = string(f.bytes)
		case 5:
			t, err := readTensor(f.bytes)
			g.Initializers = append(g.Initializers, t)
			return err
		case 11:
			v, err := readValue(f.bytes)
			g.Inputs = append(g.Inputs, v)
			return err
		case 12:
			v, err := readValue(f.bytes)
			g.Outputs = append(g.Outputs, v)
			return err
		}
		return nil
	})
	return g, err
}

func readNode(b []byte) (n Node, err error) {
	err = fields(b, func(f field) error {
		switch f.number {
		case 1:
			n.Inputs = append(n.Inputs, string(f.bytes))
		case 2:
			n.Outputs = append(n.Outputs, string(f.bytes))
		case 3:
			n.Name = string(f.bytes)
		case 4:
			n.Op = string(f.bytes)
		case 5:
			a, err := readAttribute(f.bytes)
			n.Attributes = append(n.Attributes, a)
			return err
		case 7:
			n.Domain = string(f.bytes)
		}
		return nil
	})
	return n, err
}

func readAttribute(b []byte) (a Attribute, err error) {
	err = fields(b, func(f field) (err error) {
		switch f.number {
		case 1:
			a.Name = string(f.bytes)
		case 2:
			a.Float = math.Float32frombits(uint32(f.integer))
		case 3:
			a.Int = int64(f.integer)
		case 4:
			a.String = string(f.bytes)
		case 8:
			a.Ints, err = f.ints(a.Ints)
		case 20:
			a.Type = AttributeType(f.integer)
		}
		return err
	})
	return a, err
}

func readTensor(b []byte) (t Tensor, err error) {
	var floats []byte
	err = fields(b, func(f field) (err error) {
		switch f.number {
		case 1:
			t.Dims, err = f.ints(t.Dims)
		case 2:
			t.Type = DataType(f.integer)
		case 4:
			floats = append(floats, f.bytes...)
		case 8:
			t.Name = string(f.bytes)
		case 9:
			t.Raw = f.bytes
		case 14:
			if f.integer != 0 {
				err = fmt.Errorf("tensor %s is stored outside the file, which is not supported", t.Name)
			}
		}
		return err
	})
	if t.Type == Float && len(t.Raw) == 0 {
		t.Raw = floats // other writers may use the packed float_data
	}
	if err == nil {
		err = t.check()
	}
	return t, err
}

// check reports whether the data has the length that type and shape ask for.
func (t *Tensor) check() error {
	want := int64(t.Type.size())
	if want == 0 {
		return fmt.Errorf("tensor %s has element type %d, which is not supported", t.Name, t.Type)
	}
	for _, d := range t.Dims {
		if d < 0 || d > 0 && want > math.MaxInt32/d {
			return fmt.Errorf("tensor %s has shape %v", t.Name, t.Dims)
		}
		want *= d
	}
	if int64(len(t.Raw)) != want {
		return fmt.Errorf("tensor %s has %d bytes, its shape %v asks for %d", t.Name, len(t.Raw), t.Dims, want)
	}
	return nil
}

func readValue(b []byte) (v Value, err error) {
	err = fields(b, func(f field) error {
		switch f.number {
		case 1:
			v.Name = string(f.bytes)
		case 2:
			return fields(f.bytes, func(f field) error {
				if f.number != 1 {
					return nil
				}
				return v.readTensorType(f.bytes)
			})
		}
		return nil
	})
	return v, err
}

func (v *Value) readTensorType(b []byte) error {
	return fields(b, func(f field) error {
		switch f.number {
		case 1:
			v.Type = DataType(f.integer)
		case 2:
			return fields(f.bytes, func(f field) error {
				if f.number != 1 {
					return nil
				}
				return v.readDim(f.bytes)
			})
		}
		return nil
	})
}

func (v *Value) readDim(b []byte) error {
	var d Dim
	err := fields(b, func(f field) error {
		switch f.number {
		case 1:
			d.Size = int64(f.integer)
		case 2:
			d.Param = string(f.bytes)
		}
		return nil
	})
	v.Dims = append(v.Dims, d)
	return err
}
