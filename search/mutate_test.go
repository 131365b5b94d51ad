package search

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
)

func never(model.Genotype) bool { return false }

// 10,000 random mutations, each of a random one of those before it: every
// mutant is valid, new, buildable, and its mutations lead from its parent to it.
func TestTenThousandMutations(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	all := []model.Genotype{model.GenotypeDefault}
	seen := map[model.Genotype]bool{model.GenotypeDefault: true}
	kinds := map[[2]int]int{} // by stage and gene
	for range 10000 {
		parent := all[rng.IntN(len(all))]
		g := Mutate(parent, func(g model.Genotype) bool { return seen[g] }, rng)
		if err := g.Validate(); err != nil {
			t.Fatalf("%v of %v: %v", g, parent, err)
		}
		if seen[g] {
			t.Fatalf("%v is not new", g)
		}
		seen[g], all = true, append(all, g)
		list := Mutations(parent, g)
		if len(list) != 1 || apply(parent, list) != g {
			t.Fatalf("%v to %v by %v", parent, g, list)
		}
		kinds[[2]int{list[0].Stage, int(list[0].Gene)}]++
		checkRule(t, parent, list[0])
		checkBuilds(t, g)
	}
	if want := 7*3 + 3; len(kinds) != want {
		t.Errorf("%d kinds of mutations, want %d: %v", len(kinds), want, kinds)
	}
}

// apply carries mutations out.
func apply(g model.Genotype, list []Mutation) model.Genotype {
	for _, m := range list {
		s := &g[m.Stage-1]
		switch m.Gene {
		case Kernel:
			s.Kernel = m.To
		case Repeats:
			s.Repeats = m.To
		case Filters:
			s.Filters = m.To
		case Stride:
			s.Stride = m.To
		}
	}
	return g
}

// checkRule holds the paper's rules of how a gene may change.
func checkRule(t *testing.T, parent model.Genotype, m Mutation) {
	t.Helper()
	total := 0
	for _, s := range parent {
		total += s.Stride - 1
	}
	ok := false
	switch m.Gene {
	case Kernel:
		ok = m.From == 3 && m.To == 5 || m.From == 5 && m.To == 3
	case Repeats:
		ok = (m.To == m.From+1 || m.To == m.From-1) && m.To >= 1 && m.To <= 4
	case Filters:
		ok = m.To >= 1 && m.To <= model.GenotypeDefault[m.Stage-1].Filters
	case Stride:
		ok = m.Stage >= 5 && (total == 4 && m.From == 2 && m.To == 1 || total == 3 && m.From == 1 && m.To == 2)
	}
	if !ok {
		t.Fatalf("%v of %v breaks its rule", m, parent)
	}
}

func checkBuilds(t *testing.T, g model.Genotype) {
	t.Helper()
	n, err := model.NewNetwork(g, model.Size{H: 256, W: 192})
	if err != nil {
		t.Fatalf("%v: %v", g, err)
	}
	if total, _ := n.Parameters(); total < 100_000 || total > 12_000_000 || n.MultiplyAdds() <= 0 {
		t.Fatalf("%v: %d parameters", g, total)
	}
}

// A mutant depends on its generator only.
func TestMutateIsDeterministic(t *testing.T) {
	for id := range uint64(50) {
		a := Mutate(model.GenotypeDefault, never, rand.New(rand.NewPCG(7, id)))
		b := Mutate(model.GenotypeDefault, never, rand.New(rand.NewPCG(7, id)))
		if a != b {
			t.Fatalf("%v and %v", a, b)
		}
	}
}

// When every neighbour has been seen, the next child differs in two genes.
func TestMutateLeavesAnEmptyNeighbourhood(t *testing.T) {
	parent := model.GenotypeS
	near := func(g model.Genotype) bool { return len(Mutations(parent, g)) < 2 }
	g := Mutate(parent, near, rand.New(rand.NewPCG(1, 1)))
	if err := g.Validate(); err != nil || len(Mutations(parent, g)) != 2 {
		t.Errorf("%v %v", Mutations(parent, g), err)
	}
}

func TestMutationText(t *testing.T) {
	g := model.GenotypeDefault
	g[2].Kernel, g[5].Stride, g[6].Filters, g[0].Repeats = 3, 1, 12, 2
	var got []string
	for _, m := range Mutations(model.GenotypeDefault, g) {
		got = append(got, m.String())
	}
	want := []string{"stage 1 repeats 1 -> 2", "stage 3 kernel 5 -> 3", "stage 6 stride 2 -> 1", "stage 7 filters/8 40 -> 12"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if Mutations(g, g) != nil {
		t.Error("a genotype differs from itself")
	}
}

// The strides of a genotype that halves four times and of one that halves three
// times.
func TestMutateStride(t *testing.T) {
	full := model.GenotypeDefault // stage 6 is the fourth
	three := model.GenotypeS
	for _, tt := range []struct {
		g     model.Genotype
		stage int // from 0
		want  int
	}{
		{full, 0, 1}, {full, 1, 2}, {full, 3, 2}, // fixed
		{full, 4, 1}, {full, 5, 1}, {full, 6, 1},
		{three, 0, 1}, {three, 3, 2}, {three, 4, 2}, {three, 5, 2}, {three, 6, 2},
	} {
		if got := mutateStride(tt.g, tt.stage); got != tt.want {
			t.Errorf("%v stage %d: %d, want %d", tt.g, tt.stage+1, got, tt.want)
		}
	}
}

// The space: 2^7 kernels, 4^7 repeats, 2*3*5*10*14*24*40 filters and 4 strides.
func TestSpace(t *testing.T) {
	const kernels, repeats, filters, strides = 128, 16384, 2 * 3 * 5 * 10 * 14 * 24 * 40, 4
	if got := Space(); got != kernels*repeats*filters*strides {
		t.Errorf("%d, want %d", got, kernels*repeats*filters*strides)
	}
	if order := math.Round(math.Log10(float64(Space()))); order != 14 {
		t.Errorf("order 10^%v, the paper's is 10^14", order)
	}
}

// Counting equals going through reduced spaces one by one, where Validate, not
// countSpace, says what is in the space.
func TestSpaceAgainstBruteForce(t *testing.T) {
	for _, tt := range []struct {
		kernels, repeats []int
		filters          [model.Stages]int // 1 up to these
	}{
		{[]int{3}, []int{1}, [7]int{1, 1, 1, 1, 1, 1, 1}},
		{[]int{3, 5}, []int{1}, [7]int{1, 2, 1, 3, 2, 1, 2}},
		{[]int{5}, []int{2, 4}, [7]int{2, 1, 2, 1, 1, 3, 1}},
	} {
		got := brute(tt.kernels, tt.repeats, tt.filters)
		if want := countSpace(len(tt.kernels), len(tt.repeats), tt.filters); got != want {
			t.Errorf("%v: %d by brute force, %d counted", tt, got, want)
		}
	}
}

// brute counts valid genotypes with any strides, stage by stage.
func brute(kernels, repeats []int, filters [model.Stages]int) (count uint64) {
	var g model.Genotype
	var from func(stage int)
	from = func(stage int) {
		if stage == model.Stages {
			if g.Validate() == nil {
				count++
			}
			return
		}
		for _, k := range kernels {
			for _, r := range repeats {
				for f := range filters[stage] {
					for stride := range 2 {
						g[stage] = model.Stage{Kernel: k, Repeats: r, Filters: f + 1, Stride: stride + 1}
						from(stage + 1)
					}
				}
			}
		}
	}
	from(0)
	return count
}

// One stage at a time, whole: what Validate lets through of every small number.
func TestSpaceOfEachStage(t *testing.T) {
	for i, def := range model.GenotypeDefault {
		count := 0
		for k := range 9 {
			for r := range 9 {
				for f := range 50 {
					g := model.GenotypeDefault
					g[i] = model.Stage{Kernel: k, Repeats: r, Filters: f, Stride: def.Stride}
					if g.Validate() == nil {
						count++
					}
				}
			}
		}
		if want := 2 * 4 * def.Filters; count != want {
			t.Errorf("stage %d: %d, want %d", i+1, count, want)
		}
	}
}
