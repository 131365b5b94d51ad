package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// modelsDir has a model of each sort: xs works, changed is not what its card
// says, lost has no card.
func modelsDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	export(t, dir, "--model", "xs", "--size", "64x64", "--out", "evopose2d-xs.onnx")
	export(t, dir, "--model", "xs", "--size", "64x64", "--out", "changed.onnx")
	for name, text := range map[string]string{"changed.onnx": "something else", "lost.onnx": "a model"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestModelsTable(t *testing.T) {
	dir := modelsDir(t)
	out, err := evopose(t, dir, "models", "--models-dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^NAME +INPUT +HEATMAP +PARAMETERS +MULTIPLY-ADDS +TRAINED +ACCURACY +SHA256 +FROM$`,
		`(?m)^evopose2d-s +256x192 +128x96 +2,531,199 +1\.064 G +(yes|no) +\S.* +[0-9a-f]{12} +built-in$`,
		`(?m)^evopose2d-xs +64x64 +16x16 +[0-9,]+ +0\.[0-9]+ G +no +- +[0-9a-f]{12} +evopose2d-xs\.onnx$`,
		`(?m)^  evopose2d-xs:\n    initial weights, seed 1$`,
		`(?m)^    trained .* on coco/train \+ lspet/train$`, // without its command
		`(?m)^  changed: model changed: .*checksum mismatch`,
		`(?m)^  lost: .*lost\.onnx has no card lost\.yaml; make one with evopose export`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s does not match\n%s", want, out)
		}
	}
}

func TestModelsJSON(t *testing.T) {
	dir := modelsDir(t)
	t.Setenv("EVOPOSE_MODELS_DIR", dir)
	out, err := evopose(t, dir, "models", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var l modelList
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		t.Fatal(err)
	}
	if len(l.Models) != 2 || l.Models[0].Name != "evopose2d-s" || len(l.Models[0].SHA256) != 64 || l.Models[1].Name != "evopose2d-xs" {
		t.Errorf("models: %+v", l.Models)
	}
	if len(l.Broken) != 2 || !strings.Contains(l.Broken["changed"], "checksum") || l.Broken["lost"] == "" {
		t.Errorf("broken: %v", l.Broken)
	}
	if !strings.Contains(out, `"genotype": "3,1,2,1 `) || !strings.Contains(out, `"input": "256x192"`) {
		t.Errorf("genotype and input are not in the form of the card:\n%s", out)
	}
}

func TestModelsWithoutDirectory(t *testing.T) {
	out, err := evopose(t, t.TempDir(), "models", "--json")
	if err != nil || !strings.Contains(out, `"broken": {}`) || !strings.Contains(out, `"evopose2d-s"`) {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestModelsRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := evopose(t, t.TempDir(), "models", "--models-dir", file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file as directory: %v", err)
	}
}

func TestFigures(t *testing.T) {
	for n, want := range map[int64]string{462000000: "0.462 G", 1064085440: "1.064 G", 17590000000: "17.59 G"} {
		if got := giga(n); got != want {
			t.Errorf("giga(%d) = %q, want %q", n, got, want)
		}
	}
	if got := accuracy(map[string]float64{"PCK@0.2": 0.9, "AP": 0.70213}); got != "AP 0.7021, PCK@0.2 0.9" {
		t.Errorf("accuracy: %q", got)
	}
	if got := thousands(14709587); got != "14,709,587" {
		t.Errorf("thousands: %q", got)
	}
}
