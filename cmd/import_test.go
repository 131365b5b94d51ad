package cmd

import (
	"archive/zip"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/ort/orttest"
	"github.com/evopose/evopose/models"
	"github.com/evopose/evopose/postprocess"
)

// kerasDir names the folder that model/keras/testdata/keras_files.py filled:
//
//	python model/keras/testdata/keras_files.py DIR
//	EVOPOSE_KERAS_DIR=DIR go test ./cmd -run TestImportKeras -v
const kerasDir = "EVOPOSE_KERAS_DIR"

// kerasTestdata has the small files that are kept.
const kerasTestdata = "../model/keras/testdata"

// kerasRun is one network of the script: what Keras computed of two crops.
type kerasRun struct {
	Name      string         `json:"name"`
	Genotype  model.Genotype `json:"genotype"`
	Input     model.Size     `json:"input"`
	Batch     int            `json:"batch"`
	Deviation float64        `json:"deviation"` // standard deviation of the heatmaps
	Files     []string       `json:"files"`
	Heatmaps  []float32      `json:"heatmaps"` // NCHW
	crops     []float32
}

func readKerasRun(t *testing.T, path string) (r kerasRun) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// draft writes the network as a file for --model and returns its path.
func (r kerasRun) draft(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), r.Name+".yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, "genotype: %v\ninput: %v\n", r.Genotype, r.Input), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// importFile runs evopose import --json and returns what it reports.
func importFile(t *testing.T, args ...string) exported {
	t.Helper()
	out, err := evopose(t, t.TempDir(), append([]string{"import", "--json"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	// Notes come before.
	out = out[strings.Index(out, "{"):]
	var e exported
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	return e
}

// errors runs an imported file on the crops and returns the worst differences
// from Keras: of heatmaps in their standard deviations, of keypoints in pixels
// of the input.
func (r kerasRun) errors(t *testing.T, path string) (heatmap, keypoint float64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	card, err := onnx.Card(m)
	if err != nil {
		t.Fatal(err)
	}
	n, err := model.NewNetwork(card.Genotype, card.Input)
	if err != nil {
		t.Fatal(err)
	}
	card.Heatmap = n.Heatmap
	got := make([]float32, len(r.Heatmaps))
	if err := orttest.Open(t, data, card).Run(r.crops, got); err != nil {
		t.Fatal(err)
	}
	for i, want := range r.Heatmaps {
		heatmap = worse(heatmap, math.Abs(float64(got[i]-want))/r.Deviation)
	}
	for _, decode := range []postprocess.Decode{postprocess.Argmax, postprocess.Quarter, postprocess.DARK} {
		a, b := make([]postprocess.Peak, r.Batch*model.Keypoints), make([]postprocess.Peak, r.Batch*model.Keypoints)
		postprocess.Peaks(a, got, n.Heatmap, decode)
		postprocess.Peaks(b, r.Heatmaps, n.Heatmap, decode)
		pixels := float64(n.Input.W) / float64(n.Heatmap.W)
		for i := range a {
			keypoint = worse(keypoint, pixels*math.Hypot(a[i].X-b[i].X, a[i].Y-b[i].Y))
		}
	}
	return heatmap, keypoint
}

// worse is the greater one, or the one that is no number.
func worse(a, b float64) float64 {
	if b <= a {
		return a
	}
	return b
}

// check imports every file of the run, by the real command, and compares. Files
// of the same weights are run once.
func (r kerasRun) check(t *testing.T, dir string) {
	t.Helper()
	draft := r.draft(t)
	var first model.Weights
	for _, file := range r.Files {
		out := filepath.Join(t.TempDir(), "imported.onnx")
		args := []string{filepath.Join(dir, file), "--out", out}
		if strings.Contains(file, "weights") { // tells neither strides nor input
			args = append(args, "--model", draft)
		}
		e := importFile(t, args...)
		// Rounded widths and depths let several genotypes give one network.
		if !sameLayers(t, e.Card, model.Card{Genotype: r.Genotype, Input: r.Input}) {
			t.Errorf("%s: %v at %v, want %v at %v", file, e.Card.Genotype, e.Card.Input, r.Genotype, r.Input)
			continue
		}
		weights, _, err := onnx.Weights(readBytes(t, out))
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && maps.EqualFunc(first, weights, slices.Equal) {
			t.Logf("%-22s has the weights of %s", file, r.Files[0])
			continue
		}
		first = weights
		heatmap, keypoint := r.errors(t, out)
		t.Logf("%-22s heatmaps differ by at most %.2g standard deviations, keypoints by %.2g px", file, heatmap, keypoint)
		if !(heatmap < 1e-4) || !(keypoint < 0.01) {
			t.Errorf("%s: heatmaps differ by %g standard deviations, keypoints by %g px; want under 1e-4 and 0.01", file, heatmap, keypoint)
		}
	}
}

// sameLayers reports whether two cards are of networks with the same layers.
func sameLayers(t *testing.T, a, b model.Card) bool {
	t.Helper()
	n, err := model.NewNetwork(a.Genotype, a.Input)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.NewNetwork(b.Genotype, b.Input)
	if err != nil {
		t.Fatal(err)
	}
	return cmp.Equal(n.Layers, m.Layers)
}

// goldenFiles unpacks the kept files into a folder.
func goldenFiles(t *testing.T) (kerasRun, string) {
	t.Helper()
	r := readKerasRun(t, filepath.Join(kerasTestdata, "tiny.json"))
	// The formula of the script's golden_crops.
	for i := range r.Batch * 3 * r.Input.Area() {
		r.crops = append(r.crops, float32(uint32(i)*2654435761>>24)/32-4)
	}
	dir := t.TempDir()
	for _, name := range r.Files {
		f, err := os.Open(filepath.Join(kerasTestdata, name+".gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return r, dir
}

// TestImportGolden: the small files that Keras 2 and 3 wrote compute what they
// did there.
func TestImportGolden(t *testing.T) {
	r, dir := goldenFiles(t)
	r.check(t, dir)
}

// TestImportKeras does the same with S, XS, M, L and three random genotypes.
func TestImportKeras(t *testing.T) {
	if os.Getenv(kerasDir) == "" {
		t.Skipf("%s is not set: the files take 300 MB and TensorFlow to make", kerasDir)
	}
	dir, err := filepath.Abs(os.Getenv(kerasDir))
	if err != nil {
		t.Fatal(err)
	}
	runs, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(runs) == 0 {
		t.Fatalf("%s: no *.json, %v", dir, err)
	}
	for _, path := range runs {
		r := readKerasRun(t, path)
		t.Run(r.Name, func(t *testing.T) {
			base := strings.TrimSuffix(path, ".json")
			r.crops, r.Heatmaps = readFloats(t, base+".crops"), readFloats(t, base+".heatmaps")
			r.check(t, dir)
		})
	}
}

func TestImportCard(t *testing.T) {
	r, dir := goldenFiles(t)
	work := t.TempDir()
	if err := os.Rename(filepath.Join(dir, "tiny.h5"), filepath.Join(work, "Tiny_f32.h5")); err != nil {
		t.Fatal(err)
	}
	out, err := evopose(t, work, "import", "Tiny_f32.h5", "--about", "our pictures", "--licence", "MIT", "--half")
	if err != nil {
		t.Fatal(err)
	}
	wantParts(t, out, "wrote models/tiny_f32.onnx", r.Genotype.String(), "trained        yes", "evopose eval --data COCO.json --images DIR --model models/tiny_f32.onnx")
	registry, err := models.Open(filepath.Join(work, "models"))
	if err != nil {
		t.Fatal(err)
	}
	_, c, err := registry.Load("tiny_f32")
	if err != nil {
		t.Fatal(err)
	}
	if !c.Trained || c.Seed != 0 || c.Data != "our pictures" || c.Licence != "MIT" || c.Accuracy != nil {
		t.Errorf("%+v", c)
	}
	if len(c.Lineage) != 1 || !strings.HasPrefix(c.Lineage[0], "imported from Tiny_f32.h5 (sha256 ") || !strings.HasSuffix(c.Lineage[0], "), Keras 2.21.0, kernels in half precision") {
		t.Errorf("lineage %q", c.Lineage)
	}
	c = importFile(t, filepath.Join(dir, "tiny_3.h5"), "--out", filepath.Join(work, "t.onnx")).Card
	if c.Data != "as stated by its authors" || c.Licence != "unknown" {
		t.Errorf("%+v", c)
	}
	// Another input of the same widths, where the network is convolutions only.
	c = importFile(t, filepath.Join(dir, "tiny_3.h5"), "--size", "32x64", "--out", filepath.Join(work, "t.onnx")).Card
	if d := cmp.Diff(model.Size{H: 32, W: 64}, c.Input); d != "" {
		t.Error(d)
	}
}

func TestImportRefuses(t *testing.T) {
	_, dir := goldenFiles(t)
	for name, text := range map[string]string{
		"page.h5": "\n<!DOCTYPE html><html>Google Drive: cannot scan for viruses", "lfs.h5": "version https://git-lfs.github.com/spec/v1\noid", "empty.h5": "",
		"x.onnx": "\x08\x07", "model.keras": zipped(t, "config.json"), "cut.h5": string(readBytes(t, filepath.Join(dir, "tiny.h5"))[:200000]),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		args  string
		usage bool
		want  []string
	}{
		{"", true, []string{"accepts 1 arg"}},
		{"none.h5", false, []string{"none.h5: no such file"}},
		{"page.h5", false, []string{"page.h5: a web page, not a file of weights"}},
		{"lfs.h5", false, []string{"git lfs pull"}},
		{"empty.h5", false, []string{"empty.h5: want a Keras .h5, .npz, safetensors or PyTorch file"}},
		{"x.onnx", false, []string{"evopose export --weights"}},
		{"model.keras", false, []string{`save model.save("model.h5")`}},
		{"cut.h5", false, []string{"cut.h5: "}},
		{"tiny.h5 --out x.h5", true, []string{"--out x.h5: want a file that ends in .onnx"}},
		{"tiny.h5 --model q", true, []string{`--model "q": want s, m, l, xs or a YAML file`}},
		{"tiny.h5 --size 64", true, []string{"--size: size"}},
		{"tiny.h5 --model s", false, []string{"tiny.h5: does not fit evopose2d-s (genotype 3,1,2,1 ", "input: 64x32 in the file, want 256x192",
			"stem_conv: shape [16 3 3 3] in the file, want [32 3 3 3]", "more"}},
		{"tiny.h5 --size 256x192", false, []string{"no genotype of the search space has these layers at input 256x192:\n  stem_conv: 16 filters: the input size gives 32"}},
		{"tiny_weights.h5", false, []string{"add up to 96 to", "say --size HEIGHTxWIDTH"}},
		{"tiny_weights.h5 --size 64x32", false, []string{"does not tell the strides", "say --model FILE.yaml"}},
		{"tiny_3.weights.h5", false, []string{"have no names of their own", "--model"}},
	} {
		out, err := evopose(t, dir, append([]string{"import"}, strings.Fields(test.args)...)...)
		if err == nil || isUsage(err) != test.usage {
			t.Errorf("%q: %v, usage %v\n%s", test.args, err, isUsage(err), out)
			continue
		}
		wantParts(t, err.Error(), test.want...)
	}
	if made, _ := filepath.Glob(filepath.Join(dir, "models/*")); made != nil {
		t.Errorf("%q were written", made)
	}
}

// zipped returns a ZIP file of one empty file.
func zipped(t *testing.T, name string) string {
	t.Helper()
	var b strings.Builder
	z := zip.NewWriter(&b)
	if _, err := z.Create(name); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func readBytes(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// readFloats reads a file of float32, little-endian.
func readFloats(t *testing.T, path string) []float32 {
	t.Helper()
	data := readBytes(t, path)
	values := make([]float32, 0, len(data)/4)
	for ; len(data) >= 4; data = data[4:] {
		values = append(values, math.Float32frombits(uint32(data[0])|uint32(data[1])<<8|uint32(data[2])<<16|uint32(data[3])<<24))
	}
	return values
}
