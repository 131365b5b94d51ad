package search

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

// family is an ancestor with a child and a grandchild, and a child beside.
func family() []Entry {
	child := model.GenotypeDefault
	child[2].Kernel = 3
	grand := child
	grand[6].Filters = 12
	return []Entry{
		{Job{ID: 0, Parent: -1, Genotype: model.GenotypeDefault, Seed: 9, Epochs: 30}, Result{ID: 0, Loss: 12, Parameters: 5e6, Weights: "aa"}},
		{Job{ID: 1, Generation: 1, Genotype: child, Mutations: []string{"stage 3 kernel 5 -> 3"}, Seed: 10, Epochs: 5, ParentWeights: "aabbccddeeff00"},
			Result{ID: 1, Loss: 11.5, Parameters: 5e6, Transfer: "half of it"}},
		{Job{ID: 2, Generation: 1, Genotype: model.GenotypeS, Seed: 11, Epochs: 5}, Result{ID: 2, Loss: 13, Parameters: 5e6}},
		{Job{ID: 3, Generation: 2, Parent: 1, Genotype: grand, Mutations: []string{"stage 7 filters/8 40 -> 12"}, Seed: 12, Epochs: 5},
			Result{ID: 3, Loss: 11, Parameters: 5e6}},
	}
}

func TestLineage(t *testing.T) {
	h := Header{Settings: small(), Command: "evopose search --seed 3"}
	want := []string{
		"trained before",
		"generation 0, genotype 3,1,2,1 3,2,3,2 5,2,5,2 3,3,10,2 5,3,14,1 5,4,24,2 3,1,40,1; initial weights, seed 9; trained 30 epochs at 128x96, validation loss 12",
		"generation 1, child 1 of 0: stage 3 kernel 5 -> 3; weight transfer (sha256 aabbccddeeff, half of it); trained 5 epochs at 128x96, validation loss 11.5",
		"generation 2, child 3 of 1: stage 7 filters/8 40 -> 12; initial weights, seed 12; trained 5 epochs at 128x96, validation loss 11",
		"the best of 4 evaluations by validation loss and parameters, fitness 11; seed 3: evopose search --seed 3",
	}
	if diff := cmp.Diff(want, Lineage(h, family(), 3, []string{"trained before"})); diff != "" {
		t.Error(diff)
	}
	h.Settings.Selection, h.Command = SelectPareto, ""
	if got := Lineage(h, family(), 0, nil); len(got) != 2 || got[1] != "the best of 4 evaluations by validation loss and parameters as two objectives, fitness 12; seed 3" {
		t.Errorf("%q", got)
	}
}

func TestExport(t *testing.T) {
	entries := family()
	size := model.Size{H: 64, W: 64}
	n, err := model.NewNetwork(entries[3].Job.Genotype, size)
	if err != nil {
		t.Fatal(err)
	}
	weights := model.InitialWeights(n, 1)
	trained := model.Card{Name: "evaluation-3", Genotype: n.Genotype, Input: size, Trained: true, Seed: 12, Data: "some", Licence: "any"}
	file, err := onnx.Export(n, weights, trained, false)
	if err != nil {
		t.Fatal(err)
	}
	h := Header{Settings: small()}
	data, card, err := Export(file, "winner", h, entries, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, inside, err := onnx.Weights(data)
	if err != nil || !sameWeights(got, weights) {
		t.Fatal("weights changed", err)
	}
	trained.Name, trained.Lineage = "winner", Lineage(h, entries, 3, nil)
	trained.Heatmap, trained.MultiplyAdds = n.Heatmap, n.MultiplyAdds()
	trained.Parameters, _ = n.Parameters()
	if diff := cmp.Diff(trained, card); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(trained.Lineage, inside.Lineage); diff != "" || inside.Name != "winner" || inside.Data != "some" {
		t.Errorf("%+v: %s", inside, diff)
	}
	if _, _, err := Export(file, "winner", h, entries, 2, nil); err == nil || !strings.Contains(err.Error(), "weights of evaluation 2 are those of") {
		t.Errorf("error %v", err)
	}
	if _, _, err := Export([]byte("hello"), "winner", h, entries, 3, nil); err == nil || !strings.Contains(err.Error(), "weights of evaluation 3") {
		t.Errorf("error %v", err)
	}
}
