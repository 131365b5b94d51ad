package cmd

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/server/batch"
	"github.com/evopose/evopose/server/pose"
	"github.com/spf13/cobra"
)

// loadModelOrFile is load for --model that may be an ONNX file, which needs no
// card: its metadata are one.
func (f *evalFlags) loadModelOrFile(c *cobra.Command) (*engine, *pose.Model, error) {
	f.Batch = batch.Options{Max: f.batch, Queue: 1 << 20}
	if !strings.HasSuffix(f.model, ".onnx") {
		return f.load(c)
	}
	builtin, err := readModelFile(f.model)
	if err != nil {
		return nil, nil, err
	}
	registry, err := model.OpenRegistry("", builtin)
	if err != nil {
		return nil, nil, err
	}
	e, err := openEngine(c.Context(), f.engineOptions, c.ErrOrStderr())
	if err != nil {
		return nil, nil, err
	}
	e.Registry, e.Pool = registry, pose.NewPool(pose.PoolOptions{
		Registry: registry, Batch: f.Batch,
		Open: func(data []byte, card model.Card) (model.Runner, error) {
			return ort.Open(data, card, ort.Options{Provider: f.Provider, Threads: f.Threads, MaxBatch: f.Batch.Max})
		},
	})
	m, err := e.Pool.Get(c.Context(), builtin.Card.Name)
	if err != nil {
		return nil, nil, joinClose(err, e)
	}
	warnUntrained(c, m.Card)
	return e, m, nil
}

func warnUntrained(c *cobra.Command, card model.Card) {
	if !card.Trained {
		fmt.Fprintf(c.ErrOrStderr(), "warning: model %s is not trained: its keypoints mean nothing\n", card.Name)
	}
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
