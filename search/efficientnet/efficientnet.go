// Package efficientnet makes generation 0 of the search from a network that
// knows ImageNet: EfficientNet-Lite0 (Apache-2.0), which pip has as a PyTorch
// state dict. The stages of generation 0 are those of EfficientNet-B0, and so
// are Lite0's but for two things that B0 has and Lite0 has not: squeeze-excite
// and SiLU. The authors of EvoPose2D start from B0 itself.
package efficientnet

import (
	"fmt"
	"slices"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/weightfile"
	"github.com/evopose/evopose/preprocess"
)

// lineage is the first line of the lineage of a network made of Lite0.
const lineage = "backbone of EfficientNet-Lite0, trained on ImageNet (Apache-2.0)"

// steep is the factor on what goes into SiLU: SiLU(2x)/2 is nearer to ReLU,
// with which Lite0 was trained, than SiLU(x). What follows is divided by it.
const steep = 2

// gate is what a squeeze-excite of zero weights multiplies by: sigmoid(0).
const gate = 0.5

// Lite0's inputs are (RGB - 127)/128.
const liteMean, liteStd = 127, 128

// Is reports whether a file holds an EfficientNet in the names that PyTorch's
// users give it.
func Is(f *weightfile.File) bool {
	_, ok := f.Tensors["_conv_stem.weight"]
	return ok
}

// Model returns the weights of Weights with the card of their network.
func Model(f *weightfile.File, seed uint64) (model.Card, model.Weights, error) {
	n, w, err := Weights(f, seed)
	if err != nil {
		return model.Card{}, nil, err
	}
	return model.Card{Name: "efficientnet-lite0", Genotype: n.Genotype, Input: n.Input, Seed: seed, Lineage: []string{lineage}}, w, nil
}

// Weights returns the network of generation 0 at 256x192 with the backbone of
// the Lite0 in f: the same function up to SiLU in place of ReLU6 and the
// strides of the last stages. The heads have the initial values of the seed.
// Squeeze-excite begins as a constant, which the projection takes out again.
func Weights(f *weightfile.File, seed uint64) (*model.Network, model.Weights, error) {
	n, err := model.NewNetwork(model.GenotypeDefault, model.Size{H: 256, W: 192})
	if err != nil {
		return nil, nil, err
	}
	c := converter{file: f, shapes: map[string][]int{}, out: model.InitialWeights(n, seed)}
	for _, p := range n.Params() {
		c.shapes[p.Name] = p.Shape
	}
	c.stem()
	block := 0
	for stage, s := range model.GenotypeDefault {
		for repeat := range s.Repeats {
			c.block(fmt.Sprintf("block%d%c", stage+1, 'a'+repeat), fmt.Sprintf("_blocks.%d", block), stage > 0)
			block++
		}
	}
	if c.err != nil {
		return nil, nil, fmt.Errorf("not an EfficientNet-Lite0: %w", c.err)
	}
	return n, c.out, nil
}

// converter fills weights with tensors of a file; after the first error it
// does nothing.
type converter struct {
	file   *weightfile.File
	shapes map[string][]int // of out's tensors
	out    model.Weights
	err    error
}

// put sets a tensor to one of the file, times factor.
func (c *converter) put(name, from string, factor float32) {
	if c.err != nil {
		return
	}
	t, ok := c.file.Tensors[from]
	if !ok {
		c.err = fmt.Errorf("no %s in it", from)
		return
	}
	if !slices.Equal(t.Shape, c.shapes[name]) {
		c.err = fmt.Errorf("%s has shape %v, want %v", from, t.Shape, c.shapes[name])
		return
	}
	for i, v := range t.Data {
		c.out[name][i] = v * factor
	}
}

// norm sets a batch normalisation whose result is factor times the file's.
func (c *converter) norm(name, from string, factor float32) {
	c.put(name+"/gamma", from+".weight", factor)
	c.put(name+"/beta", from+".bias", factor)
	c.put(name+"/moving_mean", from+".running_mean", 1)
	c.put(name+"/moving_variance", from+".running_var", 1)
}

// stem takes the other normalisation of the input into its kernel and the mean
// of its batch normalisation. With ours a pixel p is x = (p/255 - mean)/std,
// so that (p - 127)/128 = x*255*std/128 + (255*mean - 127)/128.
func (c *converter) stem() {
	c.put("stem_conv/kernel", "_conv_stem.weight", 1)
	c.norm("stem_bn", "_bn0", steep)
	if c.err != nil {
		return
	}
	kernel, mean := c.out["stem_conv/kernel"], c.out["stem_bn/moving_mean"]
	const taps = 3 * 3
	for out := range mean {
		for rgb := range 3 {
			k := kernel[(out*3+rgb)*taps:][:taps]
			for i := range k {
				mean[out] -= k[i] * (255*preprocess.Mean[rgb] - liteMean) / liteStd
				k[i] *= 255 * preprocess.Std[rgb] / liteStd
			}
		}
	}
}

// block sets a block of MBConv. What comes into its depthwise convolution and
// its projection is steep times Lite0's.
func (c *converter) block(name, from string, expands bool) {
	if expands {
		c.put(name+"_expand_conv/kernel", from+"._expand_conv.weight", 1)
		c.norm(name+"_expand_bn", from+"._bn0", steep)
	}
	c.put(name+"_dwconv/kernel", from+"._depthwise_conv.weight", 1.0/steep)
	c.norm(name+"_bn", from+"._bn1", steep)
	c.put(name+"_project_conv/kernel", from+"._project_conv.weight", 1/(steep*gate))
	c.norm(name+"_project_bn", from+"._bn2", 1)
	clear(c.out[name+"_se_expand/kernel"])
}
