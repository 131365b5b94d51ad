package model

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Stages is the number of stages of a genotype.
const Stages = 7

// Stage is the genes of one stage of MBConv blocks.
type Stage struct {
	Kernel  int // side of the depthwise kernel, 3 or 5
	Repeats int // blocks before depth scaling, 1..4
	Filters int // output filters before width scaling, in units of 8
	Stride  int // stride of the first block, 1 or 2
}

// Genotype is the evolved part of a network: its seven stages.
type Genotype [Stages]Stage

// Expand is the expansion ratio of each stage's MBConv blocks; it is not
// evolved.
var Expand = [Stages]int{1, 6, 6, 6, 6, 6, 6}

// The genotypes of the paper (McNally et al., IEEE Access 2021): the one of
// generation 0, the one that S, M and L share, and XS.
var (
	GenotypeDefault = Genotype{{3, 1, 2, 1}, {3, 2, 3, 2}, {5, 2, 5, 2}, {3, 3, 10, 2}, {5, 3, 14, 1}, {5, 4, 24, 2}, {3, 1, 40, 1}}
	GenotypeS       = Genotype{{3, 1, 2, 1}, {3, 3, 3, 2}, {5, 2, 5, 2}, {3, 4, 10, 2}, {5, 2, 14, 1}, {5, 4, 16, 1}, {3, 2, 10, 1}}
	GenotypeXS      = Genotype{{3, 1, 2, 1}, {3, 3, 3, 2}, {5, 2, 5, 2}, {3, 4, 10, 2}, {5, 2, 14, 1}, {5, 4, 16, 2}, {3, 2, 10, 1}}
)

// The bounds of the search space that are not GenotypeDefault's.
const (
	maxRepeats  = 4
	firstEvolve = 4 // index of the first stage whose stride evolves
	maxHalvings = 4 // stages of stride 2
)

// gene is one gene of a stage with the values that it may have.
type gene struct {
	name    string
	value   *int
	allowed []int // nil: 1 to most
	most    int
}

// genes lists the genes of stage i in the order of the text form.
func (g *Genotype) genes(i int) [4]gene {
	s, strides := &g[i], []int{1, 2}
	if i < firstEvolve {
		strides = []int{GenotypeDefault[i].Stride}
	}
	return [4]gene{
		{"kernel", &s.Kernel, []int{3, 5}, 0},
		{"repeats", &s.Repeats, nil, maxRepeats},
		{"filters/8", &s.Filters, nil, GenotypeDefault[i].Filters},
		{"stride", &s.Stride, strides, 0},
	}
}

func (g gene) check() error {
	switch v := *g.value; {
	case g.allowed != nil && !slices.Contains(g.allowed, v):
		return fmt.Errorf("%s is %d: want one of %v", g.name, v, g.allowed)
	case g.allowed == nil && (v < 1 || v > g.most):
		return fmt.Errorf("%s is %d: want 1..%d", g.name, v, g.most)
	}
	return nil
}

// Validate reports the first gene outside the search space of the paper:
// kernel 3 or 5; repeats 1..4; filters/8 from 1 to those of GenotypeDefault in
// the same stage; strides 1, 2, 2, 2 in the first four stages and 1 or 2 in
// the others, with at most four stages of stride 2.
func (g Genotype) Validate() error {
	halvings := 0
	for i := range g {
		for _, gene := range g.genes(i) {
			if err := gene.check(); err != nil {
				return fmt.Errorf("genotype: stage %d: %w", i+1, err)
			}
		}
		halvings += g[i].Stride - 1
	}
	if halvings > maxHalvings {
		return fmt.Errorf("genotype: %d stages have stride 2: want at most %d", halvings, maxHalvings)
	}
	return nil
}

// TotalStride is by how much the backbone, with its stem, divides height and
// width: 16 or 32 within the search space. The head multiplies them by 8.
func (g Genotype) TotalStride() int {
	stride := stemStride
	for _, s := range g {
		stride *= s.Stride
	}
	return stride
}

// String writes the stages separated by spaces, each as
// "kernel,repeats,filters/8,stride".
func (g Genotype) String() string {
	parts := make([]string, Stages)
	for i, s := range g {
		parts[i] = fmt.Sprintf("%d,%d,%d,%d", s.Kernel, s.Repeats, s.Filters, s.Stride)
	}
	return strings.Join(parts, " ")
}

// ParseGenotype reads what String writes and validates it.
func ParseGenotype(text string) (Genotype, error) {
	var g Genotype
	fields := strings.Fields(text)
	if len(fields) != Stages {
		return g, fmt.Errorf("genotype %q: has %d stages, want %d separated by spaces", text, len(fields), Stages)
	}
	for i, f := range fields {
		values := strings.Split(f, ",")
		genes := g.genes(i)
		if len(values) != len(genes) {
			return g, fmt.Errorf("genotype: stage %d is %q: want kernel,repeats,filters/8,stride", i+1, f)
		}
		for j, v := range values {
			n, err := strconv.Atoi(v)
			if err != nil {
				return g, fmt.Errorf("genotype: stage %d: %s is %q: want a whole number", i+1, genes[j].name, v)
			}
			*genes[j].value = n
		}
	}
	return g, g.Validate()
}

// MarshalText writes String's form.
func (g Genotype) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText reads String's form.
func (g *Genotype) UnmarshalText(text []byte) (err error) {
	*g, err = ParseGenotype(string(text))
	return err
}
