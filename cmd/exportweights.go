package cmd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/weightfile"
	"github.com/evopose/evopose/models"
	"github.com/evopose/evopose/search/train"
)

// fromWeights returns the card of network with the weights of the file, and
// those weights. A name, genotype or input that network lacks is the file's.
// The accuracy is not taken over: it was measured on another file.
func (f exportFlags) fromWeights(network model.Card) (model.Card, model.Weights, error) {
	data, err := readWeights(f.weights)
	if err != nil {
		return model.Card{}, nil, err
	}
	m, err := parseModel(data)
	if err != nil {
		return model.Card{}, nil, fmt.Errorf("%s: %w", f.weights, err)
	}
	from, err := f.cardOf(m, network, data)
	if err != nil {
		return model.Card{}, nil, err
	}
	card := from
	if network.Name != "" {
		card.Name, card.Genotype = network.Name, network.Genotype
	}
	if network.Input != (model.Size{}) {
		card.Input = network.Input
	}
	if err := f.checkShapes(m, card); err != nil {
		return model.Card{}, nil, err
	}
	task, err := f.addTaskVector(m, &card)
	if err != nil {
		return model.Card{}, nil, err
	}
	if step := f.step(from, card, task, data); step != "" {
		card.Lineage = append(card.Lineage, step)
	}
	return card, m.Weights, nil
}

// readWeights returns the content of the file, or of the ONNX file of the model
// of that name.
func readWeights(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	registry, openErr := models.Open(defaultModelsDir())
	if openErr != nil {
		return nil, err
	}
	if _, ok := registry.Card(name); !ok {
		return nil, err
	}
	data, _, err = registry.Load(name)
	return data, err
}

// parseModel reads the content of a file of weights: one that weightfile reads, or
// a checkpoint of evopose train, of which the moving average counts.
func parseModel(data []byte) (*weightfile.Model, error) {
	if !train.IsCheckpoint(data) {
		return weightfile.ParseModel(data)
	}
	card, w, err := train.CheckpointModel(data)
	if err != nil {
		return nil, fmt.Errorf("the checkpoint %w", err)
	}
	return &weightfile.Model{Weights: w, Card: &card}, nil
}

// cardOf returns the card that the file of the weights gives. One without
// metadata gives only its name, and network must say the rest.
func (f exportFlags) cardOf(m *weightfile.Model, network model.Card, data []byte) (model.Card, error) {
	if m.Card != nil {
		return *m.Card, nil
	}
	if network.Name == "" {
		return model.Card{}, usagef("%s does not say which network it is of; want --model s, m, l, xs or a YAML file; or `evopose import`, which infers it", f.weights)
	}
	file := filepath.Base(f.weights)
	card := network
	card.Trained = true
	card.Data, card.Licence = "as stated by its authors", "unknown"
	card.Lineage = []string{fmt.Sprintf("weights of %s (sha256 %.12x)", file, sha256.Sum256(data))}
	return card, nil
}

// checkShapes returns an error unless the weights have the shapes that the
// network wants. Those of an ONNX file have no shapes, and are as long as the
// network wants or refused when written.
func (f exportFlags) checkShapes(m *weightfile.Model, card model.Card) error {
	if m.Shapes == nil {
		return nil
	}
	n, err := model.NewNetwork(card.Genotype, card.Input)
	if err != nil {
		return err
	}
	if err := m.Check(n); err != nil {
		return fmt.Errorf("%s: %w", f.weights, err)
	}
	return nil
}

// step is the lineage's entry for a model whose weights come from a file, with
// what addTaskVector said; empty when nothing about it changes.
func (f exportFlags) step(from, to model.Card, task string, data []byte) string {
	var changes []string
	if task != "" {
		changes = append(changes, task)
	}
	if to.Genotype != from.Genotype {
		changes = append(changes, "genotype "+to.Genotype.String())
	}
	if to.Input != from.Input {
		changes = append(changes, "input "+to.Input.String())
	}
	if f.half {
		changes = append(changes, "kernels in half precision")
	}
	if changes == nil {
		return ""
	}
	return fmt.Sprintf("weights of %s (sha256 %.12x), %s", from.Name, sha256.Sum256(data), strings.Join(changes, ", "))
}

// exportWeights writes a file of weights whose metadata is the card.
func (f exportFlags) exportWeights(out string, n *model.Network, w model.Weights, card model.Card) (exported, error) {
	file, err := weightfile.New(n, w, card)
	if err != nil {
		return exported{}, err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return exported{}, err
	}
	if err := weightfile.Write(out, file); err != nil {
		return exported{}, explainWrite(out, err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return exported{}, err
	}
	total, _ := n.Parameters()
	card.Heatmap, card.Parameters, card.MultiplyAdds = n.Heatmap, total, n.MultiplyAdds()
	card.SHA256 = fmt.Sprintf("%x", sha256.Sum256(data))
	return exported{Weights: out, Bytes: len(data), Card: card}, nil
}
