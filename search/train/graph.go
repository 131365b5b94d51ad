package train

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/evopose/evopose/model/onnx"
)

// The operator sets beside ONNX's own. nchwc holds the runtime's internal
// operators on channels in blocks of 8 or 16 (NCHWc).
const (
	microsoft = "com.microsoft"
	nchwc     = "com.microsoft.nchwc"
)

const opset = 17

// value is a tensor of a graph: its name and its fixed shape. A blocked one,
// called [N,C,H,W], lies as [N,C/b,H,W,b] in memory: see blocks.go.
type value struct {
	name    string
	shape   []int
	blocked bool
}

// len returns the number of elements.
func (v value) len() int {
	n := 1
	for _, d := range v.shape {
		n *= d
	}
	return n
}

// graph builds an ONNX graph of fixed shapes, one operator at a time.
type graph struct {
	onnx   onnx.Graph
	consts map[string]value
}

func newGraph(name string) *graph {
	return &graph{onnx: onnx.Graph{Name: name}, consts: map[string]value{}}
}

// marshal returns the graph's ONNX file.
func (g *graph) marshal() []byte {
	return onnx.Marshal(&onnx.Model{Producer: "evopose", Opset: opset, Domains: []string{microsoft, nchwc}, Graph: g.onnx})
}

func dims(shape []int) []onnx.Dim {
	d := make([]onnx.Dim, len(shape))
	for i, n := range shape {
		d[i].Size = int64(n)
	}
	return d
}

// input declares an input of the graph.
func (g *graph) input(name string, shape ...int) value {
	g.onnx.Inputs = append(g.onnx.Inputs, onnx.Value{Name: name, Type: onnx.Float, Dims: dims(shape)})
	return value{name: name, shape: shape}
}

// output makes v, which a single operator computed, an output of the graph,
// called name.
func (g *graph) output(name string, v value) {
	g.rename(v.name, name)
	g.onnx.Outputs = append(g.onnx.Outputs, onnx.Value{Name: name, Type: onnx.Float, Dims: dims(v.shape)})
}

// rename gives a value another name wherever it stands.
func (g *graph) rename(from, to string) {
	for i := range g.onnx.Nodes {
		for _, names := range [][]string{g.onnx.Nodes[i].Inputs, g.onnx.Nodes[i].Outputs} {
			for j := range names {
				if names[j] == from {
					names[j] = to
				}
			}
		}
	}
}

// node is one operator with named outputs or, where out is empty, one output
// whose name is made up.
type node struct {
	op, domain string
	in         []value
	attrs      []onnx.Attribute
	out        string
	shape      []int
}

func (g *graph) emit(n node) value {
	if n.out == "" {
		n.out = fmt.Sprintf("%s_%d", n.op, len(g.onnx.Nodes))
	}
	names := make([]string, len(n.in))
	for i, v := range n.in {
		names[i] = v.name
	}
	g.onnx.Nodes = append(g.onnx.Nodes, onnx.Node{Name: n.out, Op: n.op, Domain: n.domain,
		Inputs: names, Outputs: []string{n.out}, Attributes: n.attrs})
	return value{name: n.out, shape: n.shape}
}

func ints(name string, v ...int) onnx.Attribute {
	a := onnx.Attribute{Name: name, Type: onnx.AttrInts}
	for _, n := range v {
		a.Ints = append(a.Ints, int64(n))
	}
	return a
}

func integer(name string, v int) onnx.Attribute {
	return onnx.Attribute{Name: name, Type: onnx.AttrInt, Int: int64(v)}
}

// scalar returns a constant.
func (g *graph) scalar(v float64) value {
	raw := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(v)))
	return g.constant(fmt.Sprintf("scalar_%g", v), onnx.Float, nil, raw)
}

// list returns a constant vector of whole numbers, such as a shape.
func (g *graph) list(v ...int) value {
	var raw []byte
	for _, n := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(n))
	}
	return g.constant(fmt.Sprintf("list_%v", v), onnx.Int64, []int{len(v)}, raw)
}

// constant adds an initialiser, once for each name.
func (g *graph) constant(name string, kind onnx.DataType, shape []int, raw []byte) value {
	if v, ok := g.consts[name]; ok {
		return v
	}
	t := onnx.Tensor{Name: name, Type: kind, Raw: raw}
	for _, d := range shape {
		t.Dims = append(t.Dims, int64(d))
	}
	g.onnx.Initializers = append(g.onnx.Initializers, t)
	v := value{name: name, shape: shape}
	g.consts[name] = v
	return v
}

// broadcast returns the shape of an elementwise operator's result; shapes have
// equal ranks or one of the values is a scalar.
func broadcast(a, b value) []int {
	if len(a.shape) < len(b.shape) {
		a, b = b, a
	}
	shape := append([]int(nil), a.shape...)
	if b.len() == 1 {
		return shape
	}
	for i, d := range b.shape {
		shape[i] = max(shape[i], d)
	}
	return shape
}

// binary is elementwise; two values that are no scalars have the same layout.
func (g *graph) binary(op string, a, b value) value {
	v := g.emit(node{op: op, in: []value{a, b}, shape: broadcast(a, b)})
	v.blocked = a.blocked || b.blocked
	return v
}

func (g *graph) add(a, b value) value { return g.binary("Add", a, b) }
func (g *graph) sub(a, b value) value { return g.binary("Sub", a, b) }
func (g *graph) mul(a, b value) value { return g.binary("Mul", a, b) }
func (g *graph) div(a, b value) value { return g.binary("Div", a, b) }

// times multiplies by a constant.
func (g *graph) times(a value, f float64) value { return g.mul(a, g.scalar(f)) }

func (g *graph) unary(op string, a value) value {
	n := node{op: op, in: []value{a}, shape: a.shape}
	if op == "QuickGelu" { // x*sigmoid(alpha x)
		n.domain, n.attrs = microsoft, []onnx.Attribute{{Name: "alpha", Type: onnx.AttrFloat, Float: 1}}
	}
	v := g.emit(n)
	v.blocked = a.blocked
	return v
}

func (g *graph) reshape(a value, shape ...int) value {
	return g.emit(node{op: "Reshape", in: []value{a, g.list(shape...)}, shape: shape})
}

func (g *graph) transpose(a value, perm ...int) value {
	shape := make([]int, len(perm))
	for i, p := range perm {
		shape[i] = a.shape[p]
	}
	return g.emit(node{op: "Transpose", in: []value{a}, attrs: []onnx.Attribute{ints("perm", perm...)}, shape: shape})
}

// sum adds up over the axes, which stay with length 1.
func (g *graph) sum(a value, axes ...int) value {
	shape := append([]int(nil), a.shape...)
	for _, i := range axes {
		shape[i] = 1
	}
	return g.emit(node{op: "ReduceSum", in: []value{a, g.list(axes...)}, shape: shape})
}

func (g *graph) concat(axis int, parts ...value) value {
	if len(parts) == 1 {
		return parts[0]
	}
	shape := append([]int(nil), parts[0].shape...)
	for _, p := range parts[1:] {
		shape[axis] += p.shape[axis]
	}
	return g.emit(node{op: "Concat", in: parts, attrs: []onnx.Attribute{integer("axis", axis)}, shape: shape})
}

// split cuts a along its first axis into parts of the lengths.
func (g *graph) split(a value, lengths ...int) []value {
	n := onnx.Node{Name: fmt.Sprintf("Split_%d", len(g.onnx.Nodes)), Op: "Split",
		Inputs: []string{a.name, g.list(lengths...).name}, Attributes: []onnx.Attribute{integer("axis", 0)}}
	parts := make([]value, len(lengths))
	for i, l := range lengths {
		shape := append([]int(nil), a.shape...)
		shape[0] = l
		parts[i] = value{name: fmt.Sprintf("%s_%d", n.Name, i), shape: shape}
		n.Outputs = append(n.Outputs, parts[i].name)
	}
	g.onnx.Nodes = append(g.onnx.Nodes, n)
	return parts
}

// slice takes every step-th element from start on along an axis, count of
// them; step may be negative.
func (g *graph) slice(a value, axis, start, step, count int) value {
	end := start + step*(count-1) + 1
	if step < 0 {
		end = start + step*(count-1) - 1
		if end < 0 {
			end = math.MinInt32 // before the first element
		}
	}
	shape := append([]int(nil), a.shape...)
	shape[axis] = count
	return g.emit(node{op: "Slice", in: []value{a, g.list(start), g.list(end), g.list(axis), g.list(step)}, shape: shape})
}

// pad adds zeros; before and after count the elements of each axis.
func (g *graph) pad(a value, before, after []int) value {
	shape := append([]int(nil), a.shape...)
	for i := range shape {
		shape[i] += before[i] + after[i]
	}
	return g.emit(node{op: "Pad", in: []value{a, g.list(append(append([]int(nil), before...), after...)...)}, shape: shape})
}

// matmul multiplies the last two axes, batched over the others, which broadcast;
// transA and transB transpose a factor first. A factor of rank 2 serves the whole
// batch.
func (g *graph) matmul(a, b value, transA, transB bool) value {
	m, n := a.shape[len(a.shape)-2], b.shape[len(b.shape)-1]
	attrs := []onnx.Attribute{}
	if transA {
		m = a.shape[len(a.shape)-1]
		attrs = append(attrs, integer("transA", 1))
	}
	if transB {
		n = b.shape[len(b.shape)-2]
		attrs = append(attrs, integer("transB", 1))
	}
	batch := broadcast(value{shape: a.shape[:len(a.shape)-2]}, value{shape: b.shape[:len(b.shape)-2]})
	shape := append(batch, m, n)
	return g.emit(node{op: "FusedMatMul", domain: microsoft, in: []value{a, b}, attrs: attrs, shape: shape})
}

// convolution describes a Conv or ConvTranspose; pads are top, left, bottom,
// right.
type convolution struct {
	op, domain string
	group      int
	stride     int
	dilation   int
	pads       [4]int
	activation string // of the result, in the blocked layout: empty or Sigmoid
}

// conv convolves x [N,C,H,W] with the kernel and adds the bias [out], if there
// is one; out are the channels of the result.
func (g *graph) conv(c convolution, x, kernel value, out int, bias ...value) value {
	stride, dilation := max(1, c.stride), max(1, c.dilation)
	kh, kw := kernel.shape[2], kernel.shape[3]
	h := (x.shape[2]+c.pads[0]+c.pads[2]-dilation*(kh-1)-1)/stride + 1
	w := (x.shape[3]+c.pads[1]+c.pads[3]-dilation*(kw-1)-1)/stride + 1
	if c.op == "ConvTranspose" {
		h = stride*(x.shape[2]-1) + kh - c.pads[0] - c.pads[2]
		w = stride*(x.shape[3]-1) + kw - c.pads[1] - c.pads[3]
	}
	attrs := []onnx.Attribute{integer("group", max(1, c.group)), ints("kernel_shape", kh, kw),
		ints("strides", stride, stride), ints("dilations", dilation, dilation), ints("pads", c.pads[:]...)}
	if c.activation != "" {
		attrs = append(attrs, onnx.Attribute{Name: "activation", Type: onnx.AttrString, String: c.activation})
	}
	return g.emit(node{op: c.op, domain: c.domain, in: append([]value{x, kernel}, bias...), shape: []int{x.shape[0], out, h, w}, attrs: attrs})
}
