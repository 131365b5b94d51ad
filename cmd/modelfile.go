package cmd

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/models"
	"github.com/evopose/evopose/search/train"
)

// registry returns the models to choose from and the name of the one that the
// flags ask for. A file is the only one: it says itself what its card would.
func (f *engineFlags) registry() (*model.Registry, string, error) {
	if !slices.Contains([]string{".onnx", ".ckpt"}, filepath.Ext(f.model)) {
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

// readModelFile reads an ONNX file of ours or a checkpoint of evopose train. The
// model is named after it, or "file" where that is no model's name.
func readModelFile(path string) (model.Builtin, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return model.Builtin{}, fmt.Errorf("--model: %w", err)
	}
	if train.IsCheckpoint(data) {
		if data, err = checkpointONNX(data); err != nil {
			return model.Builtin{}, fmt.Errorf("--model %s %w", path, err)
		}
	}
	card, err := cardOf(data)
	if err != nil {
		return model.Builtin{}, fmt.Errorf("--model %s: %w", path, err)
	}
	card.Name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	if model.CheckName(card.Name) != nil {
		card.Name = "file"
	}
	return model.Builtin{Card: card, Build: func() ([]byte, error) { return data, nil }}, nil
}

// checkpointONNX returns the ONNX file of a checkpoint's moving average.
func checkpointONNX(data []byte) ([]byte, error) {
	card, w, err := train.CheckpointModel(data)
	if err != nil {
		return nil, err
	}
	n, err := model.NewNetwork(card.Genotype, card.Input)
	if err != nil {
		return nil, err
	}
	return onnx.Export(n, w, card, false)
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
