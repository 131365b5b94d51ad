package postprocess

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"golang.org/x/image/vector"

	"github.com/evopose/evopose/model"
)

// Colours by side, of Okabe and Ito's palette made a little brighter: also the
// colour-blind tell blue, orange and white apart. The halo keeps them readable
// on bright pictures.
var (
	leftColour   = color.NRGBA{0x3c, 0xb4, 0xf2, 0xff}
	rightColour  = color.NRGBA{0xf7, 0x8c, 0x1e, 0xff}
	centreColour = color.NRGBA{0xfa, 0xfa, 0xf5, 0xff}
	haloColour   = color.NRGBA{0x0c, 0x10, 0x18, 0xd0}
)

// limbs are the pairs of keypoints that a line joins.
var limbs = [][2]int{
	{0, 1}, {0, 2}, {1, 3}, {2, 4},
	{5, 6}, {5, 11}, {6, 12}, {11, 12},
	{5, 7}, {7, 9}, {6, 8}, {8, 10},
	{11, 13}, {13, 15}, {12, 14}, {14, 16},
}

// side is what a colour stands for.
type side int

const (
	centre side = iota
	left
	right
	sides
)

var sideColours = [sides]color.NRGBA{centre: centreColour, left: leftColour, right: rightColour}

// sideOf returns the side of a keypoint: odd ones are left, even ones right,
// and the nose is in the centre.
func sideOf(k int) side {
	switch {
	case k == 0:
		return centre
	case k%2 == 1:
		return left
	}
	return right
}

func limbSide(l [2]int) side {
	if l[0] != 0 && sideOf(l[0]) != sideOf(l[1]) {
		return centre // shoulder to shoulder, hip to hip
	}
	return sideOf(l[1])
}

// Draw draws the people's skeletons onto the picture, anti-aliased: left blue,
// right orange, what joins them white, all in a dark halo, as thick as suits
// the person's box and the picture. The first person is on top. Keypoints with
// a score below minScore, or a picture or more outside the picture, are left
// out, and so are the limbs that end in them.
func Draw(img *image.NRGBA, people []Person, minScore float64) {
	c := canvas{img: img, mask: image.NewAlpha(image.Rect(0, 0, tile, tile))}
	for i := len(people) - 1; i >= 0; i-- {
		c.person(&people[i], minScore)
	}
}

// tile is the side of the squares, in pixels, that are drawn at a time: memory
// does not grow with the picture, and empty squares cost next to nothing.
const tile = 64

// canvas draws on a picture by way of a mask of one tile.
type canvas struct {
	img    *image.NRGBA
	raster vector.Rasterizer
	mask   *image.Alpha
}

func (c *canvas) person(p *Person, minScore float64) {
	s := c.skeleton(p, minScore)
	c.fill(s.halo, haloColour)
	for side, shapes := range s.bySide {
		c.fill(shapes, sideColours[side])
	}
	c.fill(s.cores, centreColour)
}

// skeleton is what is drawn of a person, from the bottom to the top.
type skeleton struct {
	halo   []capsule
	bySide [sides][]capsule
	cores  []capsule // white dots in the joints
}

func (c *canvas) skeleton(p *Person, minScore float64) (s skeleton) {
	points := p.Keypoints[:min(len(p.Keypoints), model.Keypoints)]
	shown := func(k int) bool { return k < len(points) && points[k].Score >= minScore && c.near(points[k]) }
	radius := c.lineWidth(p) / 2
	halo := max(1, radius*2/3)
	add := func(to side, shape capsule) {
		s.bySide[to] = append(s.bySide[to], shape)
		shape.radius += halo
		s.halo = append(s.halo, shape)
	}
	for _, l := range limbs {
		if shown(l[0]) && shown(l[1]) {
			a, b := points[l[0]], points[l[1]]
			add(limbSide(l), capsule{a.X, a.Y, b.X, b.Y, radius * size(l[1], 1, 0.7)})
		}
	}
	for k, p := range points {
		if shown(k) {
			r := radius * size(k, 1.8, 1.3)
			add(sideOf(k), capsule{p.X, p.Y, p.X, p.Y, r})
			s.cores = append(s.cores, capsule{p.X, p.Y, p.X, p.Y, r / 2})
		}
	}
	return s
}

// size returns body, or face for nose, eyes and ears, which are near each other.
func size(keypoint int, body, face float64) float64 {
	if keypoint < 5 {
		return face
	}
	return body
}

// lineWidth returns the width of a person's limbs in pixels: it grows with the
// box, within limits that grow with the picture, which may be shown reduced.
func (c *canvas) lineWidth(p *Person) float64 {
	longest := float64(max(c.img.Rect.Dx(), c.img.Rect.Dy()))
	thinnest, widest := max(1.5, longest/700), max(2, longest/120)
	w := math.Sqrt(math.Abs(p.Box[2]*p.Box[3])) / 50
	if !(w > thinnest) { // also NaN
		return thinnest
	}
	return min(w, widest)
}

// near reports whether a keypoint is finite and less than a picture away from
// the picture.
func (c *canvas) near(k Keypoint) bool {
	w, h := float64(c.img.Rect.Dx()), float64(c.img.Rect.Dy())
	x, y := k.X-float64(c.img.Rect.Min.X), k.Y-float64(c.img.Rect.Min.Y)
	return x > -w && x < 2*w && y > -h && y < 2*h
}

// fill draws the union of shapes in one colour.
func (c *canvas) fill(shapes []capsule, colour color.NRGBA) {
	var all image.Rectangle
	for _, s := range shapes {
		all = all.Union(s.bounds())
	}
	all = all.Intersect(c.img.Rect)
	source := image.NewUniform(colour)
	for y := all.Min.Y; y < all.Max.Y; y += tile {
		for x := all.Min.X; x < all.Max.X; x += tile {
			c.fillTile(image.Rect(x, y, x+tile, y+tile).Intersect(all), shapes, source)
		}
	}
}

// fillTile draws the part of the shapes that is in r, a tile at most.
func (c *canvas) fillTile(r image.Rectangle, shapes []capsule, source *image.Uniform) {
	empty := true
	for _, s := range shapes {
		part, ok := s.clip(r)
		if !ok {
			continue
		}
		if empty {
			empty = false
			c.raster.Reset(r.Dx(), r.Dy())
			c.raster.DrawOp = draw.Src
		}
		part.trace(&c.raster, r.Min)
	}
	if empty {
		return
	}
	size := image.Rectangle{Max: r.Size()}
	c.raster.Draw(c.mask, size, image.Opaque, image.Point{})
	draw.DrawMask(c.img, r, source, image.Point{}, c.mask, image.Point{}, draw.Over)
}
