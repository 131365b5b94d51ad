package search

import (
	"fmt"
	"strings"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

// Ancestry returns the entries that an evaluation comes from, the ancestor
// first and itself last. entries are by ID.
func Ancestry(entries []Entry, id int) []Entry {
	var line []Entry
	for ; id >= 0; id = entries[id].Job.Parent {
		line = append([]Entry{entries[id]}, line...)
	}
	return line
}

// Lineage tells how an evaluation's network came to be, a line for each of its
// ancestors and at last the search itself: mutations, transfer, training and
// losses. before is the lineage of the weights that the ancestor started from,
// nil for initial ones.
func Lineage(h Header, entries []Entry, id int, before []string) []string {
	lines := append([]string(nil), before...)
	for i, e := range Ancestry(entries, id) {
		start := fmt.Sprintf("initial weights, seed %d", e.Job.Seed)
		if e.Job.ParentWeights != "" {
			start = fmt.Sprintf("weight transfer (sha256 %.12s, %s)", e.Job.ParentWeights, e.Result.Transfer)
		}
		what := fmt.Sprintf("generation 0, genotype %v", e.Job.Genotype)
		if i > 0 {
			what = fmt.Sprintf("generation %d, child %d of %d: %s", e.Job.Generation, e.Job.ID, e.Job.Parent, strings.Join(e.Job.Mutations, ", "))
		}
		lines = append(lines, fmt.Sprintf("%s; %s; trained %d epochs at %v, validation loss %.4g", what, start, e.Job.Epochs, h.Settings.Size, e.Result.Loss))
	}
	found := fmt.Sprintf("the best of %d evaluations by %s, fitness %.4g; seed %d", len(entries), h.Settings.Criterion(),
		Fitness(h.Settings.Cost, entries[id].Result), h.Settings.Seed)
	if h.Command != "" {
		found += ": " + h.Command
	}
	return append(lines, found)
}

// Criterion tells in words what parents are chosen by.
func (s *Settings) Criterion() string {
	if s.Selection == SelectPareto {
		return fmt.Sprintf("validation loss and %s as two objectives", s.Cost)
	}
	return fmt.Sprintf("validation loss and %s", s.Cost)
}

// Export returns the file of an evaluation's trained weights, which is file, as
// that of a model of its own: with a name, and its lineage in the card.
func Export(file []byte, name string, h Header, entries []Entry, id int, before []string) ([]byte, model.Card, error) {
	w, card, err := onnx.Weights(file)
	if err != nil {
		return nil, card, fmt.Errorf("weights of evaluation %d: %w", id, err)
	}
	if want := entries[id].Job.Genotype; card.Genotype != want {
		return nil, card, fmt.Errorf("weights of evaluation %d are those of %v, not of %v", id, card.Genotype, want)
	}
	n, err := model.NewNetwork(card.Genotype, card.Input)
	if err != nil {
		return nil, card, err
	}
	card.Name, card.Lineage = name, Lineage(h, entries, id, before)
	card.Heatmap, card.MultiplyAdds = n.Heatmap, n.MultiplyAdds()
	card.Parameters, _ = n.Parameters()
	data, err := onnx.Export(n, w, card, false)
	return data, card, err
}
