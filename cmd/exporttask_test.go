package cmd

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/weightfile"
)

// states writes an earlier and a later state of a network, old.npz and new.pt.
func states(t *testing.T, dir string) {
	t.Helper()
	export(t, dir, "--model", "xs", "--size", "64x64", "--seed", "7", "--out", "old.npz")
	export(t, dir, "--model", "xs", "--size", "64x64", "--seed", "8", "--out", "new.pt")
}

func readTensors(t *testing.T, path string) (model.Weights, model.Card) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := weightfile.ParseModel(data)
	if err != nil {
		t.Fatal(err)
	}
	return m.Weights, *m.Card
}

// What is added to the earlier state makes it the later one, in half by half of
// the way; the network stays its own.
func TestExportTaskVector(t *testing.T) {
	dir := t.TempDir()
	states(t, dir)
	old, _ := readTensors(t, filepath.Join(dir, "old.npz"))
	updated, _ := readTensors(t, filepath.Join(dir, "new.pt"))
	for _, share := range []string{"1", "0.5"} {
		e := export(t, dir, "--weights", "old.npz", "--plus", "new.pt", "--minus", "old.npz", "--share", share, "--out", "sum.safetensors")
		got, card := readTensors(t, filepath.Join(dir, e.Weights))
		s := map[string]float64{"1": 1, "0.5": 0.5}[share]
		for _, name := range []string{"stem_conv/kernel", "block3a_dwconv/kernel", "final_conv/kernel"} {
			for i, v := range got[name] {
				want := (1-s)*float64(old[name][i]) + s*float64(updated[name][i])
				if math.Abs(float64(v)-want) > 1e-6 {
					t.Fatalf("share %s: %s[%d] is %v, want %v", share, name, i, v, want)
				}
			}
		}
		last := card.Lineage[len(card.Lineage)-1]
		if card.Input.H != 64 || !strings.HasPrefix(last, "weights of old (sha256 ") || !strings.Contains(last, "), plus "+share+" of what new (sha256 ") {
			t.Errorf("input %v, lineage %q", card.Input, last)
		}
		if want := "of the network that is added next: initial weights, seed 8"; card.Lineage[1] != want {
			t.Errorf("lineage %q, want %q second", card.Lineage, want)
		}
	}
}

// What a card says of data and licence is of everything in the weights.
func TestExportTaskVectorData(t *testing.T) {
	dir := t.TempDir()
	states(t, dir)
	e := export(t, dir, "--weights", "evopose2d-s", "--plus", "new.pt", "--minus", "old.npz", "--out", "sum.onnx")
	if c := e.Card; !c.Trained || !strings.HasSuffix(c.Data, "; none, the weights are random") || !strings.HasSuffix(c.Licence, "; Apache-2.0") {
		t.Errorf("%+v", c)
	}
}

func TestExportTaskVectorErrors(t *testing.T) {
	dir := t.TempDir()
	states(t, dir)
	foreign(t, dir, "other.pt", func(*weightfile.File) {})
	export(t, dir, "--model", "xs", "--size", "128x96", "--out", "wide.npz")
	for _, tt := range []struct {
		want string
		args []string
	}{
		{"go together", []string{"--weights", "old.npz", "--plus", "new.pt"}},
		{"go together", []string{"--weights", "old.npz", "--minus", "old.npz"}},
		{"neither is given", []string{"--weights", "old.npz", "--share", "0.5"}},
		{"want --weights", []string{"--model", "xs", "--plus", "new.pt", "--minus", "old.npz"}},
		{"want a number from -2 to 2", []string{"--weights", "old.npz", "--plus", "new.pt", "--minus", "old.npz", "--share", "NaN"}},
		{"not of one network", []string{"--weights", "old.npz", "--plus", "evopose2d-s", "--minus", "old.npz"}},
		{"not of one network", []string{"--weights", "old.npz", "--plus", "wide.npz", "--minus", "old.npz"}},
		{"--plus other.pt: does not say which network", []string{"--weights", "old.npz", "--plus", "other.pt", "--minus", "old.npz"}},
		{"--minus absent.npz: open absent.npz", []string{"--weights", "old.npz", "--plus", "new.pt", "--minus", "absent.npz"}},
	} {
		_, err := evopose(t, dir, append([]string{"export", "--out", "sum.npz"}, tt.args...)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.args, err, tt.want)
		}
		if _, err := os.Stat(filepath.Join(dir, "sum.npz")); err == nil {
			t.Fatalf("%v: wrote a file", tt.args)
		}
	}
}
