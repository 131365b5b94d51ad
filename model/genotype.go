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
	Kernel  int // depthwise kernel, 3 or 5
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

// genes pairs each gene's name with its largest value and its place.
func (s *Stage) genes() [4]struct {
	name    string
	value   *int
	allowed []int
} {
	return [4]struct {
		name    string
		value   *int
		allowed []int
	}{
		{"kernel", &s.Kernel, []int{3, 5}},
		{"repeats", &s.Repeats, []int{1, 2, 3, 4}},
		{"filters/8", &s.Filters, nil},
		{"stride", &s.Stride, []int{1, 2}},
	}
}

// maxFilters bounds filters/8; the search space itself ends at 40.
const maxFilters = 128

// Validate reports the first gene outside its range: kernel 3 or 5, repeats
// 1..4, filters/8 1..128, stride 1 or 2.
func (g Genotype) Validate() error {
	for i := range g {
		for _, gene := range g[i].genes() {
			v := *gene.value
			if gene.allowed == nil {
				if v < 1 || v > maxFilters {
					return fmt.Errorf("genotype: stage %d: %s is %d: want 1..%d", i+1, gene.name, v, maxFilters)
				}
			} else if !slices.Contains(gene.allowed, v) {
				return fmt.Errorf("genotype: stage %d: %s is %d: want one of %v", i+1, gene.name, v, gene.allowed)
			}
		}
	}
	return nil
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
		genes := g[i].genes()
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
