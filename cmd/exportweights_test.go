package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/weightfile"
)

// From ONNX through each format and back: the same file, card and all.
func TestExportRoundTrip(t *testing.T) {
	dir := t.TempDir()
	trained(t, dir)
	before, err := os.ReadFile(filepath.Join(dir, "tiny.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	onnxFile := export(t, dir, "--weights", "tiny.onnx", "--out", "tiny.onnx")
	for _, extension := range weightfile.Extensions {
		there := export(t, dir, "--weights", "tiny.onnx", "--out", "other/tiny"+extension)
		if there.Weights != "other/tiny"+extension || there.ONNX != "" || there.YAML != "" || there.Bytes < 4*int(there.Card.Parameters) {
			t.Errorf("%s: reported %+v", extension, there)
		}
		back := export(t, dir, "--weights", there.Weights, "--out", "back/tiny.onnx")
		after, err := os.ReadFile(filepath.Join(dir, back.ONNX))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, after) {
			t.Errorf("%s: the ONNX file that comes back is another", extension)
		}
		if diff := cmp.Diff(onnxFile.Card, back.Card); diff != "" {
			t.Errorf("%s: card:\n%s", extension, diff)
		}
		from := there.Card
		from.File, from.SHA256 = onnxFile.Card.File, onnxFile.Card.SHA256
		if diff := cmp.Diff(onnxFile.Card, from); diff != "" {
			t.Errorf("%s: reported card:\n%s", extension, diff)
		}
	}
}

// Weights of a seed, and of a model by its name.
func TestExportWeightsOfASeed(t *testing.T) {
	dir := t.TempDir()
	export(t, dir, "--model", "s", "--size", "64x64", "--seed", "7", "--out", "seven.npz")
	f, err := weightfile.Read(filepath.Join(dir, "seven.npz"))
	if err != nil {
		t.Fatal(err)
	}
	got, shapes, err := f.Weights()
	if err != nil {
		t.Fatal(err)
	}
	n, err := model.NewNetwork(model.GenotypeS, model.Size{H: 64, W: 64})
	if err != nil {
		t.Fatal(err)
	}
	if err := weightfile.CheckNetwork(n, shapes); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(model.InitialWeights(n, 7), got); diff != "" {
		t.Error("the weights differ")
	}
	card, err := onnx.CardOf(f.Meta)
	if err != nil || card.Name != "seven" || card.Trained || card.Seed != 7 || card.Lineage[0] != "initial weights, seed 7" {
		t.Errorf("%v, %+v", err, card)
	}
}

// Random weights take the place of trained ones only where that is said.
func TestExportKeepsTrained(t *testing.T) {
	dir := t.TempDir()
	trained(t, dir)
	e := export(t, dir, "--weights", "tiny.onnx", "--out", "models/evopose2d-s.onnx")
	path := filepath.Join(dir, e.ONNX)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"export", "--model", "s", "--size", "64x64"}
	_, err = evopose(t, dir, args...)
	if !isUsage(err) || !strings.Contains(err.Error(), "models/evopose2d-s.onnx is trained") {
		t.Errorf("%v, want that it is trained", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("%v, or the file is another", err)
	}
	if _, err := evopose(t, dir, append(args, "--out", "models/evopose2d-s.onnx")...); err != nil {
		t.Errorf("with --out: %v", err)
	}
	if _, err := evopose(t, dir, args...); err != nil {
		t.Errorf("over random weights: %v", err)
	}
}

func TestExportWeightsOfAModel(t *testing.T) {
	dir := t.TempDir()
	e := export(t, dir, "--weights", "evopose2d-s", "--out", "named.pt")
	if !e.Card.Trained || e.Card.Name != "named" || e.Card.Genotype != model.GenotypeS {
		t.Errorf("%+v", e.Card)
	}
	out, err := evopose(t, dir, "export", "--weights", "named.pt", "--out", "again.safetensors")
	if err != nil || !strings.HasPrefix(out, "wrote again.safetensors (10.") || strings.Contains(out, "yaml") {
		t.Errorf("%v\n%s", err, out)
	}
}

// foreign writes the weights of a file of ours as others have them: without
// metadata, by other names or in another layout.
func foreign(t *testing.T, dir, name string, change func(f *weightfile.File)) {
	t.Helper()
	n, err := model.NewNetwork(model.GenotypeS, model.Size{H: 64, W: 64})
	if err != nil {
		t.Fatal(err)
	}
	f, err := weightfile.New(n, model.InitialWeights(n, 5), model.Card{})
	if err != nil {
		t.Fatal(err)
	}
	f.Meta = nil
	change(f)
	if err := weightfile.Write(filepath.Join(dir, name), f); err != nil {
		t.Fatal(err)
	}
}

func TestExportForeignWeights(t *testing.T) {
	dir := t.TempDir()
	foreign(t, dir, "other.pt", func(*weightfile.File) {})
	foreign(t, dir, "keras.npz", func(f *weightfile.File) {
		k := f.Tensors["stem_conv/kernel"]
		k.Shape = []int{3, 3, 3, 16}
		f.Tensors["stem_conv/kernel"] = k
		delete(f.Tensors, "final_conv/bias")
		f.Tensors["head/bias"] = weightfile.Tensor{Shape: []int{1}, Data: []float32{1}}
	})
	e := export(t, dir, "--model", "s", "--size", "64x64", "--weights", "other.pt", "--out", "other.onnx")
	if c := e.Card; !c.Trained || c.Name != "other" || c.Licence != "unknown" || len(c.Lineage) != 1 || !strings.HasPrefix(c.Lineage[0], "weights of other.pt (sha256 ") {
		t.Errorf("%+v", c)
	}
	_, err := evopose(t, dir, "export", "--weights", "other.pt")
	if err == nil || !isUsage(err) || !strings.Contains(err.Error(), "other.pt does not say which network it is of; want --model s, m, l, xs") {
		t.Error(err)
	}
	_, err = evopose(t, dir, "export", "--model", "s", "--size", "64x64", "--weights", "keras.npz", "--out", "k.onnx")
	for _, want := range []string{"keras.npz: the weights do not fit", "stem_conv/kernel: has shape [3 3 3 16], want [16 3 3 3]", "final_conv/bias: missing", "head/bias: the network has no such weights"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestExportWeightsRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"cut.npz": "PK\x03\x04 and no more", "plain": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		args  string
		usage bool
		want  string
	}{
		{"--model s --half --out s.pt", true, "--half: only ONNX files are written in half precision, not s.pt"},
		{"--model s --out s.h5", true, ".npz .safetensors .pt .pth"},
		{"--model s --out S.npz", true, `--out S.npz: the file names the model: name: "S": want a-z`},
		{"--weights cut.npz", false, "cut.npz: is a zip archive that is damaged or cut off"},
		{"--weights evopose2d-q", false, "evopose2d-q: no such file"},
		{"--model s --size 64x64 --out plain/s.npz", false, "plain"},
	} {
		_, err := evopose(t, dir, append([]string{"export"}, strings.Fields(test.args)...)...)
		if err == nil || !strings.Contains(err.Error(), test.want) || isUsage(err) != test.usage {
			t.Errorf("export %s: error (usage %t) %v, want (usage %t) %s", test.args, isUsage(err), err, test.usage, test.want)
		}
	}
}
