package cmd

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/models"
)

// registry returns the models to choose from and the name of the one that the
// flags ask for. An ONNX file is the only one: its metadata are its card.
func (f *engineFlags) registry() (*model.Registry, string, error) {
	if !strings.HasSuffix(f.model, ".onnx") {
		r, err := models.Open(f.ModelsDir)
		return r, f.model, err
	}
	file, err := readModelFile(f.model)
	if err != nil {
		return nil, "", err
	}
	r, err := model.OpenRegistry("", file)
	return r, file.Card.Name, err
}

// readModelFile reads an ONNX file of ours. The model is named after it, or
// "file" where that is no model's name.
func readModelFile(path string) (model.Builtin, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return model.Builtin{}, fmt.Errorf("--model: %w", err)
	}
	card, err := cardOf(data)
	if err != nil {
		return model.Builtin{}, fmt.Errorf("--model %s: %w", path, err)
	}
	card.Name = strings.TrimSuffix(filepath.Base(path), ".onnx")
	if model.CheckName(card.Name) != nil {
		card.Name = "file"
	}
	return model.Builtin{Card: card, Build: func() ([]byte, error) { return data, nil }}, nil
}

// cardOf returns the card of an ONNX file of ours by its metadata.
func cardOf(data []byte) (model.Card, error) {
	m, err := onnx.Unmarshal(data)
	if err != nil {
		return model.Card{}, err
	}
	card, err := onnx.Card(m)
	if err != nil {
		return model.Card{}, err
	}
	n, err := model.NewNetwork(card.Genotype, card.Input)
	if err != nil {
		return model.Card{}, err
	}
	card.Heatmap = n.Heatmap
	card.SHA256 = fmt.Sprintf("%x", sha256.Sum256(data))
	return card, nil
}
