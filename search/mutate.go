package search

import (
	"fmt"
	"math/rand/v2"

	"github.com/evopose/evopose/model"
)

// Gene is one of the four numbers of a stage.
type Gene int

// The genes of a stage, in the order of a genotype's text.
const (
	Kernel  Gene = iota // side of the depthwise kernel, 3 or 5
	Repeats             // blocks, 1..4
	Filters             // output filters in units of 8, from 1 to those of the default genotype
	Stride              // of the first block, 1 or 2; evolves in stages 5 to 7
	genes
)

// String returns the gene's name.
func (g Gene) String() string {
	return [genes]string{"kernel", "repeats", "filters/8", "stride"}[g]
}

// of points to the gene of a stage.
func (g Gene) of(s *model.Stage) *int {
	return [genes]*int{&s.Kernel, &s.Repeats, &s.Filters, &s.Stride}[g]
}

// Bounds of the search space; model.Genotype.Validate holds the same ones.
const (
	maxRepeats  = 4
	firstStride = 4 // index of the first stage whose stride evolves
	maxHalvings = 4 // stages of stride 2
)

// Mutation is a gene that differs between a parent and its child.
type Mutation struct {
	Stage    int // 1..7
	Gene     Gene
	From, To int
}

// String returns the mutation in words, such as "stage 3 kernel 5 -> 3".
func (m Mutation) String() string {
	return fmt.Sprintf("stage %d %v %d -> %d", m.Stage, m.Gene, m.From, m.To)
}

// Mutations lists the genes in which a child differs from its parent.
func Mutations(parent, child model.Genotype) []Mutation {
	var list []Mutation
	for i := range parent {
		for g := range genes {
			if from, to := *g.of(&parent[i]), *g.of(&child[i]); from != to {
				list = append(list, Mutation{i + 1, g, from, to})
			}
		}
	}
	return list
}

// triesPerStep is how often Mutate tries to find something new in the same
// place. A genotype has about 110 neighbours; the rarest is found by one try
// in 1,120.
const triesPerStep = 4096

// Mutate returns a genotype that differs from the parent in one gene of one
// stage, drawn again until it has not been seen. When the neighbours of the
// parent are used up, it looks among the neighbours of one of them, and so on,
// so that it always ends; such a child differs in more than one gene. parent
// must be valid.
func Mutate(parent model.Genotype, seen func(model.Genotype) bool, rng *rand.Rand) model.Genotype {
	from := parent
	for try := 1; ; try++ {
		g := mutateGene(from, rng)
		if g != parent && !seen(g) {
			return g
		}
		if try%triesPerStep == 0 {
			from = g
		}
	}
}

// mutateGene draws a stage, a gene and the gene's new value. The result is g
// itself when the gene cannot change or the same value is drawn.
func mutateGene(g model.Genotype, rng *rand.Rand) model.Genotype {
	stage := rng.IntN(model.Stages)
	s := &g[stage]
	switch Gene(rng.IntN(int(genes))) {
	case Kernel:
		s.Kernel = 3 + 5 - s.Kernel
	case Repeats:
		s.Repeats = mutateRepeats(s.Repeats, rng)
	case Filters:
		s.Filters = 1 + rng.IntN(model.GenotypeDefault[stage].Filters)
	case Stride:
		s.Stride = mutateStride(g, stage)
	}
	return g
}

// mutateRepeats adds or takes one, within 1..4.
func mutateRepeats(n int, rng *rand.Rand) int {
	switch n {
	case 1:
		return n + 1
	case maxRepeats:
		return n - 1
	}
	return n - 1 + 2*rng.IntN(2)
}

// mutateStride turns 2 into 1 when the genotype halves the resolution as often
// as it may, and 1 into 2 when it does not.
func mutateStride(g model.Genotype, stage int) int {
	stride, full := g[stage].Stride, halvings(g) == maxHalvings
	switch {
	case stage < firstStride:
		return stride
	case stride == 2 && full:
		return 1
	case stride == 1 && !full:
		return 2
	}
	return stride
}

func halvings(g model.Genotype) int {
	n := 0
	for _, s := range g {
		n += s.Stride - 1
	}
	return n
}

// Space is the number of genotypes that the search can reach, 3.4e13; the
// paper rounds it to 10^14.
func Space() uint64 {
	var filters [model.Stages]int
	for i, s := range model.GenotypeDefault {
		filters[i] = s.Filters
	}
	return countSpace(2, maxRepeats, filters)
}

// countSpace counts the genotypes with so many kernels and repeats in each
// stage, and filters up to those given: the genes are independent of each
// other but for the strides.
func countSpace(kernels, repeats int, filters [model.Stages]int) uint64 {
	n := strideChoices()
	for _, f := range filters {
		n *= uint64(kernels * repeats * f)
	}
	return n
}

// strideChoices counts the ways to choose the strides of the last stages such
// that there are no more than four of 2 in all.
func strideChoices() uint64 {
	fixed := 0
	for _, s := range model.GenotypeDefault[:firstStride] {
		fixed += s.Stride - 1
	}
	free := model.Stages - firstStride
	var n uint64
	for choice := range 1 << free {
		total := fixed
		for bit := range free {
			total += choice >> bit & 1
		}
		if total <= maxHalvings {
			n++
		}
	}
	return n
}
