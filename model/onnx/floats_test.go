package onnx

import (
	"math"
	"testing"
)

// Every half is kept, and values between two halves go to the nearer one, in a
// tie to the even one.
func TestHalf(t *testing.T) {
	for h := range 0x7c00 {
		v := float64(widen(uint16(h)))
		if got := half(float32(v)); got != uint16(h) {
			t.Fatalf("half(widen(%#x)) = %#x", h, got)
		}
		if h == 0x7bff {
			continue
		}
		mid := (v + float64(widen(uint16(h+1)))) / 2
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
	if v := widen(half(float32(math.NaN()))); v == v {
		t.Error("NaN was lost")
	}
}
