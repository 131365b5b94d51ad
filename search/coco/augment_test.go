package coco

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/preprocess"
)

// TestAugmentPlain checks that the zero value changes nothing.
func TestAugmentPlain(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		v := Augment{}.draw(rng)
		if v.scale != 1 || v.rotation != 0 || v.mirror || v.halfBody || v.head || v.shift != [2]float64{} || v.colour != [3]float64{1, 1, 1} || v.erase {
			t.Fatalf("drew %+v", v)
		}
	}
}

// TestAugmentRecipe checks ranges and frequencies of the recipe's numbers.
func TestAugmentRecipe(t *testing.T) {
	const n = 20000
	rng := rand.New(rand.NewPCG(2, 2))
	var mirrored, turned, low, high, far int
	for range n {
		v := RecipeAugment.draw(rng)
		degrees := v.rotation * 180 / math.Pi
		if v.scale < 0.7 || v.scale > 1.3 || math.Abs(degrees) > 80+1e-9 || v.halfBody || v.head || v.erase || v.colour != [3]float64{1, 1, 1} {
			t.Fatalf("drew %+v", v)
		}
		for _, c := range []struct {
			n  *int
			is bool
		}{{&mirrored, v.mirror}, {&turned, v.rotation != 0}, {&low, v.scale == 0.7}, {&high, v.scale == 1.3}, {&far, math.Abs(degrees) > 40}} {
			if c.is {
				*c.n++
			}
		}
	}
	// Of a normal number 15.87 % are above 1 and as many below -1; of the 60 %
	// turned, 31.73 % are beyond one deviation.
	for name, c := range map[string]struct {
		n    int
		want float64
	}{"mirrored": {mirrored, 0.5}, "turned": {turned, 0.6}, "smallest": {low, 0.1587}, "largest": {high, 0.1587}, "far": {far, 0.6 * 0.3173}} {
		if share := float64(c.n) / n; math.Abs(share-c.want) > 0.015 {
			t.Errorf("%s: %v, want %v", name, share, c.want)
		}
	}
}

// TestAugmentIndependent checks that a field that changes leaves the rest as
// it was drawn.
func TestAugmentIndependent(t *testing.T) {
	draw := func(g Augment) variation { return g.draw(rand.New(rand.NewPCG(3, 3))) }
	want, got := draw(everything), everything
	got.Scale, got.RotationProbability, got.HalfBody, got.Head = 0, 0, 0, 0
	v := draw(got)
	if v.scale != 1 || v.rotation != 0 || v.halfBody || v.head {
		t.Errorf("drew %+v", v)
	}
	v.scale, v.rotation, v.halfBody, v.head = want.scale, want.rotation, want.halfBody, want.head
	if v != want {
		t.Errorf("drew %+v, want %+v", v, want)
	}
}

func TestAugmentValidate(t *testing.T) {
	if err := RecipeAugment.Validate(); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		g    Augment
		want string
	}{
		{Augment{Scale: 1}, "scale 1: must be 0 to 0.99"},
		{Augment{Rotation: -3}, "rotation -3: must be 0 to 180"},
		{Augment{HalfBody: math.NaN()}, "half-body NaN"},
		{Augment{Head: 2}, "head 2: must be 0 to 1"},
		{Augment{EraseArea: 1.1}, "erase area 1.1"},
	} {
		if err := tt.g.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.g, err, tt.want)
		}
	}
}

// dotColour is a colour that tells keypoint k from the others and from grey.
func dotColour(k int) color.NRGBA {
	return color.NRGBA{R: byte(255 * (k % 3) / 2), G: byte(255 * (k / 3 % 3) / 2), B: byte(255 * (k / 9)), A: 255}
}

// dottedPerson returns a grey picture with a square of colour around each
// keypoint of a person who fills most of it.
func dottedPerson(rng *rand.Rand) (*image.NRGBA, *Annotation) {
	img := image.NewNRGBA(image.Rect(0, 0, 400, 500))
	for i := range img.Pix {
		img.Pix[i] = 100 | byte(i%4/3*255)
	}
	a := &Annotation{Box: preprocess.Box{X: 60, Y: 50, W: 280, H: 400}}
	for k := range a.Keypoints {
		// Far enough apart that no dot hides another.
		x, y := 80+60*(k%5)+rng.IntN(30), 80+90*(k/5)+rng.IntN(50)
		a.Keypoints[k] = Keypoint{X: float64(x), Y: float64(y), V: 1 + k%2}
		for i := range 17 * 17 {
			img.SetNRGBA(x+i%17-8, y+i/17-8, dotColour(k))
		}
	}
	return img, a
}

// TestAugmentedKeypointsLieOnTheirDots looks for every keypoint's colour at
// its place in varied crops; in a mirrored one, left shows right's colour.
func TestAugmentedKeypointsLieOnTheirDots(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	g := everything
	g.Brightness, g.Contrast, g.Saturation, g.Erase = 0, 0, 0, 0
	input := model.Size{H: 256, W: 192}
	crop, points := make([]float32, 3*input.Area()), make([]float32, 3*model.Keypoints)
	seen, mirrored := 0, 0
	for i := range 300 {
		img, a := dottedPerson(rng)
		v := g.draw(rng)
		w := v.warp(a, input)
		pyramid := pyramid{img}
		if i%2 == 0 {
			pyramid = newPyramid(img)
		}
		pyramid.crop(crop, w)
		v.keypoints(points, a, &w)
		for k := range model.Keypoints {
			p := points[3*k : 3*k+3]
			if p[2] == 0 {
				continue
			}
			seen++
			want := k
			if v.mirror {
				mirrored, want = mirrored+1, model.FlipPairs[k]
			}
			if got := colourAt(crop, input, p[0], p[1]); !like(got, dotColour(want)) {
				t.Fatalf("crop %d (%+v): %s at %v shows %v, want %v", i, v, model.KeypointNames[k], p, got, dotColour(want))
			}
		}
	}
	t.Logf("%d keypoints seen, %d of them mirrored", seen, mirrored)
	if seen < 3000 || mirrored < 1000 {
		t.Error("too few")
	}
}

// colourAt returns the crop's pixel nearest to (u, v).
func colourAt(crop []float32, input model.Size, u, v float32) (c [3]float64) {
	x, y := min(int(u+0.5), input.W-1), min(int(v+0.5), input.H-1)
	for i := range c {
		value := crop[i*input.Area()+y*input.W+x]
		c[i] = 255 * float64(value*preprocess.Std[i]+preprocess.Mean[i])
	}
	return c
}

func like(got [3]float64, want color.NRGBA) bool {
	return math.Abs(got[0]-float64(want.R)) < 20 && math.Abs(got[1]-float64(want.G)) < 20 && math.Abs(got[2]-float64(want.B)) < 20
}

// TestKeypointsValid works valid out by hand: unlabelled, at the borders,
// outside.
func TestKeypointsValid(t *testing.T) {
	// One input pixel is one of the picture; (0, 0) is its own.
	w := newWarp(preprocess.Affine{CX: 6, CY: 8, Scale: 1, Input: model.Size{H: 16, W: 12}}, 0, false)
	a := &Annotation{}
	a.Keypoints[0] = Keypoint{5, 6, 0}
	a.Keypoints[1] = Keypoint{0, 0, 1}
	a.Keypoints[2] = Keypoint{11.5, 15.5, 2}
	a.Keypoints[3] = Keypoint{12, 5, 2}
	a.Keypoints[4] = Keypoint{5, 16, 2}
	a.Keypoints[5] = Keypoint{-0.01, 5, 2}
	want := make([]float32, 3*model.Keypoints)
	copy(want[3:], []float32{0, 0, 1, 11.5, 15.5, 1})
	got := dirty(len(want))
	(&variation{}).keypoints(got, a, &w)
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestKeypointsOfTinyBox checks that nothing but finite numbers comes out.
func TestKeypointsOfTinyBox(t *testing.T) {
	a := &Annotation{Box: preprocess.Box{W: 1e-300, H: 1e-300}}
	a.Keypoints[0] = Keypoint{1e9, 1e9, 2}
	v := variation{scale: 1}
	w := v.warp(a, testInput)
	got := dirty(3 * model.Keypoints)
	v.keypoints(got, a, &w)
	if slices.Max(got) != 0 || slices.Min(got) != 0 {
		t.Errorf("%v, want zeros", got)
	}
}

func TestHalfBody(t *testing.T) {
	whole := preprocess.Box{X: 1, Y: 2, W: 300, H: 400}
	person := func(upper, lower int) *Annotation {
		a := &Annotation{Box: whole}
		for k := range upper {
			a.Keypoints[k] = Keypoint{float64(100 + 10*(k%2)), float64(50 + 10*k), 1}
		}
		for k := range lower {
			a.Keypoints[11+k] = Keypoint{float64(200 + 20*(k%2)), float64(300 + 20*k), 2}
		}
		return a
	}
	// 11 above: 100..110, 50..150; 6 below: 200..220, 300..400; each 1.5 times.
	up, down := preprocess.Box{X: 97.5, Y: 25, W: 15, H: 150}, preprocess.Box{X: 195, Y: 275, W: 30, H: 150}
	for _, tt := range []struct {
		upper, lower int
		preferUpper  bool
		want         preprocess.Box
	}{
		{11, 6, true, up},
		{11, 6, false, down},
		{11, 2, false, up},  // too few below
		{8, 0, true, whole}, // too few in all
		{2, 6, true, whole},
		{3, 6, true, preprocess.Box{X: 97.5, Y: 45, W: 15, H: 30}},
		{11, 0, false, up},
	} {
		if got := halfBody(person(tt.upper, tt.lower), tt.preferUpper); got != tt.want {
			t.Errorf("%d and %d keypoints, upper %v: %+v, want %+v", tt.upper, tt.lower, tt.preferUpper, got, tt.want)
		}
	}
}

// TestHead checks the square around the face, and who gets none.
func TestHead(t *testing.T) {
	whole := preprocess.Box{X: 1, Y: 2, W: 300, H: 400}
	person := func(scale float64, labelled ...int) *Annotation {
		a := &Annotation{Box: whole}
		for _, k := range labelled {
			a.Keypoints[k] = Keypoint{50 + scale*[]float64{0, 5, -5, 20, -20}[k], 80 + scale*[]float64{5, -3, -3, 0, 0}[k], 1}
		}
		a.Keypoints[5], a.Keypoints[6] = Keypoint{90, 130, 2}, Keypoint{10, 130, 2}
		return a
	}
	for _, tt := range []struct {
		person *Annotation
		want   preprocess.Box // none: no head
	}{
		// The ears are 40 apart: a square of 88 about (50, 81).
		{person(1, 0, 1, 2, 3, 4), preprocess.Box{X: 6, Y: 37, W: 88, H: 88}},
		// Nose and eyes: 10 wide, 8 high.
		{person(1, 0, 1, 2), preprocess.Box{X: 39, Y: 70, W: 22, H: 22}},
		{person(0.9, 0, 1, 2), preprocess.Box{}}, // too small
		{person(1, 3, 4), preprocess.Box{}},      // too few
	} {
		got, ok := headBox(tt.person)
		if ok != (tt.want.W > 0) || ok && !(near(got.X, tt.want.X) && near(got.Y, tt.want.Y) && near(got.W, tt.want.W) && near(got.H, tt.want.H)) {
			t.Errorf("%v: %+v, %v, want %+v", tt.person.Keypoints[:5], got, ok, tt.want)
		}
		// The crop is of the head; where there is none, of the half or the whole.
		v := variation{scale: 1, head: true}
		box := tt.want
		if !ok {
			box = whole
		}
		if w, want := v.warp(tt.person, testInput), newWarp(preprocess.NewAffine(box, testInput), 0, false); w != want {
			t.Errorf("%v: crop %+v, want %+v", tt.person.Keypoints[:5], w, want)
		}
	}
}

// TestTranslate checks the direction and the unit.
func TestTranslate(t *testing.T) {
	a := &Annotation{Box: preprocess.Box{X: 10, Y: 20, W: 30, H: 40}}
	v := variation{scale: 1, shift: [2]float64{0.1, -0.2}}
	w := v.warp(a, testInput)
	if u, v := w.toInput(25+3, 40-8); !near(u, 12) || !near(v, 16) {
		t.Errorf("the moved centre maps to (%v, %v), want (12, 16)", u, v)
	}
}

// TestRecolour compares with the definition on values of 0..1.
func TestRecolour(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 200 {
		factors := [3]float64{0.5 + rng.Float64(), 0.5 + rng.Float64(), 0.5 + rng.Float64()}
		rgb := [3]float64{rng.Float64(), rng.Float64(), rng.Float64()}
		crop := make([]float32, 6) // a second pixel, outside the picture
		var want, mixed [3]float64
		grey := 0.0
		for c := range rgb {
			mean, std := float64(preprocess.Mean[c]), float64(preprocess.Std[c])
			crop[2*c] = float32((rgb[c] - mean) / std)
			mixed[c] = mean + factors[1]*(factors[0]*rgb[c]-mean)
			grey += [3]float64{0.299, 0.587, 0.114}[c] * mixed[c]
		}
		recolour(crop, 2, factors)
		for c := range rgb {
			want[c] = clip(grey+factors[2]*(mixed[c]-grey), 0, 1)
			got := float64(crop[2*c]*preprocess.Std[c] + preprocess.Mean[c])
			if math.Abs(got-want[c]) > 1e-5 || crop[2*c+1] != 0 {
				t.Fatalf("%v by %v: channel %d is %v, want %v; outside %v", rgb, factors, c, got, want[c], crop[2*c+1])
			}
		}
	}
}

// TestErase checks that one rectangle, of an area in range, is 0 in every
// plane and nothing else is touched.
func TestErase(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	input := model.Size{H: 64, W: 48}
	for range 500 {
		crop := dirty(3 * input.Area())
		// 0 means 0.2.
		most, limit := 0.0, 0.2
		if rng.IntN(2) == 0 {
			most = 0.01 + 0.99*rng.Float64()
			limit = most
		}
		erase(crop, input, [4]float64{rng.Float64(), rng.Float64(), rng.Float64(), rng.Float64()}, most)
		r, n := image.Rectangle{}, 0
		for i, value := range crop {
			if value == 0 {
				x, y := i%input.W, i/input.W%input.H
				r, n = r.Union(image.Rect(x, y, x+1, y+1)), n+1
			}
		}
		share := float64(n) / 3 / float64(input.Area())
		if n != 3*r.Dx()*r.Dy() || n == 0 || share > limit {
			t.Fatalf("at most %v: %d values are 0, rectangle %v, share %v", most, n, r, share)
		}
	}
}
