package cmd

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/weightfile"
)

// TestImportOtherFormats: a file of each format comes back as the weights that
// were written, with the card that the file has, else with what is said.
func TestImportOtherFormats(t *testing.T) {
	n, err := model.NewNetwork(model.GenotypeXS, model.Size{H: 64, W: 64})
	if err != nil {
		t.Fatal(err)
	}
	w := model.InitialWeights(n, 3)
	card := model.Card{Name: "first", Seed: 3, Data: "none, the weights are random", Licence: "Apache-2.0", Lineage: []string{"initial weights, seed 3"}}
	dir := t.TempDir()
	draft := filepath.Join(dir, "xs64.yaml")
	if err := os.WriteFile(draft, []byte("genotype: "+n.Genotype.String()+"\ninput: 64x64\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, ext := range []string{".npz", ".safetensors", ".pth"} {
		t.Run(ext, func(t *testing.T) {
			f, err := weightfile.New(n, w, card)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "file"+ext)
			if err := weightfile.Write(path, f); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(dir, "again.onnx")
			told := importFile(t, path, "--out", out).Card
			checkWeights(t, out, w)
			if told.Name != "again" || told.Trained || told.Seed != 3 || told.Licence != card.Licence || told.Genotype != n.Genotype || len(told.Lineage) != 2 {
				t.Errorf("%+v", told)
			}
			f.Meta = nil
			if err := weightfile.Write(path, f); err != nil {
				t.Fatal(err)
			}
			said := importFile(t, path, "--out", out, "--model", draft).Card
			checkWeights(t, out, w)
			if !said.Trained || said.Licence != "unknown" || said.Genotype != n.Genotype || len(said.Lineage) != 1 {
				t.Errorf("%+v", said)
			}
			_, err = evopose(t, dir, "import", path, "--model", "s", "--size", "64x64", "--out", out)
			if err != nil { // XS has the layers of S
				t.Error(err)
			}
			_, err = evopose(t, dir, "import", path, "--model", "m", "--out", out)
			if err == nil || !strings.Contains(err.Error(), "does not fit evopose2d-m") || !strings.Contains(err.Error(), "stem_conv: shape") {
				t.Errorf("as M: %v", err)
			}
		})
	}
}

// TestImportFaultyValues: numbers that are none are refused by name.
func TestImportFaultyValues(t *testing.T) {
	n, err := model.NewNetwork(model.GenotypeS, model.Size{H: 64, W: 64})
	if err != nil {
		t.Fatal(err)
	}
	f, err := weightfile.New(n, model.InitialWeights(n, 3), model.Card{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	f.Tensors["stem_bn/moving_variance"].Data[1] = -1
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := weightfile.Write(path, f); err != nil {
		t.Fatal(err)
	}
	_, err = evopose(t, t.TempDir(), "import", path)
	if err == nil || !strings.Contains(err.Error(), "x.safetensors: has values that cannot be weights:\n  stem_bn/moving_variance: 1 of") {
		t.Error(err)
	}
}

func checkWeights(t *testing.T, path string, want model.Weights) {
	t.Helper()
	got, _, err := onnx.Weights(readBytes(t, path))
	if err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(want, got, slices.Equal) {
		t.Error("other weights")
	}
}
