package postprocess

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/evopose/evopose/model"
)

// Keypoint 1 (left eye) and 2 (right eye) change places; rows are mirrored and
// moved right by one.
func TestMergeFlipByHand(t *testing.T) {
	size := model.Size{H: 2, W: 4}
	maps, flipped := make([]float32, 17*8), make([]float32, 17*8)
	copy(maps[8:], []float32{0, 0, 8, 0, 1, 2, 3, 4})     // left eye
	copy(flipped[16:], []float32{2, 6, 0, 4, 0, 0, 0, 8}) // right eye of the mirror image: back, 4 0 6 2 and 8 0 0 0
	MergeFlip(maps, flipped, size)
	want := []float32{2, 2, 4, 3, 4.5, 5, 1.5, 2} // means with 4 4 0 6 and 8 8 0 0
	if diff := cmp.Diff(want, maps[8:16]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(make([]float32, 8), maps[16:24]); diff != "" {
		t.Error("the right eye's map should stay zero", diff)
	}
}

// The facts as four plain steps over whole tensors.
func referenceMerge(maps, flipped []float32, size model.Size) []float32 {
	at := func(k, y, x int) int { return (k*size.H+y)*size.W + x }
	back := make([]float32, len(flipped)) // mirrored
	for k := range model.Keypoints {
		for y := range size.H {
			for x := range size.W {
				back[at(k, y, x)] = flipped[at(k, y, size.W-1-x)]
			}
		}
	}
	swapped := append([]float32(nil), back...) // left and right
	for _, pair := range [][2]int{{1, 2}, {3, 4}, {5, 6}, {7, 8}, {9, 10}, {11, 12}, {13, 14}, {15, 16}} {
		a, b := pair[0]*size.Area(), pair[1]*size.Area()
		copy(swapped[a:a+size.Area()], back[b:])
		copy(swapped[b:b+size.Area()], back[a:])
	}
	merged := make([]float32, len(maps)) // shifted, averaged
	for k := range model.Keypoints {
		for y := range size.H {
			for x := range size.W {
				merged[at(k, y, x)] = (maps[at(k, y, x)] + swapped[at(k, y, max(0, x-1))]) / 2
			}
		}
	}
	return merged
}

func TestMergeFlipAgreesWithReference(t *testing.T) {
	rng := newRand()
	for _, size := range []model.Size{{H: 1, W: 1}, {H: 3, W: 1}, {H: 5, W: 4}, {H: 16, W: 13}} {
		maps, flipped := make([]float32, 17*size.Area()), make([]float32, 17*size.Area())
		whiteNoise(rng, maps, 1)
		whiteNoise(rng, flipped, 1)
		untouched := append([]float32(nil), flipped...)
		want := referenceMerge(maps, flipped, size)
		MergeFlip(maps, flipped, size)
		if diff := cmp.Diff(want, maps, cmpopts.EquateApprox(1e-6, 0)); diff != "" {
			t.Error(size, diff)
		}
		if diff := cmp.Diff(untouched, flipped); diff != "" {
			t.Error(size, "the mirror image's maps changed", diff)
		}
	}
}

// What MergeFlip's comment derives: networks that put input column u at u/s see
// it at (W_in-1-u)/s in the mirrored input; merged, the peak is 1/(2s) column
// too far right, less than it would be too far left without the shift or, at
// stride 2, as much.
func TestMergeFlipGeometry(t *testing.T) {
	for _, tt := range []struct {
		size           model.Size
		stride         float64
		bias, unmoved  float64
		leftEye, right int
	}{
		{size: model.Size{H: 128, W: 96}, stride: 2, bias: 0.25, unmoved: -0.25, leftEye: 1, right: 2},
		{size: model.Size{H: 64, W: 48}, stride: 4, bias: 0.125, unmoved: -0.375, leftEye: 1, right: 2},
	} {
		size, area := tt.size, tt.size.Area()
		u, y := 81.0, float64(size.H)/2 // input column, heatmap row
		win := tt.stride * float64(size.W)
		maps, flipped := make([]float32, 17*area), make([]float32, 17*area)
		copy(maps[tt.leftEye*area:], target(size, u/tt.stride, y))
		mirrored := target(size, (win-1-u)/tt.stride, y)
		copy(flipped[tt.right*area:], mirrored)
		MergeFlip(maps, flipped, size)
		got := peakOf(maps[tt.leftEye*area:(tt.leftEye+1)*area], size, DARK)
		if math.Abs(got.X-u/tt.stride-tt.bias) > 0.01 || math.Abs(got.Y-y) > 0.01 {
			t.Errorf("stride %v: peak at column %.3f, want %.3f%+.3f", tt.stride, got.X, u/tt.stride, tt.bias)
		}
		// Without the shift: the mean of u/s and of the mirror's mirror.
		back := float64(size.W-1) - (win-1-u)/tt.stride
		if unmoved := (back - u/tt.stride) / 2; math.Abs(unmoved-tt.unmoved) > 1e-9 || math.Abs(tt.bias) > math.Abs(unmoved) {
			t.Errorf("stride %v: bias without the shift %v, want %v", tt.stride, unmoved, tt.unmoved)
		}
	}
}

func BenchmarkMergeFlip(b *testing.B) {
	maps, flipped := seventeen(), seventeen()
	for b.Loop() {
		MergeFlip(maps, flipped, sizeS)
	}
}
