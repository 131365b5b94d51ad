package train

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/search"
)

// Start is where a run starts from.
type Start struct {
	Weights model.Weights
	// Summary says what was taken from another network, tensor by tensor; nil
	// for initial weights.
	Summary search.Summary
	// Lineage is that of the other network, with this step.
	Lineage []string
}

// start returns the weights that the run starts from: initial ones, or those
// of From by weight transfer.
func (c *Config) start(n *model.Network) (*Start, error) {
	initial := model.InitialWeights(n, c.Seed)
	if c.From == "" {
		return &Start{Weights: initial, Lineage: []string{fmt.Sprintf("initial weights, seed %d", c.Seed)}}, nil
	}
	card, w, err := readWeights(c.From)
	if err != nil {
		return nil, err
	}
	parent, err := model.NewNetwork(card.Genotype, card.Input)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.From, err)
	}
	if problems := parent.Mismatch(w); problems != nil {
		return nil, fmt.Errorf("%s: its weights do not fit its own network: %s", c.From, problems[0])
	}
	weights, summary := search.Transfer(n, initial, parent, w)
	lineage := card.Lineage
	if card.Genotype != c.Genotype || card.Input != c.Native {
		lineage = append(lineage, fmt.Sprintf("weight transfer from %s (%s, %v)", card.Name, card.Genotype, card.Input))
	}
	return &Start{Weights: weights, Summary: summary, Lineage: lineage}, nil
}

// readWeights reads an ONNX file of ours or a checkpoint, of which the moving
// average counts.
func readWeights(path string) (model.Card, model.Weights, error) {
	if strings.HasSuffix(path, ".ckpt") {
		return readCheckpointWeights(path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return model.Card{}, nil, err
	}
	w, card, err := onnx.Weights(data)
	if err != nil {
		return card, nil, fmt.Errorf("%s: %w", path, err)
	}
	return card, w, nil
}

func readCheckpointWeights(path string) (model.Card, model.Weights, error) {
	ckpt, err := Load(path)
	if err != nil {
		return model.Card{}, nil, err
	}
	var s saved
	if err := json.Unmarshal(ckpt.Meta.Run, &s); err != nil {
		return model.Card{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	return model.Card{Name: s.Config.Name, Genotype: s.Config.Genotype, Input: s.Config.Native, Lineage: s.Lineage},
		ckpt.Group(GroupEMA), nil
}
