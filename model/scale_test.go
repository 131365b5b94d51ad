package model

import (
	"math"
	"strings"
	"testing"
)

// The expected numbers were computed from the formulas in 50-digit decimal
// arithmetic (Python's decimal).
func TestScaling(t *testing.T) {
	channels := []int{32, 16, 24, 40, 80, 112, 128, 320}
	for _, tt := range []struct {
		input        Size
		depth, width float64
		filters      []int // of the channels above
		repeats      []int // of 1, 2, 3, 4
	}{
		{Size{256, 192}, 1, 1, []int{32, 16, 24, 40, 80, 112, 128, 320}, []int{1, 2, 3, 4}},
		{Size{384, 288}, 1.6971244764850741, 1.3185142667974643, []int{40, 24, 32, 56, 104, 144, 168, 424}, []int{2, 4, 6, 7}},
		{Size{512, 384}, 2.470006856792667, 1.6043029370486612, []int{48, 24, 40, 64, 128, 176, 208, 512}, []int{3, 5, 8, 10}},
		{Size{192, 144}, 0.6870930223605979, 0.8218611562371475, []int{24, 16, 24, 32, 64, 96, 104, 264}, []int{1, 2, 3, 3}},
		{Size{128, 128}, 0.48189587474403484, 0.6827489357145743, []int{24, 16, 16, 32, 56, 80, 88, 216}, []int{1, 1, 2, 2}},
		{Size{96, 64}, 0.2610211025730362, 0.4955210474120736, []int{16, 8, 16, 24, 40, 56, 64, 160}, []int{1, 1, 1, 2}},
		{Size{320, 160}, 1.0941767335362484, 1.0481738434965406, []int{32, 16, 24, 40, 80, 120, 136, 336}, []int{2, 3, 4, 5}},
	} {
		s := NewScaling(tt.input)
		if math.Abs(s.Depth/tt.depth-1) > 1e-12 || math.Abs(s.Width/tt.width-1) > 1e-12 {
			t.Errorf("%v: %+v, want depth %v, width %v", tt.input, s, tt.depth, tt.width)
		}
		for i, c := range channels {
			if got := s.Filters(c); got != tt.filters[i] {
				t.Errorf("%v: Filters(%d) = %d, want %d", tt.input, c, got, tt.filters[i])
			}
		}
		for i, want := range tt.repeats {
			if got := s.Repeats(i + 1); got != want {
				t.Errorf("%v: Repeats(%d) = %d, want %d", tt.input, i+1, got, want)
			}
		}
	}
}

// At width 1, by hand: 11 to 8 loses more than a tenth, so 16; a half rounds
// up; nothing is below 8.
func TestFiltersRounding(t *testing.T) {
	s := NewScaling(Size{224, 224})
	for n, want := range map[int]int{1: 8, 4: 8, 8: 8, 11: 16, 12: 16, 17: 16, 18: 24, 19: 24, 20: 24, 28: 32, 32: 32, 35: 32, 36: 40} {
		if got := s.Filters(n); got != want {
			t.Errorf("Filters(%d) = %d, want %d", n, got, want)
		}
	}
}

// Whatever the width, rounding keeps to multiples of 8, loses at most a tenth
// and adds less than 8.
func TestFiltersBounds(t *testing.T) {
	for side := 16; side <= 1024; side += 16 {
		s := NewScaling(Size{side, side})
		for n := 8; n <= 320; n += 8 {
			got, want := float64(s.Filters(n)), float64(n)*s.Width
			if math.Mod(got, 8) != 0 || got < 8 || got < 0.9*want || got >= max(8, want)+8 {
				t.Fatalf("side %d: Filters(%d) = %v for %v", side, n, got, want)
			}
		}
	}
}

func TestDropConnectRates(t *testing.T) {
	for size, want := range map[Size]float64{
		{224, 224}: 0.2, {240, 240}: 0.2, {256, 224}: 0.2, {242, 240}: 0.3, {300, 300}: 0.3,
		{302, 300}: 0.4, {384, 288}: 0.4, {512, 384}: 0.4, {456, 456}: 0.4, {458, 456}: 0.5, {512, 512}: 0.5,
	} {
		if got := NewScaling(size).DropConnect; got != want {
			t.Errorf("%v: %v, want %v", size, got, want)
		}
	}
}

func TestSizeText(t *testing.T) {
	s, err := ParseSize("256x192")
	if err != nil || s != (Size{256, 192}) || s.String() != "256x192" || s.Area() != 49152 {
		t.Errorf("%v, %v", s, err)
	}
	for _, bad := range []string{"", "256", "x", "256x", "x192", "256x192x3", "0x192", "256x-1", "256X192", "256 x 192", "1e2x1", "99999999999999999999x1"} {
		if _, err := ParseSize(bad); err == nil || !strings.Contains(err.Error(), "want HEIGHTxWIDTH") {
			t.Errorf("ParseSize(%q): %v", bad, err)
		}
	}
}

// Sigma: the published values of S, M and L. The mirror image of a mirror
// image is the original, and only lefts and rights change places.
func TestKeypoints(t *testing.T) {
	for heatmap, want := range map[Size]float64{{128, 96}: 4, {192, 144}: 6, {256, 192}: 8, {64, 48}: 2} {
		if got := Sigma(heatmap); got != want {
			t.Errorf("Sigma(%v) = %v, want %v", heatmap, got, want)
		}
	}
	for k, mirrored := range FlipPairs {
		want := strings.NewReplacer("left", "right", "right", "left").Replace(KeypointNames[k])
		if FlipPairs[mirrored] != k || KeypointNames[mirrored] != want {
			t.Errorf("%s mirrors to %s", KeypointNames[k], KeypointNames[mirrored])
		}
	}
}
