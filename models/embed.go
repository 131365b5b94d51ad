// Package models holds the models that come with the program: their cards
// and, where there are weights worth having, their ONNX files.
package models

import (
	"embed"
	"fmt"
	"io/fs"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

// The pattern takes in evopose2d-s.onnx as soon as there is one.
//
//go:embed evopose2d-s.*
var files embed.FS

// Builtin returns the models that need no file at run time: evopose2d-s.
func Builtin() []model.Builtin { return []model.Builtin{builtin(files, "evopose2d-s")} }

// Open opens the models directory dir, which may be absent, with the built-in
// models. Each model that is loaded is checked against its card.
func Open(dir string) (*model.Registry, error) {
	return model.OpenCheckedRegistry(dir, onnx.Check, Builtin()...)
}

// builtin returns the model of the card name.yaml among the files: of the ONNX
// file that the card names, or built from the card's seed. What is wrong with
// either is Build's error.
func builtin(files fs.FS, name string) model.Builtin {
	card, err := readCard(files, name)
	if err != nil {
		return failing(model.Card{Name: name}, err)
	}
	file := card.File
	card.File = "" // for a user of the program there is none
	if file == "" {
		return model.Builtin{Card: card, Build: func() ([]byte, error) { return Initial(card) }}
	}
	if _, err := fs.Stat(files, file); err == nil {
		return model.Builtin{Card: card, Build: func() ([]byte, error) { return fs.ReadFile(files, file) }}
	}
	if card.Trained {
		return failing(card, fmt.Errorf("the program was built without models/%s, which its card names", file))
	}
	// A card that `evopose export` wrote and whose file was then removed.
	card.SHA256 = ""
	return model.Builtin{Card: card, Build: func() ([]byte, error) { return Initial(card) }}
}

func failing(card model.Card, err error) model.Builtin {
	return model.Builtin{Card: card, Build: func() ([]byte, error) { return nil, err }}
}

func readCard(files fs.FS, name string) (model.Card, error) {
	text, err := fs.ReadFile(files, name+".yaml")
	if err != nil {
		return model.Card{}, err
	}
	card, err := model.ParseCard(text)
	if err != nil {
		return model.Card{}, fmt.Errorf("%s.yaml: %w", name, err)
	}
	return card, nil
}

// Initial returns the ONNX bytes of the card's network with the initial
// weights of the card's seed.
func Initial(card model.Card) ([]byte, error) {
	n, err := model.NewNetwork(card.Genotype, card.Input)
	if err != nil {
		return nil, err
	}
	return onnx.Export(n, model.InitialWeights(n, card.Seed), card, false)
}
