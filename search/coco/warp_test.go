package coco

import (
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/preprocess"
)

// noise returns an opaque picture of random pixels.
func noise(rng *rand.Rand, w, h int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = byte(rng.Uint32()) | byte(i%4/3*255)
	}
	return img
}

// randomBox returns boxes inside, across and outside the picture, of every
// size.
func randomBox(rng *rand.Rand, w, h int) preprocess.Box {
	b := preprocess.Box{
		X: (rng.Float64()*3 - 1) * float64(w), Y: (rng.Float64()*3 - 1) * float64(h),
		W: rng.Float64()*float64(w) + 0.01, H: rng.Float64()*float64(h) + 0.01,
	}
	switch rng.IntN(6) {
	case 0: // sample places that are whole pixels
		b = preprocess.Box{X: float64(rng.IntN(w)), Y: float64(rng.IntN(h)), W: 6.4, H: 12.8}
	case 1:
		b.W, b.H = math.Pow(10, rng.Float64()*9), math.Pow(10, rng.Float64()*9)
	case 2:
		b.X, b.Y = b.X*1e6, b.Y*1e6
	}
	return b
}

// TestWarpPlain compares with serving's crop, and the maps with its transform.
func TestWarpPlain(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		img := noise(rng, 1+rng.IntN(40), 1+rng.IntN(40))
		input := []model.Size{{H: 16, W: 12}, {H: 9, W: 21}, {H: 1, W: 1}}[rng.IntN(3)]
		a := preprocess.NewAffine(randomBox(rng, img.Rect.Dx(), img.Rect.Dy()), input)
		w := newWarp(a, 0, false)
		want, got := make([]float32, 3*input.Area()), dirty(3*input.Area())
		preprocess.Crop(want, img, a)
		w.crop(got, img)
		if worst := maxDifference(got, want); !(worst <= 1e-5) {
			t.Fatalf("%+v of %v: differs by %v", a, img.Rect, worst)
		}
		x, y := rng.Float64()*40, rng.Float64()*40
		u, v := a.ToInput(x, y)
		if gu, gv := w.toInput(x, y); !near(gu, u) || !near(gv, v) {
			t.Fatalf("%+v: (%v, %v) maps to (%v, %v), want (%v, %v)", a, x, y, gu, gv, u, v)
		}
	}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) }

// dirty returns n values that a crop must overwrite.
func dirty(n int) []float32 {
	all := make([]float32, n)
	for i := range all {
		all[i] = 99
	}
	return all
}

func maxDifference(a, b []float32) (worst float64) {
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if d > worst || math.IsNaN(d) {
			worst = d
		}
	}
	return worst
}

// TestWarpMirror compares with the mirrored crop of the flip test.
func TestWarpMirror(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	input := model.Size{H: 16, W: 12}
	for range 200 {
		img := noise(rng, 30, 20)
		a := preprocess.NewAffine(randomBox(rng, 30, 20), input)
		want, got := make([]float32, 3*input.Area()), dirty(3*input.Area())
		preprocess.Crop(want, img, a)
		preprocess.Mirror(want, want, input)
		w := newWarp(a, 0, true)
		w.crop(got, img)
		if worst := maxDifference(got, want); !(worst <= 1e-5) {
			t.Fatalf("%+v: differs by %v", a, worst)
		}
	}
}

// referenceWarp is the specification of crop as a plain loop in float64.
func referenceWarp(w *warp, img *image.NRGBA) []float32 {
	var dst []float32
	pixel := func(x, y float64, c int) float64 {
		if !(x >= 0 && x < float64(img.Rect.Dx()) && y >= 0 && y < float64(img.Rect.Dy())) {
			return 0
		}
		value := img.Pix[img.PixOffset(int(x), int(y))+c]
		return (float64(value)/255 - float64(preprocess.Mean[c])) / float64(preprocess.Std[c])
	}
	for c := range 3 {
		for i := range w.input.Area() {
			x, y := w.toImage(float64(i%w.input.W), float64(i/w.input.W))
			x0, y0 := math.Floor(x), math.Floor(y)
			fx, fy := x-x0, y-y0
			dst = append(dst, float32((1-fx)*(1-fy)*pixel(x0, y0, c)+fx*(1-fy)*pixel(x0+1, y0, c)+
				(1-fx)*fy*pixel(x0, y0+1, c)+fx*fy*pixel(x0+1, y0+1, c)))
		}
	}
	return dst
}

// TestWarpReference compares rotated and mirrored crops with the plain loop.
func TestWarpReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		img := noise(rng, 1+rng.IntN(60), 1+rng.IntN(60))
		input := []model.Size{{H: 16, W: 12}, {H: 9, W: 21}}[rng.IntN(2)]
		angle := []float64{rng.NormFloat64(), math.Pi / 2, -math.Pi, math.Pi / 4}[rng.IntN(4)]
		w := newWarp(preprocess.NewAffine(randomBox(rng, img.Rect.Dx(), img.Rect.Dy()), input), angle, rng.IntN(2) == 0)
		got := dirty(3 * input.Area())
		w.crop(got, img)
		if worst := maxDifference(got, referenceWarp(&w, img)); !(worst <= 1e-5) {
			t.Fatalf("%+v of %v: differs by %v", w, img.Rect, worst)
		}
	}
}

func TestWarpInverse(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 1000 {
		a := preprocess.NewAffine(preprocess.Box{X: 3, Y: -4, W: 1 + 100*rng.Float64(), H: 1 + 100*rng.Float64()}, model.Size{H: 256, W: 192})
		w := newWarp(a, rng.NormFloat64()*3, rng.IntN(2) == 0)
		u, v := rng.Float64()*192, rng.Float64()*256
		x, y := w.toImage(u, v)
		if gu, gv := w.toInput(x, y); math.Abs(gu-u) > 1e-9 || math.Abs(gv-v) > 1e-9 {
			t.Fatalf("%+v: (%v, %v) comes back as (%v, %v)", w, u, v, gu, gv)
		}
		if math.Abs(w.scale()-a.Scale) > 1e-12*a.Scale {
			t.Fatalf("scale %v, want %v", w.scale(), a.Scale)
		}
	}
}

// TestWarpTurnsClockwise works a quarter turn out by hand: what lies above the
// centre comes to lie right of it; mirrored, left of it.
func TestWarpTurnsClockwise(t *testing.T) {
	a := preprocess.Affine{CX: 50, CY: 60, Scale: 2, Input: model.Size{H: 16, W: 12}}
	w := newWarp(a, math.Pi/2, false)
	if u, v := w.toInput(50, 60-8); !near(u, 6+4) || !near(v, 8) {
		t.Errorf("above the centre maps to (%v, %v), want (10, 8)", u, v)
	}
	w = newWarp(a, math.Pi/2, true)
	if u, v := w.toInput(50, 60-8); !near(u, 11-10) || !near(v, 8) {
		t.Errorf("mirrored, it maps to (%v, %v), want (1, 8)", u, v)
	}
}

func BenchmarkWarp(b *testing.B) {
	rng := rand.New(rand.NewPCG(9, 9))
	img := noise(rng, 480, 360)
	for _, input := range []model.Size{{H: 128, W: 96}, {H: 256, W: 192}} {
		a := preprocess.NewAffine(preprocess.Box{X: 100, Y: 20, W: 150, H: 250}, input)
		crop := make([]float32, 3*input.Area())
		for name, w := range map[string]warp{"plain": newWarp(a, 0, false), "turned": newWarp(a, 0.6, true)} {
			b.Run(input.String()+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					w.crop(crop, img)
				}
			})
		}
		b.Run(input.String()+"/serving", func(b *testing.B) {
			for b.Loop() {
				preprocess.Crop(crop, img, a)
			}
		})
	}
}
