package weightfile

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

// Model is a file's weights with the card that its metadata gives.
type Model struct {
	Weights model.Weights
	// Shapes are the tensors' by name; nil for an ONNX file, whose lengths
	// count.
	Shapes map[string][]int
	// Card is nil when the file does not say which network it is of.
	Card *model.Card
}

// ParseModel reads the content of a file in one of the package's formats or of
// an ONNX file of ours, which always has a card.
func ParseModel(data []byte) (*Model, error) {
	f, err := Parse(data)
	if errors.Is(err, ErrUnknownFormat) {
		return parseONNX(data, err)
	}
	if err != nil {
		return nil, err
	}
	m := &Model{}
	if m.Weights, m.Shapes, err = f.Weights(); err != nil {
		return nil, err
	}
	card, err := onnx.CardOf(f.Meta)
	switch {
	case err == nil:
		m.Card = &card
	case !errors.Is(err, onnx.ErrNoCard):
		return nil, err
	}
	return m, nil
}

func parseONNX(data []byte, other error) (*Model, error) {
	w, card, err := onnx.Weights(data)
	if errors.Is(err, onnx.ErrFormat) {
		return nil, fmt.Errorf("%w, nor an ONNX file: %w", other, err)
	}
	if err != nil {
		return nil, err
	}
	return &Model{Weights: w, Card: &card}, nil
}

// Check returns an error unless the weights are those of a network, tensor by
// tensor.
func (m *Model) Check(n *model.Network) error {
	if m.Shapes != nil {
		return CheckNetwork(n, m.Shapes)
	}
	return model.MismatchError(n.Mismatch(m.Weights))
}

// New returns a file of a network's weights with its card. Weights that do not
// fit the network or are not finite are an error.
func New(n *model.Network, w model.Weights, card model.Card) (*File, error) {
	if err := model.MismatchError(n.Mismatch(w)); err != nil {
		return nil, err
	}
	f := newFile("")
	for _, p := range n.Params() {
		for i, v := range w[p.Name] {
			if v-v != 0 {
				return nil, fmt.Errorf("a weight cannot be written: %s[%d] is %v", p.Name, i, v)
			}
		}
		f.Tensors[p.Name] = Tensor{p.Shape, w[p.Name]}
	}
	f.Meta = map[string]string{}
	for _, p := range onnx.Metadata(n, card) {
		f.Meta[p.Key] = p.Value
	}
	return f, nil
}

// metaText returns the metadata as JSON.
func metaText(meta map[string]string) []byte {
	text, _ := json.Marshal(meta) // texts always marshal
	return text
}
