package postprocess

import (
	"bytes"
	"image"
	"image/color"
	"math"
	"runtime"
	"testing"
)

var grey = color.NRGBA{90, 90, 90, 255}

// canvasOf returns a grey picture.
func canvasOf(r image.Rectangle) *image.NRGBA {
	img := image.NewNRGBA(r)
	for i := range img.Pix {
		img.Pix[i] = []uint8{90, 90, 90, 255}[i%4]
	}
	return img
}

// withPoints returns somebody of whom only some keypoints are sure.
func withPoints(points map[int][2]float64) Person {
	p := Person{Box: [4]float64{0, 0, 100, 100}, Keypoints: make([]Keypoint, 17)}
	for k, at := range points {
		p.Keypoints[k] = Keypoint{X: at[0], Y: at[1], Score: 1}
	}
	return p
}

// drawn reports whether anything was drawn within a pixel of (x, y).
func drawn(img *image.NRGBA, x, y int) bool {
	for v := y - 1; v <= y+1; v++ {
		for u := x - 1; u <= x+1; u++ {
			if img.NRGBAAt(u, v) != grey {
				return true
			}
		}
	}
	return false
}

func TestDrawColoursBySide(t *testing.T) {
	img := canvasOf(image.Rect(0, 0, 120, 100))
	Draw(img, []Person{withPoints(map[int][2]float64{
		5: {20, 20}, 6: {80, 20}, 7: {20, 70}, 8: {80, 70}, // shoulders and elbows
	})}, 0.2)
	for name, tt := range map[string]struct {
		x, y int
		want color.NRGBA
	}{
		"left upper arm":       {20, 45, leftColour},
		"right upper arm":      {80, 45, rightColour},
		"shoulder to shoulder": {50, 20, centreColour},
		"beside":               {50, 45, grey},
		"the core of a joint":  {20, 70, centreColour},
	} {
		got := img.NRGBAAt(tt.x, tt.y)
		near := func(a, b uint8) bool { return max(a, b)-min(a, b) <= 80 } // thin lines do not cover pixels wholly
		if tt.want == grey && got != grey || !near(got.R, tt.want.R) || !near(got.G, tt.want.G) || !near(got.B, tt.want.B) {
			t.Errorf("%s is %v, want %v", name, got, tt.want)
		}
	}
	for i := 3; i < len(img.Pix); i += 4 {
		if img.Pix[i] != 255 {
			t.Fatal("the picture is no longer opaque")
		}
	}
}

func TestDrawLeavesOut(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for name, tt := range map[string]struct {
		points     map[int][2]float64
		shown, not [][2]int
	}{
		"a limb with one end": {map[int][2]float64{5: {20, 50}}, [][2]int{{20, 50}}, [][2]int{{5, 5}, {60, 50}}},
		"NaN":                 {map[int][2]float64{5: {20, 50}, 7: {nan, 50}}, [][2]int{{20, 50}}, [][2]int{{60, 50}}},
		"infinite":            {map[int][2]float64{5: {20, 50}, 7: {inf, 50}}, [][2]int{{20, 50}}, [][2]int{{60, 50}}},
		"far away":            {map[int][2]float64{5: {20, 50}, 7: {1e9, 50}}, [][2]int{{20, 50}}, [][2]int{{60, 50}}},
		"just outside: cut":   {map[int][2]float64{5: {20, 50}, 7: {150, 50}}, [][2]int{{20, 50}, {60, 50}, {118, 50}}, nil},
		"crossing":            {map[int][2]float64{5: {-40, 50}, 7: {160, 50}}, [][2]int{{1, 50}, {60, 50}, {118, 50}}, [][2]int{{60, 70}}},
		"both above":          {map[int][2]float64{5: {20, -30}, 7: {90, -40}}, nil, [][2]int{{20, 1}, {60, 1}, {90, 1}}},
		"no such limb":        {map[int][2]float64{9: {20, 50}, 10: {100, 50}}, [][2]int{{20, 50}, {100, 50}}, [][2]int{{60, 50}}},
	} {
		img := canvasOf(image.Rect(0, 0, 120, 100))
		Draw(img, []Person{withPoints(tt.points)}, 0.2)
		for _, at := range tt.shown {
			if !drawn(img, at[0], at[1]) {
				t.Errorf("%s: nothing at %v", name, at)
			}
		}
		for _, at := range tt.not {
			if drawn(img, at[0], at[1]) {
				t.Errorf("%s: something at %v", name, at)
			}
		}
	}
}

func TestDrawHoldsToMinScore(t *testing.T) {
	p := withPoints(map[int][2]float64{5: {20, 50}, 7: {100, 50}})
	p.Keypoints[7].Score = 0.3
	for minScore, want := range map[float64]bool{0.2: true, 0.3: true, 0.31: false, math.NaN(): false} {
		img := canvasOf(image.Rect(0, 0, 120, 100))
		Draw(img, []Person{p}, minScore)
		if drawn(img, 60, 50) != want || drawn(img, 100, 50) != want {
			t.Errorf("minScore %v: drawn %v, want %v", minScore, !want, want)
		}
	}
}

// What cannot be drawn leaves the picture as it is.
func TestDrawOddArguments(t *testing.T) {
	img := canvasOf(image.Rect(0, 0, 50, 40))
	before := bytes.Clone(img.Pix)
	all := withPoints(nil)
	for i := range all.Keypoints {
		all.Keypoints[i] = Keypoint{X: math.Inf(-1), Y: 1e300, Score: 1}
	}
	Draw(img, nil, 0)
	Draw(img, []Person{{}, {Box: [4]float64{math.NaN()}}, all}, 0)
	if !bytes.Equal(before, img.Pix) {
		t.Error("something was drawn")
	}
	Draw(image.NewNRGBA(image.Rectangle{}), []Person{person(0, 0, 1)}, 0)
	odd := withPoints(map[int][2]float64{5: {20, 20}})
	odd.Box = [4]float64{math.NaN(), 0, math.Inf(1), -5}
	odd.Keypoints = append(odd.Keypoints, make([]Keypoint, 30)...)
	Draw(img, []Person{odd}, 0.5)
	if !drawn(img, 20, 20) {
		t.Error("with an odd box nothing was drawn")
	}
}

// A part of a picture keeps the picture's coordinates.
func TestDrawOnPartOfAPicture(t *testing.T) {
	whole := canvasOf(image.Rect(0, 0, 200, 200))
	part := whole.SubImage(image.Rect(90, 80, 150, 130)).(*image.NRGBA)
	Draw(part, []Person{withPoints(map[int][2]float64{5: {100, 100}, 7: {190, 100}})}, 0.2)
	if !drawn(whole, 100, 100) || !drawn(whole, 140, 100) || drawn(whole, 170, 100) {
		t.Error("the line is not where the part is")
	}
}

// fill is the union of the shapes, seamless over tiles: against the plain
// distance to the nearest line, pixels well inside are painted, those well
// outside are not, and those at the edge are mixed by how much is covered.
func TestFillAgreesWithDistances(t *testing.T) {
	rng := newRand()
	for range 20 {
		img := canvasOf(image.Rect(-30, 5, 170, 145))
		var shapes []capsule
		for range 5 {
			at := func(scale float64) float64 { return scale * (rng.Float64()*2 - 0.5) }
			shapes = append(shapes, capsule{at(150), at(150), at(150), at(150), 1 + 6*rng.Float64()})
		}
		c := canvas{img: img, mask: image.NewAlpha(image.Rect(0, 0, tile, tile))}
		c.fill(shapes, color.NRGBA{255, 255, 255, 255})
		for y := img.Rect.Min.Y; y < img.Rect.Max.Y; y++ {
			for x := img.Rect.Min.X; x < img.Rect.Max.X; x++ {
				inside := math.Inf(-1) // greatest depth in a shape
				for _, s := range shapes {
					inside = max(inside, s.radius-s.distance(float64(x), float64(y)))
				}
				got := float64(img.NRGBAAt(x, y).R-90) / 165
				// Coverage of a straight edge as deep as this, within what its slope makes of it.
				low, high := inside+0.5-0.3, inside+0.5+0.3
				if !(got >= min(1, low) && got <= max(0, high)) && !(inside > -0.5 && crossing(shapes, x, y) > 1) {
					t.Fatalf("pixel (%d, %d), %.2f deep, is covered by %.2f", x, y, inside, got)
				}
			}
		}
	}
}

// crossing counts the shapes whose edge is near a pixel: several together may
// cover more than each.
func crossing(shapes []capsule, x, y int) (n int) {
	for _, s := range shapes {
		if math.Abs(s.radius-s.distance(float64(x), float64(y))) < 1 {
			n++
		}
	}
	return n
}

// distance of a point from the capsule's line.
func (s capsule) distance(x, y float64) float64 {
	dx, dy := s.x1-s.x0, s.y1-s.y0
	t := 0.0
	if l := dx*dx + dy*dy; l > 0 {
		t = min(1, max(0, ((x-s.x0)*dx+(y-s.y0)*dy)/l))
	}
	return math.Hypot(x-s.x0-t*dx, y-s.y0-t*dy)
}

func TestLineWidthGrowsWithPersonAndPicture(t *testing.T) {
	width := func(picture image.Point, box float64) float64 {
		c := canvas{img: image.NewNRGBA(image.Rectangle{Max: picture})}
		return c.lineWidth(&Person{Box: [4]float64{0, 0, box, box}})
	}
	for _, tt := range []struct {
		picture   image.Point
		box, want float64
	}{
		{image.Pt(640, 480), 10, 1.5}, {image.Pt(640, 480), 200, 4}, {image.Pt(640, 480), 480, 640.0 / 120},
		{image.Pt(100, 50), 480, 2}, {image.Pt(2400, 100), 1e9, 20}, {image.Pt(2100, 100), 10, 3}, {image.Pt(640, 480), math.NaN(), 1.5},
	} {
		if got := width(tt.picture, tt.box); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("in %v a box of %v has lines of %v, want %v", tt.picture, tt.box, got, tt.want)
		}
	}
}

// Drawing over a large picture takes memory for a tile, not for a picture.
func TestDrawNeedsLittleMemory(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 3000, 2000))
	p := person(0, 0, 1)
	p.Box = [4]float64{0, 0, 3000, 2000}
	for i := range p.Keypoints {
		p.Keypoints[i].X, p.Keypoints[i].Y = float64(3000*(i%2)), float64(117*i)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	Draw(img, []Person{p, p}, 0)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("%d bytes to draw on a picture of %d", used, len(img.Pix))
	}
}

// Every colour stands out from its halo, and the halo from a white picture, by
// at least 3:1, as graphics must (WCAG 2.1, 1.4.11).
func TestContrast(t *testing.T) {
	over := haloColour
	a := float64(over.A) / 255
	onWhite := color.NRGBA{uint8(float64(over.R)*a + 255*(1-a)), uint8(float64(over.G)*a + 255*(1-a)), uint8(float64(over.B)*a + 255*(1-a)), 255}
	white := color.NRGBA{255, 255, 255, 255}
	if c := contrast(onWhite, white); c < 3 {
		t.Errorf("halo on white: %.1f", c)
	}
	for _, colour := range sideColours {
		if c := contrast(colour, onWhite); c < 3 {
			t.Errorf("%v on its halo on white: %.1f", colour, c)
		}
		if c := contrast(colour, color.NRGBA{A: 255}); c < 3 {
			t.Errorf("%v on black: %.1f", colour, c)
		}
	}
}

// contrast is WCAG's ratio of relative luminances.
func contrast(a, b color.NRGBA) float64 {
	luminance := func(c color.NRGBA) float64 {
		linear := func(v uint8) float64 { return math.Pow((float64(v)/255+0.055)/1.055, 2.4) }
		return 0.2126*linear(c.R) + 0.7152*linear(c.G) + 0.0722*linear(c.B)
	}
	la, lb := luminance(a), luminance(b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

func BenchmarkDraw(b *testing.B) {
	img := canvasOf(image.Rect(0, 0, 640, 480))
	people := []Person{person(100, 100, 1), person(300, 200, 1)}
	for b.Loop() {
		Draw(img, people, 0)
	}
}
