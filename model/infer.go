package model

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Clues is what a file of weights tells of the network that they are for.
type Clues struct {
	// Shapes holds the shape of every tensor by Param.Name, in the layout of
	// Param.Shape.
	Shapes map[string][]int
	// Strides holds the strides of convolutions by layer, as far as the file
	// tells them. Weights alone do not.
	Strides map[string]int
	// Input is the input size, zero where the file does not tell it.
	Input Size
}

// Infer returns the genotype and the input size of the network that has these
// weights. Where the clues have no input, it is that of the published networks
// whose widths and depths fit. Where they have no strides, they are those of
// the one published network that has these layers at this input.
//
// Several genotypes may give the same layers, for widths and depths are
// rounded: then a stage has the genes of GenotypeS where they fit, else the
// smallest that do. An error names the layers that no genotype of the search
// space has, or says what is to be told.
func (c Clues) Infer() (Genotype, Size, error) {
	o, problems := c.outline()
	if problems != nil {
		return Genotype{}, Size{}, Problems{"these are not the layers of an EvoPose2D network", problems}
	}
	input := c.Input
	if input == (Size{}) {
		var err error
		if input, err = o.publishedSize(); err != nil {
			return Genotype{}, Size{}, err
		}
	}
	g, problems := o.genotype(input)
	if problems != nil {
		return Genotype{}, Size{}, Problems{fmt.Sprintf("no genotype of the search space has these layers at input %v", input), problems}
	}
	g, err := c.strides(g, input)
	if err == nil {
		err = g.Validate()
	}
	if err != nil {
		return Genotype{}, Size{}, err
	}
	return g, input, nil
}

// outline is what compound scaling and the genes, strides aside, decide.
type outline struct {
	stem, head int // filters
	stages     [Stages]stageOutline
}

type stageOutline struct{ kernel, blocks, filters int }

// outline reads off the shapes; problems name the layers that it needs and
// does not find.
func (c Clues) outline() (o outline, problems []string) {
	side := func(layer string, axis int) int {
		s := c.Shapes[layer+"/kernel"]
		switch {
		case s == nil:
			problems = append(problems, layer+": missing")
		case len(s) != 4:
			problems = append(problems, fmt.Sprintf("%s: its kernel has shape %v: want four numbers", layer, s))
		default:
			return s[axis]
		}
		return 0
	}
	blocks := c.blocks()
	o.stem, o.head = side("stem_conv", 0), side("head_block1_conv", 1)
	for i := range o.stages {
		first := blockName(i, 0)
		o.stages[i] = stageOutline{side(first+"_dwconv", 2), blocks[i], side(first+"_project_conv", 0)}
	}
	return o, problems
}

var blockPattern = regexp.MustCompile(`^block([1-7])(z*)([a-z])_`)

// blocks counts the blocks of each stage by the last one that has a layer.
func (c Clues) blocks() (n [Stages]int) {
	for name := range c.Shapes {
		m := blockPattern.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		stage, _ := strconv.Atoi(m[1]) // one digit
		repeat := 26*len(m[2]) + int(m[3][0]-'a')
		n[stage-1] = max(n[stage-1], repeat+1)
	}
	return n
}

// publishedSize returns the input size of a published network at which the
// layers are those of a genotype.
func (o outline) publishedSize() (Size, error) {
	nearest := Problems{Lines: make([]string, 1000)}
	for _, p := range Presets {
		_, problems := o.genotype(p.Input)
		if problems == nil {
			return p.Input, nil
		}
		if len(problems) < len(nearest.Lines) {
			nearest = Problems{fmt.Sprintf("no published input size gives these layers; at %v", p.Input), problems}
		}
	}
	var fit []int
	for side := inputStep; side <= maxSide; side += inputStep / 2 {
		if _, problems := o.genotype(Size{side, side}); problems == nil {
			fit = append(fit, side)
		}
	}
	if fit == nil {
		return Size{}, nearest
	}
	low, high := fit[0], fit[len(fit)-1]
	return Size{}, fmt.Errorf("the file does not tell its input size, and the widths are those of no published one: "+
		"they fit sizes of which height and width add up to %d to %d; say --size HEIGHTxWIDTH", 2*low, 2*high)
}

// inputStep divides the sides of every input: the least total stride.
const inputStep = 16

// genotype returns the genes, strides aside, that give the outline at an input
// size. Strides are those of GenotypeS. Problems name the layers that no
// genotype has.
func (o outline) genotype(input Size) (g Genotype, problems []string) {
	scale := NewScaling(input)
	fail := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if want := scale.Filters(stemFilters); o.stem != want {
		fail("stem_conv: %d filters: the input size gives %d", o.stem, want)
	}
	if want := scale.Filters(headFilters); o.head != want {
		fail("head_block1_conv: %d filters: the input size gives %d", o.head, want)
	}
	for i, s := range o.stages {
		first, usual := blockName(i, 0), GenotypeS[i]
		if s.kernel != 3 && s.kernel != 5 {
			fail("%s_dwconv: kernel of side %d: want 3 or 5", first, s.kernel)
		}
		repeats, all := invert(scale.Repeats, maxRepeats, s.blocks, usual.Repeats)
		if repeats == 0 {
			fail("%s: the last of %d blocks of its stage: the input size allows %v", blockName(i, s.blocks-1), s.blocks, all)
		}
		byEight := func(n int) int { return scale.Filters(8 * n) }
		filters, all := invert(byEight, GenotypeDefault[i].Filters, s.filters, usual.Filters)
		if filters == 0 {
			fail("%s_project_conv: %d filters: the input size allows %v", first, s.filters, all)
		}
		g[i] = Stage{s.kernel, repeats, filters, usual.Stride}
	}
	return g, problems
}

// invert returns the gene from 1 to most of which f gives value: the usual one
// where it does, else the least, 0 where none does; and all that f gives.
func invert(f func(int) int, most, value, usual int) (gene int, all []int) {
	for n := most; n >= 1; n-- {
		if f(n) == value && gene != usual {
			gene = n
		}
		all = append(all, f(n))
	}
	slices.Sort(all)
	return gene, slices.Compact(all)
}

// strides returns the genotype with the strides of the clues, or of the
// published network that is like it.
func (c Clues) strides(g Genotype, input Size) (Genotype, error) {
	if told, ok := c.toldStrides(g); ok {
		return told, nil
	}
	var like []Preset
	for _, p := range Presets {
		if p.Input == input && p.Genotype.withStrides(g) == g {
			like = append(like, p)
		}
	}
	switch len(like) {
	case 1:
		return like[0].Genotype, nil
	case 0:
		return g, fmt.Errorf("the file does not tell the strides, and no published network has these layers: say --model FILE.yaml, a file with the two lines "+
			"\"genotype: %v\" and \"input: %v\", the strides in it (the last number of a stage) put right", g, input)
	}
	var names []string
	for _, p := range like {
		names = append(names, "--model "+p.Name)
	}
	return g, fmt.Errorf("the file does not tell the strides, in which the published networks with these layers differ: say %s", strings.Join(names, " or "))
}

// toldStrides returns the genotype with the strides of the clues, and whether
// they have all of them.
func (c Clues) toldStrides(g Genotype) (Genotype, bool) {
	for i := range g {
		stride, ok := c.Strides[blockName(i, 0)+"_dwconv"]
		if !ok {
			return g, false
		}
		g[i].Stride = stride
	}
	return g, true
}

// withStrides returns the genotype with the strides of another.
func (g Genotype) withStrides(from Genotype) Genotype {
	for i := range g {
		g[i].Stride = from[i].Stride
	}
	return g
}
