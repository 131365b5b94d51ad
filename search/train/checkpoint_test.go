package train

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/evopose/evopose/model"
)

// sampleCheckpoint is a small state with every kind of value; step tells
// checkpoints apart.
func sampleCheckpoint(step int) *Checkpoint {
	odd := []float32{1, -2.5, float32(math.Inf(1)), float32(math.Copysign(0, -1)), 1e-45, math.MaxFloat32}
	c := &Checkpoint{Meta: Meta{
		Run: json.RawMessage(`{"model":"s","batch":32}`), Epoch: 2, Step: step, Seed: math.MaxUint64,
		Best: runPoints(2)[0], Curves: runPoints(2),
		Shapes: map[string][]int{"weights/a/kernel": {3, 2, 1, 1}},
	}}
	c.Put(GroupWeights, model.Weights{"a/kernel": odd, "a/bias": {1, 2, float32(step)}})
	c.Put(GroupEMA, model.Weights{"a/kernel": {6, 5, 4, 3, 2, 1}, "a/bias": {0, 0, 0}})
	c.Put(GroupAdamM, model.Weights{"flat": {7}})
	c.Put(GroupAdamV, model.Weights{"flat": {}})
	return c
}

func save(t *testing.T, path string, c *Checkpoint) {
	t.Helper()
	if err := Save(path, c); err != nil {
		t.Fatal(err)
	}
}

// same compares checkpoints but for the shapes of vectors, which loading fills
// in.
func same(a, b *Checkpoint) string {
	return cmp.Diff(a, b, cmpopts.EquateNaNs(), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Meta{}, "Shapes"))
}

func TestCheckpointRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.ckpt")
	want := sampleCheckpoint(200)
	save(t, path, want)
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := same(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for name, data := range want.Tensors {
		for i, v := range data {
			if bits := math.Float32bits(got.Tensors[name][i]); bits != math.Float32bits(v) {
				t.Errorf("%s[%d]: bits %x, want those of %v", name, i, bits, v)
			}
		}
	}
	if diff := cmp.Diff(got.Meta.Shapes["weights/a/kernel"], []int{3, 2, 1, 1}); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(got.Meta.Shapes["weights/a/bias"], []int{3}); diff != "" {
		t.Error(diff)
	}
}

// The same state gives the same bytes, and what was read gives them again.
func TestCheckpointBytesAreDetermined(t *testing.T) {
	first, err := sampleCheckpoint(1).encode()
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if again, _ := sampleCheckpoint(1).encode(); !slices.Equal(first, again) {
			t.Fatal("two writings differ")
		}
	}
	c, err := decode(first)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := c.encode(); !slices.Equal(first, again) {
		t.Error("reading and writing changes the file")
	}
}

func TestEmptyCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.ckpt")
	save(t, path, &Checkpoint{})
	c, err := Load(path)
	if err != nil || c.Meta.Step != 0 || len(c.Tensors) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestGroups(t *testing.T) {
	n, err := model.NewNetwork(model.GenotypeS, model.Size{H: 64, W: 64})
	if err != nil {
		t.Fatal(err)
	}
	var c Checkpoint
	w := model.InitialWeights(n, 1)
	c.Put(GroupWeights, w)
	c.Put(GroupEMA, model.InitialWeights(n, 2))
	if len(c.Tensors) != 2*len(w) || !cmp.Equal(c.Group(GroupWeights)["final_conv/kernel"], w["final_conv/kernel"]) {
		t.Error("the weights did not come back")
	}
	if problems := n.Mismatch(c.Group(GroupEMA)); problems != nil {
		t.Error(problems)
	}
	if got := c.Group(GroupAdamM); len(got) != 0 {
		t.Errorf("an absent group has %d tensors", len(got))
	}
}

func TestSaveRefusesWrongShapes(t *testing.T) {
	dir := t.TempDir()
	for _, shape := range [][]int{{5}, {2, 2}, {-1, -6}, {1 << 40, 1 << 40}} {
		c := sampleCheckpoint(1)
		c.Meta.Shapes["weights/a/kernel"] = shape
		if err := Save(filepath.Join(dir, "x.ckpt"), c); err == nil || !strings.Contains(err.Error(), "tensor weights/a/kernel has 6 values") {
			t.Errorf("%v: error %v", shape, err)
		}
	}
	c := sampleCheckpoint(1)
	c.Meta.Run = json.RawMessage("{")
	if err := Save(filepath.Join(dir, "x.ckpt"), c); err == nil || !strings.Contains(err.Error(), "JSON") {
		t.Errorf("error %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left %v", entries)
	}
}

func TestLoadOfNoFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.ckpt")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "none.ckpt") {
		t.Errorf("error %v", err)
	}
}

func TestLatestAndPrevious(t *testing.T) {
	dir := t.TempDir()
	for step := 1; step <= 3; step++ {
		if err := SaveLatest(dir, sampleCheckpoint(step)); err != nil {
			t.Fatal(err)
		}
		checkLatest(t, dir, step, "")
	}
	previous, err := Load(filepath.Join(dir, PreviousFile))
	if err != nil || previous.Meta.Step != 2 {
		t.Errorf("%v, %v, want step 2", previous, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("files left: %v", entries)
	}
}

// checkLatest loads the latest checkpoint and checks its step and what is said
// of the file that was skipped.
func checkLatest(t *testing.T, dir string, step int, skipped string) {
	t.Helper()
	c, why, err := LoadLatest(dir)
	if err != nil || c.Meta.Step != step {
		t.Fatalf("%v, %v, want step %d", c, err, step)
	}
	if diff := same(sampleCheckpoint(step), c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if (why != nil) != (skipped != "") || why != nil && !strings.Contains(why.Error(), skipped) {
		t.Errorf("skipped: %v, want %q in it", why, skipped)
	}
}

func TestLatestFallsBack(t *testing.T) {
	dir := t.TempDir()
	latest, previous := filepath.Join(dir, LatestFile), filepath.Join(dir, PreviousFile)
	if _, _, err := LoadLatest(dir); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "start without --resume") {
		t.Errorf("error %v", err)
	}
	save(t, previous, sampleCheckpoint(1))
	checkLatest(t, dir, 1, LatestFile) // killed between the two renamings
	if err := os.WriteFile(latest, []byte("evopose checkpoint 1\ncut off"), 0o644); err != nil {
		t.Fatal(err)
	}
	checkLatest(t, dir, 1, LatestFile+" is damaged")
	save(t, latest, sampleCheckpoint(2))
	checkLatest(t, dir, 2, "")
	for _, path := range []string{latest, previous} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := LoadLatest(dir)
	if err == nil || !strings.Contains(err.Error(), LatestFile) || !strings.Contains(err.Error(), PreviousFile) {
		t.Errorf("error %v, want both files named", err)
	}
}

// The first save after a fallback keeps a good previous file at every moment:
// the damaged latest replaces it only once the new one is written whole.
func TestSaveAfterFallback(t *testing.T) {
	dir := t.TempDir()
	save(t, filepath.Join(dir, PreviousFile), sampleCheckpoint(1))
	if err := os.WriteFile(filepath.Join(dir, LatestFile), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := SaveLatest(dir, sampleCheckpoint(2)); err != nil {
		t.Fatal(err)
	}
	checkLatest(t, dir, 2, "")
}
