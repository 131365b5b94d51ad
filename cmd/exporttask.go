package cmd

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/weightfile"
	"github.com/evopose/evopose/search"
)

// checkTask checks the flags of a task vector, of which all or none are given.
func (f exportFlags) checkTask(share bool) error {
	switch {
	case (f.plus == "") != (f.minus == ""):
		return usagef("--plus and --minus go together: a later and an earlier state of a network")
	case f.plus == "" && share:
		return usagef("--share is of what --plus has learnt since --minus; neither is given")
	case f.plus != "" && f.weights == "":
		return usagef("--plus and --minus want --weights, to which they are added")
	case !(f.share >= -2 && f.share <= 2):
		return usagef("--share %v: want a number from -2 to 2, mostly between 0 and 1", f.share)
	}
	return nil
}

// addTaskVector adds to the weights of m, which are of the card's network, what
// --plus has learnt since --minus, and returns how the lineage tells of it. The
// card's data become those of both, and its lineage tells how --plus came to be.
func (f exportFlags) addTaskVector(m *weightfile.Model, card *model.Card) (string, error) {
	if f.plus == "" {
		return "", nil
	}
	n, err := model.NewNetwork(card.Genotype, card.Input)
	if err != nil {
		return "", err
	}
	if err := m.Check(n); err != nil {
		return "", fmt.Errorf("%s: %w", f.weights, err)
	}
	updated, err := readState(f.plus)
	if err != nil {
		return "", fmt.Errorf("--plus %s: %w", f.plus, err)
	}
	old, err := readState(f.minus)
	if err != nil {
		return "", fmt.Errorf("--minus %s: %w", f.minus, err)
	}
	if a, b := updated.Card, old.Card; a.Genotype != b.Genotype || a.Input != b.Input {
		return "", usagef("--plus %s and --minus %s are not of one network: %v for %v and %v for %v",
			f.plus, f.minus, a.Genotype, a.Input, b.Genotype, b.Input)
	}
	m.Weights = search.AddTaskVector(n, m.Weights, updated.network, old.Weights, updated.Weights, f.share)
	card.Data = both(card.Data, updated.Card.Data)
	card.Licence = both(card.Licence, updated.Card.Licence)
	card.Trained = card.Trained || updated.Card.Trained
	card.Lineage = append(card.Lineage, ofAdded(updated.Card.Lineage, card.Lineage)...)
	return fmt.Sprintf("plus %v of what %v has over %v", f.share, updated, old), nil
}

// state is a trained network in a file.
type state struct {
	*weightfile.Model
	network *model.Network
	sha256  [sha256.Size]byte
}

func (s *state) String() string { return fmt.Sprintf("%s (sha256 %.12x)", s.Card.Name, s.sha256) }

// readState reads a file, or a model by its name, that says which network it is of.
func readState(name string) (*state, error) {
	data, err := readWeights(name)
	if err != nil {
		return nil, err
	}
	m, err := parseModel(data)
	if err != nil {
		return nil, err
	}
	if m.Card == nil {
		return nil, usagef("does not say which network it is of; `evopose import` makes an ONNX file of it that does")
	}
	n, err := model.NewNetwork(m.Card.Genotype, m.Card.Input)
	if err != nil {
		return nil, err
	}
	return &state{m, n, sha256.Sum256(data)}, m.Check(n)
}

// ofAdded returns what the lineage of the network that is added tells besides.
func ofAdded(added, besides []string) (lines []string) {
	const mark = "of the network that is added next: " // once, when that one was made so, too
	for _, line := range added {
		if !slices.Contains(besides, line) {
			lines = append(lines, mark+strings.TrimPrefix(line, mark))
		}
	}
	return lines
}

// both joins what two cards say, once where one says what the other does.
func both(a, b string) string {
	switch {
	case strings.Contains(a, b):
		return a
	case strings.Contains(b, a):
		return b
	}
	return a + "; " + b
}
