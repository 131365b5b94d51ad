package onnx

import (
	"math"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
)

// Every half is kept, and values between two halves go to the nearer one, in a
// tie to the even one.
func TestHalf(t *testing.T) {
	for h := range 0x7c00 {
		v := float64(Widen(uint16(h)))
		if got := half(float32(v)); got != uint16(h) {
			t.Fatalf("half(Widen(%#x)) = %#x", h, got)
		}
		if h == 0x7bff {
			continue
		}
		mid := (v + float64(Widen(uint16(h+1)))) / 2
		even := uint16(h + h%2)
		if got := half(float32(mid)); got != even {
			t.Fatalf("half(%v), between %#x and its next, = %#x", mid, h, got)
		}
		if got := half(-math.Nextafter32(float32(mid), 0)); got != 0x8000|uint16(h) {
			t.Fatalf("just under %v rounds to %#x", -mid, got)
		}
	}
	for v, want := range map[float64]uint16{65519: 0x7bff, 65520: 0x7c00, math.Inf(-1): 0xfc00, 1e9: 0x7c00} {
		if got := half(float32(v)); got != want {
			t.Errorf("half(%v) = %#x, want %#x", v, got, want)
		}
	}
	if v := Widen(half(float32(math.NaN()))); v == v {
		t.Error("NaN was lost")
	}
}

// A diverged training is not written, nor what half precision would make
// infinite.
func TestExportRefusesWhatIsNotFinite(t *testing.T) {
	n := network(t, model.GenotypeS, model.Size{H: 64, W: 48})
	for _, tt := range []struct {
		name  string
		value float64
		half  bool
		want  string // empty: it is written
	}{
		{"head_block1_bn/moving_variance", math.NaN(), false, "head_block1_bn/moving_variance[1] is NaN"},
		{"final_conv/bias", math.Inf(-1), true, "final_conv/bias[1] is -Inf"},
		{"stem_conv/kernel", 65505, true, "stem_conv/kernel[1] is 65505, half precision ends at 65504"},
		{"stem_conv/kernel", -1e6, true, "stem_conv/kernel[1] is -1e+06"},
		{"stem_conv/kernel", -65504, true, ""},
		{"stem_conv/kernel", 1e6, false, ""},
		{"final_conv/bias", 1e6, true, ""}, // biases stay in single precision
	} {
		w := model.InitialWeights(n, 1)
		w[tt.name][1] = float32(tt.value)
		_, err := Export(n, w, testCard(), tt.half)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s = %v, half %v: error %v, want %q", tt.name, tt.value, tt.half, err, tt.want)
		}
	}
}
