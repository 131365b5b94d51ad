package model

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checksum of all weights in the order of the layers, little-endian float32.
func checksum(n *Network, w Weights) string {
	h := sha256.New()
	for _, p := range n.Params() {
		_ = binary.Write(h, binary.LittleEndian, w[p.Name]) // a hash takes everything
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestInitialWeightsDependOnSeedAndNameOnly(t *testing.T) {
	n := network(t, GenotypeS, Size{64, 64})
	w := InitialWeights(n, 7)
	if checksum(n, w) != checksum(n, InitialWeights(n, 7)) {
		t.Fatal("two calls differ")
	}
	if problems := n.Mismatch(w); problems != nil {
		t.Fatal(problems)
	}
	other := network(t, GenotypeDefault, Size{64, 64})
	for _, name := range []string{"stem_conv/kernel", "block1a_dwconv/kernel", "head_block3_conv/kernel", "final_conv/kernel"} {
		if !slices.Equal(w[name], InitialWeights(other, 7)[name]) {
			t.Errorf("%s depends on the rest of the network", name)
		}
		if slices.Equal(w[name], InitialWeights(n, 8)[name]) {
			t.Errorf("%s does not depend on the seed", name)
		}
	}
	if slices.Equal(w["head_block2_conv/kernel"], w["head_block3_conv/kernel"]) {
		t.Error("two layers of one shape have the same values")
	}
}

// Models are named by their seed, so its weights must never change: not with
// a new Go version, nor on another platform.
func TestInitialWeightsArePinned(t *testing.T) {
	n := network(t, GenotypeS, Size{64, 64})
	const want = "4a235f51446f0305d7ab8d00dbc7d2712102e6be766fe76cbde779e1d529768e"
	if got := checksum(n, InitialWeights(n, 1)); got != want {
		t.Errorf("the weights of seed 1 changed: %s, want %s", got, want)
	}
}

// Variances by Keras's VarianceScaling: 2/fan_out with the fan_out that Keras
// computes for its kernel shapes (measured with keras 3.15: 720 for the
// transposed convolution of 80 to 128 channels, whose kernel is [3,3,128,80]).
func TestInitialDistributions(t *testing.T) {
	n := network(t, GenotypeS, Size{256, 192})
	w := InitialWeights(n, 7)
	for _, tt := range []struct {
		name     string
		variance float64
		largest  float64 // in standard deviations
	}{
		{"stem_conv/kernel", 2.0 / (9 * 32), 2 / truncatedStd},
		{"block6b_expand_conv/kernel", 2.0 / 768, 2 / truncatedStd},
		{"block6b_dwconv/kernel", 2.0 / 25, 2 / truncatedStd},
		{"block6b_se_reduce/kernel", 2.0 / 32, 2 / truncatedStd},
		{"head_block1_conv/kernel", 2.0 / (9 * 80), 2 / truncatedStd},
		{"head_block2_conv/kernel", 2.0 / (9 * 128), 2 / truncatedStd},
		{"final_conv/kernel", 1.0 / (3 * 17), math.Sqrt(3)},
	} {
		checkDistribution(t, tt.name, w[tt.name], tt.variance, tt.largest)
	}
}

func checkDistribution(t *testing.T, name string, data []float32, want, largest float64) {
	t.Helper()
	var sum, squares, most float64
	for _, v := range data {
		sum += float64(v)
		squares += float64(v) * float64(v)
		most = max(most, math.Abs(float64(v)))
	}
	n := float64(len(data))
	mean, variance := sum/n, squares/n
	// Five standard errors; a variance's is below a normal's.
	if tolerance := 5 * want * math.Sqrt(2/n); math.Abs(variance-want) > tolerance {
		t.Errorf("%s: variance %g, want %g +- %g", name, variance, want, tolerance)
	}
	if tolerance := 5 * math.Sqrt(want/n); math.Abs(mean) > tolerance {
		t.Errorf("%s: mean %g, want 0 +- %g", name, mean, tolerance)
	}
	if limit := largest * math.Sqrt(want); most > limit*(1+1e-6) || most < 0.9*limit {
		t.Errorf("%s: largest value %g, want just under %g", name, most, limit)
	}
}

func TestVectorsStartAsIdentity(t *testing.T) {
	n := network(t, GenotypeXS, Size{64, 64})
	w := InitialWeights(n, 1)
	for name, want := range map[string]float32{
		"stem_bn/gamma": 1, "stem_bn/beta": 0, "stem_bn/moving_mean": 0, "stem_bn/moving_variance": 1,
		"final_conv/bias": 0, "block2a_se_reduce/bias": 0,
	} {
		if len(w[name]) == 0 || slices.Min(w[name]) != want || slices.Max(w[name]) != want {
			t.Errorf("%s is %v, want all %v", name, w[name], want)
		}
	}
}

func TestParamsOfEachKind(t *testing.T) {
	shapes, frozen := map[string][]int{}, map[string]bool{}
	for _, p := range network(t, GenotypeS, Size{256, 192}).Params() {
		shapes[p.Name], frozen[p.Name] = p.Shape, !p.Trainable
	}
	for name, want := range map[string][]int{
		"stem_conv/kernel": {32, 3, 3, 3}, "block3a_dwconv/kernel": {144, 1, 5, 5}, "block2b_se_expand/kernel": {144, 6, 1, 1},
		"block2b_se_expand/bias": {144}, "head_block1_conv/kernel": {80, 128, 3, 3}, "block7b_project_bn/gamma": {80}, "final_conv/bias": {17},
	} {
		if diff := cmp.Diff(want, shapes[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if !frozen["stem_bn/moving_mean"] || !frozen["stem_bn/moving_variance"] || frozen["stem_bn/gamma"] || frozen["final_conv/bias"] {
		t.Error("only the moving statistics are not trained")
	}
	if _, ok := shapes["stem_conv/bias"]; ok {
		t.Error("a convolution before batch normalisation has a bias")
	}
}

func TestMismatchNamesEachLayer(t *testing.T) {
	n := network(t, GenotypeS, Size{64, 64})
	w := InitialWeights(n, 1)
	delete(w, "stem_conv/kernel")
	w["final_conv/bias"] = w["final_conv/bias"][:3]
	w["odd/one"] = nil
	want := []string{
		"stem_conv/kernel: missing",
		"final_conv/bias: has 3 values, want 17 (shape [17])",
		"odd/one: the network has no such weights",
	}
	if diff := cmp.Diff(want, n.Mismatch(w)); diff != "" {
		t.Error(diff)
	}
	text := "the weights do not fit the network:\n  " + strings.Join(want, "\n  ")
	if err := MismatchError(n.Mismatch(w)); err == nil || err.Error() != text {
		t.Errorf("%v, want %s", err, text)
	}
	if err := MismatchError(n.Mismatch(InitialWeights(n, 1))); err != nil {
		t.Errorf("weights that fit: %v", err)
	}
}

// Weights of another network differ in hundreds of tensors: nobody reads them
// all.
func TestMismatchErrorIsShort(t *testing.T) {
	problems := make([]string, 23)
	for i := range problems {
		problems[i] = strconv.Itoa(i)
	}
	lines := strings.Split(MismatchError(problems).Error(), "\n  ")
	if len(lines) != 22 || lines[1] != "0" || lines[20] != "19" || lines[21] != "and 3 more" {
		t.Errorf("%q", lines)
	}
}
