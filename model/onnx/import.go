package onnx

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/evopose/evopose/model"
)

// Card returns what the metadata of one of our files says: name, genotype,
// input, trained, seed, data, licence and lineage.
func Card(m *Model) (c model.Card, err error) {
	values := map[string]string{}
	for _, p := range m.Metadata {
		values[p.Key] = p.Value
	}
	if values[keyGenotype] == "" {
		return c, fmt.Errorf("the ONNX file has no %s in its metadata; only files that evopose wrote can be loaded", keyGenotype)
	}
	return CardOf(values)
}

// ErrNoCard means that metadata does not name a network.
var ErrNoCard = errors.New("no " + keyGenotype + " in the metadata")

// CardOf returns what the properties of Metadata say, of whatever kind of file;
// ErrNoCard if they are of no file of ours.
func CardOf(values map[string]string) (c model.Card, err error) {
	if values[keyGenotype] == "" {
		return c, ErrNoCard
	}
	if c.Genotype, err = model.ParseGenotype(values[keyGenotype]); err != nil {
		return c, err
	}
	if c.Input, err = model.ParseSize(values[keyInput]); err != nil {
		return c, err
	}
	c.Name, c.Data, c.Licence = values[keyName], values[keyData], values[keyLicence]
	c.Trained = values[keyTrained] == "true"
	c.Seed, _ = strconv.ParseUint(values[keySeed], 10, 64)
	if err := json.Unmarshal([]byte(values[keyLineage]), &c.Lineage); err != nil {
		return c, fmt.Errorf("metadata %s: %w", keyLineage, err)
	}
	return c, nil
}

// Check reports whether a file is the model that its card says it is: same
// genotype, same input size. It fits model.Registry's Check.
func Check(data []byte, want model.Card) error {
	m, err := Unmarshal(data)
	if err != nil {
		return err
	}
	got, err := Card(m)
	if err != nil {
		return err
	}
	if got.Genotype != want.Genotype {
		return fmt.Errorf("the card says genotype %v, the ONNX file %v", want.Genotype, got.Genotype)
	}
	if got.Input != want.Input {
		return fmt.Errorf("the card says input %v, the ONNX file %v", want.Input, got.Input)
	}
	return nil
}

// Weights returns the weights of one of our files, widened to float32, and
// what its metadata says. Each tensor has the length of its shape; whether they
// are those of a network is for model.Network.Mismatch to say. A tensor that
// the file holds twice is an error.
func Weights(data []byte) (model.Weights, model.Card, error) {
	m, err := Unmarshal(data)
	if err != nil {
		return nil, model.Card{}, err
	}
	card, err := Card(m)
	if err != nil {
		return nil, model.Card{}, err
	}
	w := model.Weights{}
	for _, t := range m.Graph.Initializers {
		name, decode := t.Name, decodeFloats
		switch t.Type {
		case Float16:
			name, decode = strings.TrimSuffix(t.Name, halfSuffix), decodeHalves
		case Int64:
			continue // a shape, not a weight
		}
		if _, twice := w[name]; twice {
			return nil, card, fmt.Errorf("%w: tensor %s is there twice", ErrFormat, name)
		}
		w[name] = decode(t.Raw)
	}
	return w, card, nil
}
