package postprocess

import (
	"image"
	"image/color"
	"math"

	"golang.org/x/image/vector"
)

// Colours by side, distinct also for colour-blind viewers (Okabe and Ito's
// palette): left blue, right orange, centre white.
var (
	leftColour   = color.NRGBA{0x38, 0xb0, 0xf0, 0xff}
	rightColour  = color.NRGBA{0xf0, 0x82, 0x10, 0xff}
	centreColour = color.NRGBA{0xf8, 0xf8, 0xf0, 0xff}
	haloColour   = color.NRGBA{0x10, 0x14, 0x20, 0xc8}
)

// limbs are the pairs of keypoints that a line joins.
var limbs = [][2]int{
	{0, 1}, {0, 2}, {1, 3}, {2, 4},
	{5, 6}, {5, 11}, {6, 12}, {11, 12},
	{5, 7}, {7, 9}, {6, 8}, {8, 10},
	{11, 13}, {13, 15}, {12, 14}, {14, 16},
}

// sideColour returns the colour of keypoint k: odd indices are left, even
// ones right, and the nose is in the centre.
func sideColour(k int) color.NRGBA {
	switch {
	case k == 0:
		return centreColour
	case k%2 == 1:
		return leftColour
	}
	return rightColour
}

func limbColour(l [2]int) color.NRGBA {
	if l[0] != 0 && l[1] != 0 && l[0]%2 != l[1]%2 {
		return centreColour // shoulder to shoulder, hip to hip
	}
	return sideColour(max(l[0], l[1]))
}

// Draw draws the people's skeletons onto the picture, anti-aliased, each limb
// and joint with a dark halo so that it shows on bright pictures too. Keypoints
// with a score below minScore, or far outside the picture, are left out, and
// so are the limbs that end in them.
func Draw(img *image.NRGBA, people []Person, minScore float64) {
	c := canvas{img: img, raster: vector.NewRasterizer(0, 0)}
	for i := range people {
		c.person(&people[i], minScore)
	}
}

type canvas struct {
	img    *image.NRGBA
	raster *vector.Rasterizer
}

func (c *canvas) person(p *Person, minScore float64) {
	width := c.lineWidth(p)
	shown := make([]bool, len(p.Keypoints))
	for i, k := range p.Keypoints {
		shown[i] = k.Score >= minScore && c.near(k)
	}
	line := func(l [2]int, extra float64, colour color.NRGBA) {
		if l[1] < len(shown) && shown[l[0]] && shown[l[1]] {
			a, b := p.Keypoints[l[0]], p.Keypoints[l[1]]
			c.capsule(a.X, a.Y, b.X, b.Y, width/2+extra, colour)
		}
	}
	halo := max(1, width/3)
	for _, l := range limbs {
		line(l, halo, haloColour)
	}
	for _, l := range limbs {
		line(l, 0, limbColour(l))
	}
	for i, k := range p.Keypoints {
		if shown[i] {
			c.capsule(k.X, k.Y, k.X, k.Y, width*0.9+halo, haloColour)
			c.capsule(k.X, k.Y, k.X, k.Y, width*0.9, sideColour(i))
		}
	}
}

// lineWidth grows with the person, within limits of the picture, in pixels.
func (c *canvas) lineWidth(p *Person) float64 {
	size := c.img.Rect.Size()
	widest := max(2, float64(max(size.X, size.Y))/120)
	w := math.Sqrt(math.Abs(p.Box[2]*p.Box[3])) / 55
	if !(w > 1.5) { // also NaN
		w = 1.5
	}
	return min(w, widest)
}

// near reports whether a keypoint is finite and less than a picture away from
// the picture.
func (c *canvas) near(k Keypoint) bool {
	r := c.img.Rect
	w, h := float64(r.Dx()), float64(r.Dy())
	return k.X > -w && k.X < 2*w && k.Y > -h && k.Y < 2*h
}

// capsule fills a line of the given half width with round ends.
func (c *canvas) capsule(x0, y0, x1, y1, radius float64, colour color.NRGBA) {
	box := image.Rect(int(math.Floor(min(x0, x1)-radius-1)), int(math.Floor(min(y0, y1)-radius-1)),
		int(math.Ceil(max(x0, x1)+radius+1)), int(math.Ceil(max(y0, y1)+radius+1))).Intersect(c.img.Rect)
	if box.Empty() {
		return
	}
	c.raster.Reset(box.Dx(), box.Dy())
	angle := math.Atan2(y1-y0, x1-x0)
	ox, oy := float64(box.Min.X), float64(box.Min.Y)
	const steps = 16 // straight pieces of each round end
	for i := range 2 * (steps + 1) {
		cx, cy := x1-ox, y1-oy
		t := angle - math.Pi/2 + math.Pi*float64(i)/steps
		if i > steps {
			cx, cy = x0-ox, y0-oy
			t -= math.Pi / steps // the second end begins where the first ended
		}
		px, py := float32(cx+radius*math.Cos(t)+0.5), float32(cy+radius*math.Sin(t)+0.5)
		if i == 0 {
			c.raster.MoveTo(px, py)
		} else {
			c.raster.LineTo(px, py)
		}
	}
	c.raster.ClosePath()
	c.raster.Draw(c.img, box, image.NewUniform(colour), image.Point{})
}
