package pairs

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
)

func settings(pairs int) search.Settings {
	size := model.Size{H: 64, W: 64}
	return search.Settings{Seed: 1, Ancestor: model.GenotypeS, Native: size, Size: size, Generations: pairs, Children: 1, Parents: 1,
		AncestorEpochs: 2, Epochs: 2, Cost: search.CostParameters, Selection: search.SelectFitness}
}

func TestJobs(t *testing.T) {
	kinds, genotypes := map[search.Gene]int{}, map[model.Genotype]bool{}
	jobs := Jobs(settings(8), "sum")
	for i := 0; i < len(jobs); i += 3 {
		transfer, scratch, start := jobs[i], jobs[i+1], jobs[i+2]
		changed := search.Mutations(model.GenotypeS, transfer.Genotype)
		if len(changed) != 1 || genotypes[transfer.Genotype] {
			t.Errorf("pair %d changes %v", i/3+1, changed)
		}
		kinds[changed[0].Gene]++
		genotypes[transfer.Genotype] = true
		if n, purpose := Of(scratch.ID); n != i/3+1 || purpose != Scratch || scratch.ParentWeights != "" || start.Epochs != 1 || start.ParentWeights != "sum" {
			t.Errorf("pair %d: %+v %+v", i/3+1, scratch, start)
		}
		scratch.ID, scratch.ParentWeights = transfer.ID, "sum"
		if diff := cmp.Diff(transfer, scratch); diff != "" { // seed and data are the same
			t.Error(diff)
		}
	}
	want := map[search.Gene]int{search.Kernel: 2, search.Repeats: 2, search.Filters: 2, search.Stride: 2}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(jobs[:9], Jobs(settings(3), "sum")); diff != "" {
		t.Errorf("the first pairs depend on how many there are: %s", diff)
	}
}

// TestMutantsOfRareKind requires another gene where there are no more strides
// to change: the default genotype has one.
func TestMutantsOfRareKind(t *testing.T) {
	strides := 0
	for _, g := range mutants(model.GenotypeDefault, 16, rand.New(rand.NewPCG(1, 1))) {
		changed := search.Mutations(model.GenotypeDefault, g)
		if len(changed) != 1 {
			t.Errorf("%v", changed)
		}
		if changed[0].Gene == search.Stride {
			strides++
		}
	}
	if strides != 1 {
		t.Errorf("%d strides", strides)
	}
}

func TestRead(t *testing.T) {
	dir, s := t.TempDir(), settings(3)
	journal, err := search.OpenJournal(dir, search.Header{Settings: s})
	if err != nil {
		t.Fatal(err)
	}
	parent := Parent(s)
	if _, err := Read(dir); err == nil {
		t.Error("an experiment without a parent was read")
	}
	jobs := Jobs(s, "sum")
	entries := []search.Entry{
		{Job: parent, Result: search.Result{Losses: []float64{5, 4}}},
		{Job: jobs[0], Result: search.Result{ID: 2, Losses: []float64{3, 2}, Transfer: "9 tensors: 9 copied; 98.5 % of the values are the parent's"}},
		{Job: jobs[1], Result: search.Result{ID: 3, Losses: []float64{7, 6}}},
		{Job: jobs[2], Result: search.Result{ID: 1, Loss: 8}},
		{Job: jobs[3], Result: search.Result{ID: 5}}, // its scratch is missing
		{Job: jobs[6], Result: search.Result{ID: 8, Losses: []float64{1, 1}}},
		{Job: jobs[7], Result: search.Result{ID: 9, Failed: "diverged"}},
	}
	for _, e := range entries {
		if err := journal.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := journal.Close(); err != nil {
		t.Fatal(err)
	}
	e, err := Read(dir)
	if err != nil || e.Missing != 1 || len(e.Pairs) != 2 || e.Parent[1] != 4 {
		t.Fatalf("%+v %v", e, err)
	}
	want := Pair{Number: 1, Gene: jobs[0].Mutations[0], Share: 0.985, Start: 8, Transfer: []float64{3, 2}, Scratch: []float64{7, 6}}
	if diff := cmp.Diff(want, e.Pairs[0]); diff != "" || want.Kind() != "kernel" {
		t.Error(diff, want.Kind())
	}
	if other, err := otherGrid(s, Jobs(settings(4), "")[9].Genotype); !other || err != nil { // a stride
		t.Errorf("a change of stride keeps the heatmaps' size: %v", err)
	}
	if p := e.Pairs[1]; p.Number != 3 || p.Failed != "diverged" || !math.IsNaN(p.Start) || !math.IsNaN(p.Share) {
		t.Errorf("%+v", p)
	}
}
