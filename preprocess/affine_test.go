package preprocess

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/evopose/evopose/model"
)

// TestAffineByHand works the formula of the design's section 2 out by hand.
func TestAffineByHand(t *testing.T) {
	s := model.Size{H: 256, W: 192}
	tests := []struct {
		name string
		box  Box
		want Affine
		// the picture's places of input (0, 0) and (W, H)
		left, top, right, bottom float64
	}{
		{
			// Tall: h = 400, so scale = 1.25*400/256 = 1.953125; the
			// input spans 375 x 500 pixels about (112, 230.5).
			"tall", Box{12, 30.5, 200, 400},
			Affine{112, 230.5, 1.953125, s}, -75.5, -19.5, 299.5, 480.5,
		},
		{
			// Wide: w = 300 > 0.75*100, so h = 300/0.75 = 400.
			"wide", Box{0, 0, 300, 100},
			Affine{150, 50, 1.953125, s}, -37.5, -200, 337.5, 300,
		},
		{
			// Of the input's aspect: neither grows.
			"aspect", Box{10, 20, 75, 100},
			Affine{47.5, 70, 0.48828125, s}, 0.625, 7.5, 94.375, 132.5,
		},
	}
	for _, tt := range tests {
		a := NewAffine(tt.box, s)
		if a != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, a, tt.want)
		}
		x0, y0 := a.ToImage(0, 0)
		x1, y1 := a.ToImage(192, 256)
		for i, p := range [][2]float64{{x0, tt.left}, {y0, tt.top}, {x1, tt.right}, {y1, tt.bottom}} {
			if math.Abs(p[0]-p[1]) > 1e-12 {
				t.Errorf("%s: corner coordinate %d is %v, want %v", tt.name, i, p[0], p[1])
			}
		}
	}
}

func TestAffineInverse(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		b := Box{rng.Float64()*2000 - 1000, rng.Float64()*2000 - 1000, rng.Float64()*500 + 1, rng.Float64()*500 + 1}
		a := NewAffine(b, model.Size{H: 512, W: 384})
		if u, v := a.ToInput(b.X+b.W/2, b.Y+b.H/2); u != 192 || v != 256 {
			t.Fatalf("%+v: centre maps to (%v, %v), want (192, 256)", b, u, v)
		}
		u, v := rng.Float64()*384, rng.Float64()*512
		gotU, gotV := a.ToInput(a.ToImage(u, v))
		if math.Abs(gotU-u) > 1e-9 || math.Abs(gotV-v) > 1e-9 {
			t.Fatalf("%+v: (%v, %v) comes back as (%v, %v)", b, u, v, gotU, gotV)
		}
	}
}

// TestAffineHoldsBox checks that the whole box, with its eighth of padding on
// the fitted side, lies in the input.
func TestAffineHoldsBox(t *testing.T) {
	for _, b := range []Box{{0, 0, 1, 1000}, {5, 5, 1000, 1}, {-7, 3, 60, 80}} {
		a := NewAffine(b, model.Size{H: 256, W: 192})
		u0, v0 := a.ToInput(b.X, b.Y)
		u1, v1 := a.ToInput(b.X+b.W, b.Y+b.H)
		side := max((u1-u0)/192, (v1-v0)/256)
		if math.Abs(side-1/1.25) > 1e-12 {
			t.Errorf("%+v fills %v of the input, want 0.8", b, side)
		}
	}
}
