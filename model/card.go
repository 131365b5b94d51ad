package model

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// namePattern is what a model's name looks like: it stands in URLs, metric
// labels and file names.
var (
	namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
	sumPattern  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

const (
	wantName = "a-z, 0-9, '.', '_' and '-', the first a letter or a digit"
	wantSum  = "64 hexadecimal digits, as `sha256sum` prints them"
)

// CheckName returns an error unless name can be a model's name: letters a-z,
// digits, '.', '_' and '-', the first of them a letter or a digit.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("name: %q: want %s", name, wantName)
	}
	return nil
}

// ParseCard reads a card from the YAML text of a models/*.yaml file. Keys it
// does not know are refused, as are values that cannot be; name, genotype,
// input, trained, data and licence must be there, and sha256 where file is.
// Heatmap, Parameters and MultiplyAdds are computed from the genotype and the
// input; a card that states them must state the same. An error names the key,
// its value and what is allowed, not the file, which is the caller's to name.
func ParseCard(text []byte) (Card, error) {
	c, err := parseCard(text, "name", "genotype", "input", "trained", "data", "licence")
	if err != nil {
		return Card{}, err
	}
	if c.File != "" && c.SHA256 == "" {
		return Card{}, fmt.Errorf("sha256: missing: want what `sha256sum %s` prints; evopose export writes it too", c.File)
	}
	if c.File == "" && c.SHA256 != "" {
		return Card{}, errors.New("file: missing: want the ONNX file that sha256 is the sum of")
	}
	return c, nil
}

// ParseDraft reads the description of a network that is still to be made: a
// card of which only genotype and input must be there. All else is as in
// ParseCard.
func ParseDraft(text []byte) (Card, error) { return parseCard(text, "genotype", "input") }

// MarshalCard returns the card as the YAML text that ParseCard reads.
func MarshalCard(c Card) ([]byte, error) { return yaml.Marshal(c) }

func parseCard(text []byte, required ...string) (Card, error) {
	var c Card
	seen, err := c.decode(text)
	if err != nil {
		return Card{}, err
	}
	for _, key := range required {
		if !seen[key] {
			return Card{}, fmt.Errorf("%s: missing: want %s", key, c.field(key).want)
		}
	}
	if err := c.check(); err != nil {
		return Card{}, err
	}
	return c, c.derive()
}

// cardField is one key of a card: where its value goes and what it may be.
type cardField struct {
	key  string
	to   any
	kind yaml.Kind
	want string
}

func (c *Card) fields() []cardField {
	const scalar, list, mapping = yaml.ScalarNode, yaml.SequenceNode, yaml.MappingNode
	return []cardField{
		{"name", &c.Name, scalar, wantName},
		{"file", &c.File, scalar, "the ONNX file's path, relative to the card's folder and inside it"},
		{"genotype", &c.Genotype, scalar, "seven stages of kernel,repeats,filters/8,stride, such as " +
			`"3,1,2,1 3,3,3,2 5,2,5,2 3,4,10,2 5,2,14,1 5,4,16,1 3,2,10,1"`},
		{"input", &c.Input, scalar, "HEIGHTxWIDTH in pixels, such as 256x192"},
		{"heatmap", &c.Heatmap, scalar, "HEIGHTxWIDTH in pixels, such as 128x96, or no such key"},
		{"parameters", &c.Parameters, scalar, "a whole number, or no such key"},
		{"multiply_adds", &c.MultiplyAdds, scalar, "a whole number, or no such key"},
		{"sha256", &c.SHA256, scalar, wantSum},
		{"trained", &c.Trained, scalar, "true or false"},
		{"seed", &c.Seed, scalar, "a whole number from 0 to 18446744073709551615"},
		{"data", &c.Data, scalar, "the pictures and labels it was trained on, with their terms"},
		{"licence", &c.Licence, scalar, "the licence of the weights"},
		{"accuracy", &c.Accuracy, mapping, "numbers by name, such as {AP: 0.702}"},
		{"lineage", &c.Lineage, list, "a list of texts, the oldest step first"},
	}
}

// field returns the field of a key, nil when cards have no such key.
func (c *Card) field(key string) *cardField {
	for _, f := range c.fields() {
		if f.key == key {
			return &f
		}
	}
	return nil
}

// decode reads the YAML mapping text into c and reports the keys it holds
// with a value.
func (c *Card) decode(text []byte) (seen map[string]bool, err error) {
	root, err := decodeMapping(text)
	if err != nil {
		return nil, err
	}
	seen = make(map[string]bool)
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		f := c.field(key.Value)
		if f == nil {
			return nil, fmt.Errorf("line %d: %q: unknown key; want one of %s", key.Line, key.Value, c.keys())
		}
		if _, twice := seen[f.key]; twice {
			return nil, fmt.Errorf("line %d: %s: stated twice", key.Line, f.key)
		}
		if err := f.set(value); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", value.Line, f.key, err)
		}
		seen[f.key] = value.Tag != "!!null" && value.Value != "" || value.Kind != yaml.ScalarNode
	}
	return seen, nil
}

func (c *Card) keys() string {
	var keys []string
	for _, f := range c.fields() {
		keys = append(keys, f.key)
	}
	return strings.Join(keys, ", ")
}

// decodeMapping reads the one mapping that text must be.
func decodeMapping(text []byte) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, errors.New("empty: want a model's card, such as the one in models/README.md")
	} else if err != nil {
		return nil, err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one YAML document: want one card a file")
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: %s: want keys and values, such as name: my-model", root.Line, show(root))
	}
	return root, nil
}

// set stores the value of a field. Only the right kind of node is let
// through, for YAML would fill a Size from a mapping without ParseSize.
func (f *cardField) set(value *yaml.Node) error {
	if value.Tag == "!!null" {
		return nil
	}
	if value.Kind != f.kind {
		return fmt.Errorf("%s: want %s", show(value), f.want)
	}
	err := value.Decode(f.to)
	var wrongType *yaml.TypeError
	if errors.As(err, &wrongType) {
		return fmt.Errorf("%s: want %s", show(value), f.want)
	}
	if err != nil {
		// Genotype's own errors begin with the key, which the caller writes.
		return errors.New(strings.TrimPrefix(err.Error(), f.key+": "))
	}
	return nil
}

// show names a value in a message: as it stands, or by its kind.
func show(n *yaml.Node) string {
	switch n.Kind {
	case yaml.ScalarNode:
		return fmt.Sprintf("%q", n.Value)
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "an alias"
}

// check returns an error for the first value that cannot be.
func (c *Card) check() error {
	if c.Name != "" {
		if err := CheckName(c.Name); err != nil {
			return err
		}
	}
	if c.File != "" && !filepath.IsLocal(filepath.FromSlash(c.File)) {
		return fmt.Errorf("file: %q: want %s", c.File, c.field("file").want)
	}
	c.SHA256 = strings.ToLower(c.SHA256)
	if c.SHA256 != "" && !sumPattern.MatchString(c.SHA256) {
		return fmt.Errorf("sha256: %q: want %s", c.SHA256, wantSum)
	}
	for name, v := range c.Accuracy {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("accuracy: %s: %v: want a finite number", name, v)
		}
	}
	return nil
}

// derive fills what follows from the genotype and the input, and refuses a
// card that states something else.
func (c *Card) derive() error {
	n, err := NewNetwork(c.Genotype, c.Input)
	if err != nil {
		return err
	}
	if c.Heatmap != (Size{}) && c.Heatmap != n.Heatmap {
		return fmt.Errorf("heatmap: %s: the genotype and the input give %s", c.Heatmap, n.Heatmap)
	}
	total, _ := n.Parameters()
	if c.Parameters != 0 && c.Parameters != total {
		return fmt.Errorf("parameters: %d: the genotype and the input give %d", c.Parameters, total)
	}
	if c.MultiplyAdds != 0 && c.MultiplyAdds != n.MultiplyAdds() {
		return fmt.Errorf("multiply_adds: %d: the genotype and the input give %d", c.MultiplyAdds, n.MultiplyAdds())
	}
	c.Heatmap, c.Parameters, c.MultiplyAdds = n.Heatmap, total, n.MultiplyAdds()
	return nil
}
