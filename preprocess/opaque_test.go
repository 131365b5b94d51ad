package preprocess

import (
	"bytes"
	"image"
	"image/color"
	"math"
	"testing"
)

// TestPaletteOutside has an index beyond the palette: white, as transparent
// pixels are.
func TestPaletteOutside(t *testing.T) {
	m := image.NewPaletted(image.Rect(0, 0, 2, 1), color.Palette{color.Black})
	m.Pix[1] = 200
	got := fromPaletted(m, m.Rect)
	if want := []byte{0, 0, 0, 255, 255, 255, 255, 255}; !bytes.Equal(got.Pix, want) {
		t.Errorf("%v, want %v", got.Pix, want)
	}
}

func TestOpaqueRefusesOtherTypes(t *testing.T) {
	if _, err := opaque(image.NewAlpha(image.Rect(0, 0, 1, 1))); err == nil {
		t.Error("no error")
	}
}

// TestRounding checks every 16-bit grey, and every 8-bit value at every alpha,
// against float64.
func TestRounding(t *testing.T) {
	for v := range 1 << 16 {
		if got, want := eightBits(uint32(v)), byte(math.Round(float64(v)*255/65535)); got != want {
			t.Fatalf("16-bit %d: %d, want %d", v, got, want)
		}
	}
	m := image.NewNRGBA(image.Rect(0, 0, 1, 1))
	for v := range 256 {
		for a := range 256 {
			copy(m.Pix, []byte{byte(v), 0, 255, byte(a)})
			f := float64(a) / 255
			want := byte(math.Round(float64(v)*f + 255*(1-f)))
			if got := overWhite(m).Pix; got[0] != want || got[2] != 255 || got[3] != 255 {
				t.Fatalf("%d at alpha %d: %v, want %d", v, a, got, want)
			}
		}
	}
}

// TestClamp compares with min and max.
func TestClamp(t *testing.T) {
	for _, v := range []int32{math.MinInt32, -1, 0, 1, 254, 255, 256, math.MaxInt32} {
		if got, want := clamp(v), byte(min(max(v, 0), 255)); got != want {
			t.Errorf("%d: %d, want %d", v, got, want)
		}
	}
}

// TestYCbCrSizes converts pictures of 1 to 20 pixels a side at every ratio.
// Constant chroma must stay constant, whatever the ends of the rows do.
func TestYCbCrSizes(t *testing.T) {
	ratios := []image.YCbCrSubsampleRatio{
		image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420,
		image.YCbCrSubsampleRatio440, image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410,
	}
	for _, ratio := range ratios {
		for w := 1; w <= 20; w++ {
			for h := 1; h <= 6; h++ {
				m := image.NewYCbCr(image.Rect(0, 0, w, h), ratio)
				fill(m.Y, 120)
				fill(m.Cb, 90)
				fill(m.Cr, 200)
				got := fromYCbCr(m, fullSwing)
				// 120 + 1.402*72, 120 + 0.344136*38 - 0.714136*72, 120 - 1.772*38
				want := []byte{221, 82, 53, 255}
				for i := 0; i < len(got.Pix); i += 4 {
					if !bytes.Equal(got.Pix[i:i+4], want) {
						t.Fatalf("%v %dx%d: pixel %d is %v, want %v", ratio, w, h, i/4, got.Pix[i:i+4], want)
					}
				}
			}
		}
	}
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}
