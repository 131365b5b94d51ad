package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/weightfile"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/efficientnet"
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
// of From by weight transfer or by growing.
func (c *Config) start(n *model.Network) (*Start, error) {
	initial := model.InitialWeights(n, c.Seed)
	if c.From == "" {
		return &Start{Weights: initial, Lineage: []string{fmt.Sprintf("initial weights, seed %d", c.Seed)}}, nil
	}
	card, w, err := readWeights(c.From, c.Seed)
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
	transfer, how := search.Transfer, ""
	if c.Grow {
		transfer, how = search.Grow, ", what that lacks begins silent"
	}
	weights, summary := transfer(n, initial, parent, w)
	lineage := slices.Clone(card.Lineage)
	if card.Genotype != c.Genotype || card.Input != c.Native {
		lineage = append(lineage, fmt.Sprintf("weight transfer from %s (%s, %v)%s", card.Name, card.Genotype, card.Input, how))
	}
	return &Start{Weights: weights, Summary: summary, Lineage: lineage}, nil
}

// readWeights reads a checkpoint, of which the moving average counts, a file
// that evopose export wrote, or an EfficientNet-Lite0, which becomes generation
// 0 of the search with initial heads of the seed.
func readWeights(path string, seed uint64) (model.Card, model.Weights, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return model.Card{}, nil, fmt.Errorf("the weights to start from: %w", err)
	}
	if IsCheckpoint(data) {
		card, w, err := CheckpointModel(data)
		if err != nil {
			return card, nil, fmt.Errorf("checkpoint %s %w", path, err)
		}
		return card, w, nil
	}
	if f, err := weightfile.Parse(data); err == nil && efficientnet.Is(f) {
		card, w, err := efficientnet.Model(f, seed)
		if err != nil {
			return card, nil, fmt.Errorf("%s: %w", path, err)
		}
		return card, w, nil
	}
	card, w, err := fileWeights(data)
	if err != nil {
		return card, nil, fmt.Errorf("%s is neither a checkpoint of evopose train nor an ONNX file of evopose nor another with its metadata: %w", path, err)
	}
	return card, w, nil
}

// fileWeights reads an ONNX, .npz, safetensors or PyTorch file of ours.
func fileWeights(data []byte) (model.Card, model.Weights, error) {
	m, err := weightfile.ParseModel(data)
	if err != nil {
		return model.Card{}, nil, err
	}
	if m.Card == nil {
		return model.Card{}, nil, errors.New("it does not say which network its weights are of; `evopose import` makes an ONNX file of it that does")
	}
	if m.Shapes == nil {
		return *m.Card, m.Weights, nil
	}
	n, err := model.NewNetwork(m.Card.Genotype, m.Card.Input)
	if err != nil {
		return model.Card{}, nil, err
	}
	return *m.Card, m.Weights, m.Check(n)
}

// IsCheckpoint tells whether the content of a file begins as a checkpoint does.
func IsCheckpoint(data []byte) bool { return bytes.HasPrefix(data, []byte(checkpointMagic)) }

// CheckpointModel returns the network whose training a checkpoint, given as the
// content of its file, is of: the card as that of BestFile's network, and the
// moving average of the weights.
func CheckpointModel(data []byte) (model.Card, model.Weights, error) {
	ckpt, err := decode(data)
	if err != nil {
		return model.Card{}, nil, err
	}
	var s saved
	if err := json.Unmarshal(ckpt.Meta.Run, &s); err != nil {
		return model.Card{}, nil, fmt.Errorf("%w (its run: %w)", errInside, err)
	}
	lineage := s.Lineage
	if ckpt.Meta.Step > 0 {
		lineage = append(lineage, s.Config.trained(ckpt.Meta.Epoch, ckpt.Meta.begun()))
	}
	card, w := s.Config.card(lineage), ckpt.Group(GroupEMA)
	n, err := model.NewNetwork(card.Genotype, card.Input)
	if err != nil {
		return card, nil, fmt.Errorf("%w (%w)", errInside, err)
	}
	if problems := n.Mismatch(w); problems != nil {
		return card, nil, fmt.Errorf("%w (%s)", errInside, problems[0])
	}
	card.Heatmap = n.Heatmap
	card.Trained = ckpt.Meta.Step > 0 || s.Config.From != ""
	return card, w, nil
}

// begun is the number of steps behind the last whole epoch.
func (m *Meta) begun() int {
	var last Point
	if len(m.Curves) > 0 {
		last = m.Curves[len(m.Curves)-1]
	}
	if m.Epoch > last.Epoch { // at the end of an epoch that is still to be measured
		return 0
	}
	return m.Step - last.Step
}

// trained is the lineage's line of this run after some epochs and further steps.
func (c *Config) trained(epochs, steps int) string {
	line := "trained " + count(epochs, "epoch")
	if c.EpochPeople != 0 {
		line += fmt.Sprintf(" of %d people", c.EpochPeople)
	}
	if steps > 0 {
		line += " and " + count(steps, "step")
	}
	line += fmt.Sprintf(" at %v on %s", c.Size, c.dataNames())
	if c.Command != "" {
		line += ": " + c.Command
	}
	return line
}

// count writes "1 step" or "2 steps".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
