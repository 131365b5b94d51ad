package model

import (
	"fmt"
	"strings"
)

// Kind is what a layer computes.
type Kind int

// The kinds of layers. All work on [N, C, H, W] tensors.
const (
	Conv          Kind = iota // dense convolution, kernel [out, in, k, k]
	DepthwiseConv             // one filter a channel, kernel [C, 1, k, k]
	ConvTranspose             // transposed convolution, kernel [in, out, k, k]
	BatchNorm                 // epsilon Epsilon, momentum Momentum
	Swish                     // x * sigmoid(x), also called SiLU
	Sigmoid                   // logistic function
	GlobalPool                // mean over H and W, result [N, C, 1, 1]
	Multiply                  // first input scaled by the second, [N, C, 1, 1]
	Add                       // residual: first input + drop-connect(second)
)

// Epsilon and Momentum are those of every batch normalisation.
const (
	Epsilon  = 1e-3
	Momentum = 0.99
)

// InputName is the name by which layers refer to the network's input.
const InputName = "image"

// seRatio is the squeeze-excite reduction relative to the block's input.
const seRatio = 0.25

// The head: transposed convolutions that double the resolution.
const (
	headBlocks  = 3
	headFilters = 128
	stemFilters = 32
	stemStride  = 2
)

// maxSide is the largest height and width of an input. The published networks
// end at 512; beyond this the compound scaling gives absurd networks.
const maxSide = 4096

// Shape is channels, height and width of a layer's output.
type Shape struct{ C, H, W int }

// Layer is one operation of the network.
type Layer struct {
	Name   string // Keras's name, such as "block2a_dwconv"
	Kind   Kind
	Inputs []string // names of layers, or InputName
	In     Shape    // of the first input
	Out    Shape
	Kernel int    // side of the kernel, for convolutions
	Stride int    // for convolutions
	Pads   [4]int // top, left, bottom, right; for ConvTranspose what is cut off
	Bias   bool   // for convolutions
	// DropRate is the drop-connect rate of an Add, used in training only.
	DropRate float64
}

// Network is a genotype at an input size: one list of layers in the order of
// computation, from which both the served and the training graph are made.
type Network struct {
	Genotype Genotype
	Input    Size
	Heatmap  Size
	Layers   []Layer
}

// NewNetwork builds the layers of a genotype at an input size. Height and width
// must be multiples of the backbone's total stride (16 or 32 for the published
// networks), so that the heatmap covers the input evenly.
func NewNetwork(g Genotype, input Size) (*Network, error) {
	return NewScaledNetwork(g, input, input)
}

// NewScaledNetwork builds a genotype on an input of size input with the widths,
// repeats and drop-connect rates that compound scaling gives it at size scaled.
// Networks of one genotype and one scaled size take the same weights whatever
// their input, so that a network can be trained on pictures smaller than those
// it will serve.
func NewScaledNetwork(g Genotype, scaled, input Size) (*Network, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	if err := checkInput(input, g.TotalStride()); err != nil {
		return nil, err
	}
	if min(scaled.H, scaled.W) <= 0 || max(scaled.H, scaled.W) > maxSide {
		return nil, fmt.Errorf("scaled size %v: height and width must be from 1 to %d", scaled, maxSide)
	}
	b := &builder{scale: NewScaling(scaled), last: InputName, shape: Shape{3, input.H, input.W}}
	b.stem()
	b.body(g)
	b.head()
	return &Network{Genotype: g, Input: input, Heatmap: Size{b.shape.H, b.shape.W}, Layers: b.layers}, nil
}

func checkInput(input Size, stride int) error {
	for _, side := range []int{input.H, input.W} {
		if side <= 0 || side > maxSide || side%stride != 0 {
			return fmt.Errorf("input size %v: height and width must be multiples of %d (the network's stride), up to %d", input, stride, maxSide)
		}
	}
	return nil
}

// builder appends layers after the one called last, whose output is shape.
type builder struct {
	scale  Scaling
	layers []Layer
	last   string
	shape  Shape
}

func (b *builder) add(l Layer) {
	if l.Inputs == nil {
		l.Inputs = []string{b.last}
		l.In = b.shape
	}
	b.layers = append(b.layers, l)
	b.last, b.shape = l.Name, l.Out
}

// same returns the output length and the padding before and after of Keras's
// "same" convolution.
func same(in, kernel, stride int) (out, before, after int) {
	out = (in + stride - 1) / stride
	total := max((out-1)*stride+kernel-in, 0)
	return out, total / 2, total - total/2
}

func (b *builder) conv(name string, kind Kind, filters, kernel, stride int, bias bool) {
	h, top, bottom := same(b.shape.H, kernel, stride)
	w, left, right := same(b.shape.W, kernel, stride)
	b.add(Layer{Name: name, Kind: kind, Out: Shape{filters, h, w}, Kernel: kernel, Stride: stride,
		Pads: [4]int{top, left, bottom, right}, Bias: bias})
}

func (b *builder) pointwise(name string, kind Kind) {
	b.add(Layer{Name: name, Kind: kind, Out: b.shape})
}

// normalise adds batch normalisation and, unless linear, swish.
func (b *builder) normalise(name string, linear bool) {
	b.pointwise(name+"_bn", BatchNorm)
	if !linear {
		b.pointwise(name+"_swish", Swish)
	}
}

func (b *builder) stem() {
	b.conv("stem_conv", Conv, b.scale.Filters(stemFilters), 3, stemStride, false)
	b.normalise("stem", false)
}

func (b *builder) body(g Genotype) {
	total, done := 0, 0
	for _, s := range g {
		total += b.scale.Repeats(s.Repeats)
	}
	for i, s := range g {
		for r := range b.scale.Repeats(s.Repeats) {
			stride := s.Stride
			if r > 0 {
				stride = 1
			}
			rate := b.scale.DropConnect * float64(done) / float64(total)
			b.block(blockName(i, r), Expand[i], s.Kernel, b.scale.Filters(8*s.Filters), stride, rate)
			done++
		}
	}
}

// blockName returns "block1a", "block1b" and so on; past z it goes on with
// "za", which no published size reaches.
func blockName(stage, repeat int) string {
	return fmt.Sprintf("block%d%s%c", stage+1, strings.Repeat("z", repeat/26), 'a'+repeat%26)
}

// block adds one MBConv block: expand, depthwise, squeeze-excite, project.
func (b *builder) block(name string, expand, kernel, filters, stride int, rate float64) {
	from, in := b.last, b.shape
	if expand != 1 {
		b.conv(name+"_expand_conv", Conv, in.C*expand, 1, 1, false)
		b.normalise(name+"_expand", false)
	}
	b.conv(name+"_dwconv", DepthwiseConv, b.shape.C, kernel, stride, false)
	b.normalise(name, false)
	b.squeezeExcite(name, max(1, int(seRatio*float64(in.C))))
	b.conv(name+"_project_conv", Conv, filters, 1, 1, false)
	b.normalise(name+"_project", true)
	if stride == 1 && in.C == filters {
		b.add(Layer{Name: name + "_add", Kind: Add, Inputs: []string{from, b.last}, In: in, Out: in, DropRate: rate})
	}
}

func (b *builder) squeezeExcite(name string, reduced int) {
	from, shape := b.last, b.shape
	b.add(Layer{Name: name + "_se_squeeze", Kind: GlobalPool, Out: Shape{shape.C, 1, 1}})
	b.conv(name+"_se_reduce", Conv, reduced, 1, 1, true)
	b.pointwise(name+"_se_swish", Swish)
	b.conv(name+"_se_expand", Conv, shape.C, 1, 1, true)
	b.pointwise(name+"_se_sigmoid", Sigmoid)
	b.add(Layer{Name: name + "_se_excite", Kind: Multiply, Inputs: []string{from, b.last}, In: shape, Out: shape})
}

func (b *builder) head() {
	filters := b.scale.Filters(headFilters)
	for i := range headBlocks {
		name := fmt.Sprintf("head_block%d", i+1)
		out := Shape{filters, 2 * b.shape.H, 2 * b.shape.W}
		// Output place o = 2i + k for k in 0..2 gives 2H+1 rows; the last
		// row and column are cut off.
		b.add(Layer{Name: name + "_conv", Kind: ConvTranspose, Out: out, Kernel: 3, Stride: 2, Pads: [4]int{0, 0, 1, 1}})
		b.normalise(name, false)
	}
	b.conv("final_conv", Conv, Keypoints, 1, 1, true)
}

// MultiplyAdds counts the multiply-adds of the convolutions, per image.
func (n *Network) MultiplyAdds() int64 {
	var total int64
	for i := range n.Layers {
		l := &n.Layers[i]
		out, in := int64(l.Out.H)*int64(l.Out.W), int64(l.In.H)*int64(l.In.W)
		window := int64(l.Kernel) * int64(l.Kernel)
		switch l.Kind {
		case Conv:
			total += window * int64(l.In.C) * int64(l.Out.C) * out
		case DepthwiseConv:
			total += window * int64(l.Out.C) * out
		case ConvTranspose:
			total += window * int64(l.In.C) * int64(l.Out.C) * in
		}
	}
	return total
}
