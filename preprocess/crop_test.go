package preprocess

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/evopose/evopose/model"
)

// referenceCrop is the specification of Crop as a plain loop in float64: every
// input pixel mixes its four neighbours, and a neighbour outside the picture
// is the mean colour, 0 after normalisation.
func referenceCrop(img *image.NRGBA, a Affine) []float32 {
	dst := make([]float32, 0, 3*a.Input.Area())
	pixel := func(x, y float64, c int) float64 {
		w, h := float64(img.Rect.Dx()), float64(img.Rect.Dy())
		if !(x >= 0 && x < w && y >= 0 && y < h) {
			return 0
		}
		p := img.NRGBAAt(img.Rect.Min.X+int(x), img.Rect.Min.Y+int(y))
		value := float64([3]uint8{p.R, p.G, p.B}[c])
		return (value/255 - float64(Mean[c])) / float64(Std[c])
	}
	for c := range 3 {
		for v := range a.Input.H {
			for u := range a.Input.W {
				x := a.CX - a.Scale*float64(a.Input.W)/2 + a.Scale*float64(u)
				y := a.CY - a.Scale*float64(a.Input.H)/2 + a.Scale*float64(v)
				x0, y0 := math.Floor(x), math.Floor(y)
				fx, fy := x-x0, y-y0
				value := (1-fx)*(1-fy)*pixel(x0, y0, c) + fx*(1-fy)*pixel(x0+1, y0, c) +
					(1-fx)*fy*pixel(x0, y0+1, c) + fx*fy*pixel(x0+1, y0+1, c)
				if math.IsNaN(value) {
					value = 0 // the transform was not finite
				}
				dst = append(dst, float32(value))
			}
		}
	}
	return dst
}

// noise returns an opaque picture of random pixels.
func noise(rng *rand.Rand, w, h int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = byte(rng.Uint32())
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return img
}

func maxDifference(a, b []float32) (worst float64, at int) {
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if d > worst || math.IsNaN(d) {
			worst, at = d, i
		}
	}
	return worst, at
}

// randomBox returns boxes of every kind: inside, overlapping an edge, wholly
// outside, a pixel wide, tiny, huge.
func randomBox(rng *rand.Rand, w, h int) Box {
	b := Box{
		X: (rng.Float64()*3 - 1) * float64(w), Y: (rng.Float64()*3 - 1) * float64(h),
		W: rng.Float64()*float64(w) + 0.01, H: rng.Float64()*float64(h) + 0.01,
	}
	switch rng.IntN(8) {
	case 0:
		b.W = 1
	case 1:
		b.W, b.H = 1e-6, 1e-6
	case 2:
		b.W, b.H = math.Pow(10, rng.Float64()*9), math.Pow(10, rng.Float64()*9)
	case 3: // sample places that are whole pixels
		b = Box{X: float64(rng.IntN(w)), Y: float64(rng.IntN(h)), W: 6.4, H: 12.8}
	case 4:
		b.X, b.Y = b.X*1e6, b.Y*1e6
	}
	return b
}

// TestCropReference compares with the plain loop. The tolerance is float32
// rounding of three roundings of values up to 2.7.
func TestCropReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := []model.Size{{H: 16, W: 8}, {H: 16, W: 12}, {H: 5, W: 9}, {H: 1, W: 1}}
	boxes := 4000
	if testing.Short() {
		boxes = 500
	}
	var img *image.NRGBA
	nonzero := 0
	for i := range boxes {
		if i%20 == 0 {
			img = noise(rng, 1+rng.IntN(40), 1+rng.IntN(40))
		}
		box := randomBox(rng, img.Rect.Dx(), img.Rect.Dy())
		a := NewAffine(box, sizes[i%len(sizes)])
		want := referenceCrop(img, a)
		got := filled(len(want))
		Crop(got, img, a)
		if worst, at := maxDifference(got, want); !(worst <= 1e-6) {
			t.Fatalf("box %d %+v of %v picture at %v: [%d] = %v, want %v",
				i, box, img.Rect.Size(), a.Input, at, got[at], want[at])
		}
		if slices.ContainsFunc(got, func(x float32) bool { return x != 0 }) {
			nonzero++
		}
	}
	if nonzero < boxes/4 {
		t.Errorf("only %d of %d boxes saw the picture", nonzero, boxes)
	}
}

// filled returns n values that no crop gives, to catch pixels not written.
func filled(n int) []float32 { return slices.Repeat([]float32{99}, n) }

// TestCropSubImage crops a part of a picture as if it were the whole.
func TestCropSubImage(t *testing.T) {
	img := noise(rand.New(rand.NewPCG(3, 4)), 30, 20).SubImage(image.Rect(5, 4, 25, 19)).(*image.NRGBA)
	a := NewAffine(Box{X: -3, Y: 2, W: 20, H: 16}, model.Size{H: 16, W: 12})
	got := filled(3 * a.Input.Area())
	Crop(got, img, a)
	if worst, at := maxDifference(got, referenceCrop(img, a)); worst > 1e-6 {
		t.Errorf("differs by %v at %d", worst, at)
	}
}

// TestCropAnyFloat checks that no transform panics and none gives NaN.
func TestCropAnyFloat(t *testing.T) {
	values := []float64{0, math.Copysign(0, -1), 1, -1, 0.5, 1e-6, 1e-300, 5e-324, 1e9, -1e9, 9.3e18, -9.3e18,
		1e308, -1e308, math.Inf(1), math.Inf(-1), math.NaN()}
	img := noise(rand.New(rand.NewPCG(5, 6)), 7, 5)
	size := model.Size{H: 4, W: 3}
	got := make([]float32, 3*size.Area())
	for _, cx := range values {
		for _, cy := range values {
			for _, scale := range values {
				a := Affine{CX: cx, CY: cy, Scale: scale, Input: size}
				Crop(got, img, a)
				want := referenceCrop(img, a)
				if worst, at := maxDifference(got, want); !(worst <= 1e-6) {
					t.Fatalf("%+v: [%d] = %v, want %v", a, at, got[at], want[at])
				}
			}
		}
	}
}

func TestCropEmptyPicture(t *testing.T) {
	a := NewAffine(Box{W: 4, H: 4}, model.Size{H: 4, W: 4})
	for _, r := range []image.Rectangle{{}, image.Rect(0, 0, 0, 5), image.Rect(0, 0, 5, 0)} {
		got := filled(48)
		Crop(got, image.NewNRGBA(r), a)
		if worst, _ := maxDifference(got, make([]float32, 48)); worst != 0 {
			t.Errorf("picture %v: not all 0", r)
		}
	}
}

// TestCropByHand works out single samples of a 2x1 picture.
func TestCropByHand(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	copy(img.Pix, []byte{255, 0, 0, 255, 0, 255, 102, 255})
	normal := func(c int, v float64) float64 { return (v/255 - float64(Mean[c])) / float64(Std[c]) }
	tests := []struct {
		name string
		x, y float64
		want [3]float64
	}{
		{"first pixel", 0, 0, [3]float64{normal(0, 255), normal(1, 0), normal(2, 0)}},
		{"second pixel", 1, 0, [3]float64{normal(0, 0), normal(1, 255), normal(2, 102)}},
		{"quarter between", 0.25, 0, [3]float64{normal(0, 191.25), normal(1, 63.75), normal(2, 25.5)}},
		{"half outside left", -0.5, 0, [3]float64{normal(0, 255) / 2, normal(1, 0) / 2, normal(2, 0) / 2}},
		{"half outside below", 1, 0.5, [3]float64{normal(0, 0) / 2, normal(1, 255) / 2, normal(2, 102) / 2}},
		{"one pixel outside", -1, 0, [3]float64{}},
		{"far outside", 7, 3, [3]float64{}},
	}
	for _, tt := range tests {
		// A 1x1 input whose only pixel samples (x, y).
		a := Affine{CX: tt.x + 0.5, CY: tt.y + 0.5, Scale: 1, Input: model.Size{H: 1, W: 1}}
		got := make([]float32, 3)
		Crop(got, img, a)
		for c, want := range tt.want {
			if math.Abs(float64(got[c])-want) > 1e-6 {
				t.Errorf("%s: channel %d = %v, want %v", tt.name, c, got[c], want)
			}
		}
	}
}

func TestCropAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	img := noise(rng, 64, 48)
	for _, n := range []int{0, 1, 2, 3, 50} {
		var (
			as        []Affine
			got, want [][]float32
		)
		for range n {
			a := NewAffine(randomBox(rng, 64, 48), model.Size{H: 32, W: 24})
			as = append(as, a)
			got = append(got, filled(3*a.Input.Area()))
			want = append(want, filled(3*a.Input.Area()))
			Crop(want[len(want)-1], img, a)
		}
		CropAll(got, img, as)
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Errorf("%d crops: crop %d differs from Crop's", n, i)
			}
		}
	}
}

// TestCropPanics checks that a wrong destination fails in the caller, where it
// can be recovered, and not in a goroutine.
func TestCropPanics(t *testing.T) {
	img := noise(rand.New(rand.NewPCG(1, 1)), 4, 4)
	a := NewAffine(Box{W: 4, H: 4}, model.Size{H: 4, W: 4})
	ok := make([]float32, 48)
	calls := map[string]func(){
		"short":        func() { Crop(ok[:47], img, a) },
		"long":         func() { Crop(make([]float32, 49), img, a) },
		"all short":    func() { CropAll([][]float32{ok, ok[:3]}, img, []Affine{a, a}) },
		"all unpaired": func() { CropAll([][]float32{ok}, img, []Affine{a, a}) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
}

func TestCropAllocations(t *testing.T) {
	img := noise(rand.New(rand.NewPCG(9, 9)), 320, 240)
	a := NewAffine(Box{X: 50, Y: 20, W: 100, H: 180}, model.Size{H: 256, W: 192})
	dst := make([]float32, 3*a.Input.Area())
	c := new(cropper)
	if n := testing.AllocsPerRun(50, func() { c.crop(dst, img, a) }); n != 0 {
		t.Errorf("a warm cropper allocates %v times", n)
	}
	if n := testing.AllocsPerRun(50, func() { Mirror(dst, dst, a.Input) }); n != 0 {
		t.Errorf("Mirror allocates %v times", n)
	}
	if raceDetector {
		t.Log("Crop and CropAll are not measured: sync.Pool drops at random under the race detector")
		return
	}
	if n := testing.AllocsPerRun(50, func() { Crop(dst, img, a) }); n != 0 {
		t.Errorf("Crop allocates %v times", n)
	}
	few, many := cropAllMallocs(img, a, 4), cropAllMallocs(img, a, 64)
	if many > few+8 {
		t.Errorf("CropAll allocates %v times for 4 crops, %v for 64", few, many)
	}
}

// cropAllMallocs returns the fewest allocations of CropAll over some runs.
func cropAllMallocs(img *image.NRGBA, a Affine, n int) uint64 {
	as, dst := slices.Repeat([]Affine{a}, n), make([][]float32, n)
	for i := range dst {
		dst[i] = make([]float32, 3*a.Input.Area())
	}
	least := uint64(math.MaxUint64)
	var before, after runtime.MemStats
	for range 10 {
		runtime.ReadMemStats(&before)
		CropAll(dst, img, as)
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	return least
}

func TestMirror(t *testing.T) {
	s := model.Size{H: 2, W: 3}
	src := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}
	want := []float32{3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10, 15, 14, 13, 18, 17, 16}
	got := make([]float32, len(src))
	Mirror(got, src, s)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	Mirror(got, got, s)
	if !slices.Equal(got, src) {
		t.Errorf("twice, in place: got %v, want %v", got, src)
	}
}

func BenchmarkCrop(b *testing.B) {
	img := noise(rand.New(rand.NewPCG(1, 2)), 640, 480)
	for _, size := range []model.Size{{H: 256, W: 192}, {H: 512, W: 384}} {
		for name, box := range map[string]Box{
			"enlarged": {X: 300, Y: 200, W: 40, H: 80},
			"reduced":  {X: 100, Y: 10, W: 250, H: 460},
			"partial":  {X: -150, Y: -200, W: 300, H: 400},
		} {
			b.Run(fmt.Sprintf("%v/%s", size, name), func(b *testing.B) {
				a := NewAffine(box, size)
				dst := make([]float32, 3*size.Area())
				b.ReportAllocs()
				for b.Loop() {
					Crop(dst, img, a)
				}
			})
		}
	}
}

func BenchmarkCropAll(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	img := noise(rng, 640, 480)
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			as, dst := make([]Affine, n), make([][]float32, n)
			for i := range as {
				as[i] = NewAffine(Box{X: rng.Float64() * 300, Y: rng.Float64() * 100, W: 120, H: 300}, model.Size{H: 256, W: 192})
				dst[i] = make([]float32, 3*as[i].Input.Area())
			}
			b.ReportAllocs()
			for b.Loop() {
				CropAll(dst, img, as)
			}
		})
	}
}
