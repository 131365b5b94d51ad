package models

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

func load(t *testing.T, b model.Builtin) ([]byte, model.Card, error) {
	t.Helper()
	r, err := model.OpenCheckedRegistry("", onnx.Check, b)
	if err != nil {
		t.Fatal(err)
	}
	return r.Load(b.Card.Name)
}

// TestOpen loads the embedded model with the project's own models directory
// and without one: a user has no directory.
func TestOpen(t *testing.T) {
	var sums []string
	for _, dir := range []string{".", t.TempDir()} {
		r, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Broken()["evopose2d-s"]; err != nil {
			t.Fatal(err)
		}
		data, card, err := r.Load(r.Resolve("s"))
		if err != nil {
			t.Fatal(err)
		}
		// Parameters: design/evopose2d.md, section 1.
		if card.Name != "evopose2d-s" || card.Parameters != 2531199 || card.Heatmap != (model.Size{H: 128, W: 96}) {
			t.Errorf("card: %+v", card)
		}
		if _, meta, err := onnx.Weights(data); err != nil || meta.Trained != card.Trained || meta.Seed != card.Seed {
			t.Errorf("metadata: %+v, %v", meta, err)
		}
		sums = append(sums, card.SHA256)
	}
	if sums[0] != sums[1] {
		t.Errorf("the embedded model is %s, the directory's %s", sums[1], sums[0])
	}
}

// small is a card of a small input, quick to build.
func small(t *testing.T, change func(*model.Card)) []byte {
	t.Helper()
	c := model.Card{Name: "tiny", Genotype: model.GenotypeS, Input: model.Size{H: 64, W: 64}, Seed: 3,
		Data: "none", Licence: "Apache-2.0"}
	change(&c)
	text, err := model.MarshalCard(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestBuiltFromItsSeed(t *testing.T) {
	with := func(seed uint64) []byte {
		data, card, err := load(t, builtin(fstest.MapFS{"tiny.yaml": {Data: small(t, func(c *model.Card) { c.Seed = seed })}}, "tiny"))
		if err != nil || card.SHA256 == "" {
			t.Fatal(card, err)
		}
		return data
	}
	if !bytes.Equal(with(3), with(3)) {
		t.Error("the same seed gives other bytes")
	}
	if bytes.Equal(with(3), with(4)) {
		t.Error("another seed gives the same bytes")
	}
}

func TestEmbeddedFile(t *testing.T) {
	files := fstest.MapFS{"tiny.yaml": {Data: small(t, func(*model.Card) {})}}
	data, card, err := load(t, builtin(files, "tiny"))
	if err != nil {
		t.Fatal(err)
	}
	files["tiny.onnx"] = &fstest.MapFile{Data: data}
	files["tiny.yaml"] = &fstest.MapFile{Data: small(t, func(c *model.Card) {
		c.Trained, c.File, c.SHA256 = true, "tiny.onnx", card.SHA256
	})}
	got, card, err := load(t, builtin(files, "tiny"))
	if err != nil || !bytes.Equal(got, data) || !card.Trained || card.File != "" {
		t.Errorf("the embedded file: %d bytes, %+v, %v", len(got), card, err)
	}
	files["tiny.onnx"] = &fstest.MapFile{Data: slices.Concat(data, []byte("x"))}
	if _, _, err := load(t, builtin(files, "tiny")); !errors.Is(err, model.ErrChecksum) {
		t.Errorf("a changed embedded file: %v", err)
	}
}

// TestFileNotEmbedded: trained weights that are not there cannot be made up,
// initial ones can.
func TestFileNotEmbedded(t *testing.T) {
	for _, trained := range []bool{false, true} {
		text := small(t, func(c *model.Card) {
			c.Trained, c.File, c.SHA256 = trained, "tiny.onnx", strings.Repeat("0", 64)
		})
		_, card, err := load(t, builtin(fstest.MapFS{"tiny.yaml": {Data: text}}, "tiny"))
		if trained && (err == nil || !strings.Contains(err.Error(), "built without models/tiny.onnx")) {
			t.Errorf("trained: %v", err)
		}
		if !trained && (err != nil || card.File != "") {
			t.Errorf("initial: %+v, %v", card, err)
		}
	}
}

func TestBadBuiltin(t *testing.T) {
	if _, err := builtin(fstest.MapFS{}, "tiny").Build(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no card: %v", err)
	}
	bad := fstest.MapFS{"tiny.yaml": {Data: []byte("name: Tiny")}}
	if _, err := builtin(bad, "tiny").Build(); err == nil || !strings.HasPrefix(err.Error(), "tiny.yaml: ") {
		t.Errorf("bad card: %v", err)
	}
	if _, err := Initial(model.Card{Genotype: model.GenotypeS, Input: model.Size{H: 5, W: 5}}); err == nil {
		t.Error("Initial built a 5x5 network")
	}
}

func BenchmarkInitial(b *testing.B) {
	card := Builtin()[0].Card
	for b.Loop() {
		if _, err := Initial(card); err != nil {
			b.Fatal(err)
		}
	}
}

// TestReadmeCards: the examples of the README are cards that are taken.
func TestReadmeCards(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var examples []string
	for _, part := range strings.Split(string(text), "```yaml\n")[1:] {
		example, _, _ := strings.Cut(part, "```")
		examples = append(examples, example)
	}
	if len(examples) != 2 {
		t.Fatalf("%d examples, want a draft and a card", len(examples))
	}
	if _, err := model.ParseDraft([]byte(examples[0])); err != nil {
		t.Error(err)
	}
	if _, err := model.ParseCard([]byte(examples[1])); err != nil {
		t.Error(err)
	}
}
