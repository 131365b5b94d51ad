package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/models"
)

// evopose runs the command line in the directory dir and returns what it
// printed.
func evopose(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	t.Chdir(dir)
	var out bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// export runs evopose export --json and returns what it reports.
func export(t *testing.T, dir string, args ...string) exported {
	t.Helper()
	out, err := evopose(t, dir, append([]string{"export", "--json"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	var e exported
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	return e
}

func isUsage(err error) bool {
	var u usageError
	return errors.As(err, &u)
}

// TestExportOfASeed: the exported S is, byte for byte, the network of its seed,
// and takes the place of the built-in one.
func TestExportOfASeed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "models"), 0o755); err != nil {
		t.Fatal(err)
	}
	e := export(t, dir, "--model", "s", "--seed", "1")
	want, err := models.Initial(e.Card)
	if err != nil {
		t.Fatal(err)
	}
	if e.ONNX != "models/evopose2d-s.onnx" || e.YAML != "models/evopose2d-s.yaml" || e.Bytes != len(want) || e.Card.Trained {
		t.Errorf("reported %+v", e)
	}
	r, err := models.Open(filepath.Join(dir, "models"))
	if err != nil {
		t.Fatal(err)
	}
	got, card, err := r.Load("evopose2d-s")
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("exported %d bytes, built-in %d, %v", len(got), len(want), err)
	}
	if d := cmp.Diff(e.Card, card); d != "" {
		t.Errorf("reported (-) and loaded (+) cards:\n%s", d)
	}
}

func TestExportPresetsAndSizes(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		args           []string
		name           string
		input, heatmap model.Size
		seed           uint64
	}{
		{[]string{"--model", "xs"}, "evopose2d-xs", model.Size{H: 256, W: 192}, model.Size{H: 64, W: 48}, 1},
		{[]string{"--model", "evopose2d-m", "--size", "64x48", "--seed", "9"}, "evopose2d-m", model.Size{H: 64, W: 48}, model.Size{H: 32, W: 24}, 9},
	} {
		c := export(t, dir, test.args...).Card
		if c.Name != test.name || c.Input != test.input || c.Heatmap != test.heatmap || c.Seed != test.seed || c.Trained {
			t.Errorf("%v: %+v", test.args, c)
		}
	}
}

func TestExportDraft(t *testing.T) {
	dir := t.TempDir()
	draft := "genotype: " + model.GenotypeDefault.String() + "\ninput: 64x64\ndata: of other weights\n"
	if err := os.WriteFile(filepath.Join(dir, "gen0.yaml"), []byte(draft), 0o644); err != nil {
		t.Fatal(err)
	}
	e := export(t, dir, "--model", "gen0.yaml", "--seed", "4")
	if e.ONNX != "models/gen0.onnx" || e.Card.Genotype != model.GenotypeDefault || strings.Contains(e.Card.Data, "other") {
		t.Errorf("%+v", e)
	}
	// In place: the draft becomes the whole card.
	e = export(t, dir, "--model", "gen0.yaml", "--out", "gen0.onnx")
	text, err := os.ReadFile(filepath.Join(dir, e.YAML))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := model.ParseCard(text); err != nil || c.SHA256 != e.Card.SHA256 {
		t.Errorf("%v in\n%s", err, text)
	}
}

// trained writes a small "trained" model, tiny.onnx, without a card.
func trained(t *testing.T, dir string) (model.Weights, model.Card) {
	t.Helper()
	n, err := model.NewNetwork(model.GenotypeS, model.Size{H: 64, W: 64})
	if err != nil {
		t.Fatal(err)
	}
	w := model.InitialWeights(n, 5)
	card := model.Card{Name: "tiny", Trained: true, Seed: 5, Data: "our own pictures", Licence: "CC0-1.0",
		Lineage: []string{"initial weights, seed 5", "trained"}}
	data, err := onnx.Export(n, w, card, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tiny.onnx"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return w, card
}

func TestExportWeights(t *testing.T) {
	dir := t.TempDir()
	want, from := trained(t, dir)
	// XS has the layers of S: only a stride differs.
	e := export(t, dir, "--model", "xs", "--size", "64x64", "--weights", "tiny.onnx", "--out", "runs/tiny-xs.onnx")
	c := e.Card
	if c.Name != "tiny-xs" || !c.Trained || c.Seed != 5 || c.Data != from.Data || c.Licence != from.Licence || c.Genotype != model.GenotypeXS {
		t.Errorf("card: %+v", c)
	}
	if len(c.Lineage) != 3 || !strings.HasPrefix(c.Lineage[2], "weights of tiny (sha256 ") || !strings.HasSuffix(c.Lineage[2], "genotype "+model.GenotypeXS.String()) {
		t.Errorf("lineage: %q", c.Lineage)
	}
	data, err := os.ReadFile(filepath.Join(dir, e.ONNX))
	if err != nil {
		t.Fatal(err)
	}
	got, meta, err := onnx.Weights(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error("the weights differ")
	}
	if meta.Name != "tiny-xs" || !meta.Trained {
		t.Errorf("metadata: %+v", meta)
	}
}

// TestExportMakesACard: for a file that has none, without touching the model.
func TestExportMakesACard(t *testing.T) {
	dir := t.TempDir()
	trained(t, dir)
	before, err := os.ReadFile(filepath.Join(dir, "tiny.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	e := export(t, dir, "--weights", "tiny.onnx", "--out", "tiny.onnx")
	after, err := os.ReadFile(filepath.Join(dir, "tiny.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the file changed")
	}
	if d := cmp.Diff([]string{"initial weights, seed 5", "trained"}, e.Card.Lineage); d != "" {
		t.Error(d)
	}
}

func TestExportHalf(t *testing.T) {
	dir := t.TempDir()
	trained(t, dir)
	whole := export(t, dir, "--weights", "tiny.onnx", "--out", "whole.onnx")
	half := export(t, dir, "--weights", "tiny.onnx", "--out", "half.onnx", "--half")
	if r := float64(half.Bytes) / float64(whole.Bytes); r > 0.6 {
		t.Errorf("half has %.2f of the bytes", r)
	}
	if l := half.Card.Lineage; !strings.HasSuffix(l[len(l)-1], "kernels in half precision") {
		t.Errorf("lineage: %q", l)
	}
}

func TestExportMismatch(t *testing.T) {
	dir := t.TempDir()
	trained(t, dir)
	_, err := evopose(t, dir, "export", "--model", "m", "--weights", "tiny.onnx", "--out", "m.onnx")
	if err == nil {
		t.Fatal("weights of another network were taken")
	}
	for _, want := range []string{"tiny.onnx: ", "do not fit the network", "\n  stem_conv/kernel: has ", "\n  block1b_dwconv/kernel: missing", "\n  and 6"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %.500s", want, err.Error())
		}
	}
	if _, err := os.Stat("m.onnx"); err == nil {
		t.Error("a file was written all the same")
	}
}

func TestExportRefuses(t *testing.T) {
	dir := t.TempDir()
	trained(t, dir)
	for name, text := range map[string]string{"bad.yaml": "genotype: 1,2\ninput: 64x64", "text.onnx": "not a model", "plain": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		args  string
		usage bool
		want  string
	}{
		{"", true, "--model: missing: want s, m, l, xs or a YAML file"},
		{"--model q", true, `--model "q": want s, m, l, xs or a YAML file`},
		{"--model s --size 10", true, "--size: "},
		{"--model s --size 100x100", false, "100x100"},
		{"--model s --seed -1", true, "--seed"},
		{"--model s --out S.onnx", true, `--out S.onnx: the file names the model: name: "S": want a-z`},
		{"--model s --out s.bin", true, "--out s.bin: want a file that ends in .onnx"},
		{"--weights tiny.onnx --seed 3", true, "--seed is the seed of initial weights"},
		{"--model absent.yaml", false, "absent.yaml: no such file"},
		{"--model bad.yaml", false, "bad.yaml: line 1: genotype: "},
		{"--weights absent.onnx", false, "absent.onnx: no such file"},
		{"--weights text.onnx", false, "text.onnx: "},
		{"--model s --size 64x64 --out plain/s.onnx", false, "plain"},
		{"--model s extra", true, "extra"},
	} {
		_, err := evopose(t, dir, append([]string{"export"}, strings.Fields(test.args)...)...)
		if err == nil || !strings.Contains(err.Error(), test.want) || isUsage(err) != test.usage {
			t.Errorf("export %s: error (usage %t) %v, want (usage %t) %s", test.args, isUsage(err), err, test.usage, test.want)
		}
	}
}

func TestExportText(t *testing.T) {
	out, err := evopose(t, t.TempDir(), "export", "--model", "s", "--out", "a/s.onnx")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"wrote a/s.onnx (10.2 MB) and a/s.yaml\n", "  parameters     2,531,199\n",
		"  multiply-adds  1.064 G\n", "  trained        no, random weights of seed 1: its keypoints mean nothing\n", "  sha256         "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}
