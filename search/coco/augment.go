package coco

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/preprocess"
)

// Augment says how training crops are varied. Every field is 0 by default:
// not at all. N is a standard normal random number, U one uniform in -1..1.
type Augment struct {
	// Scale varies the crop's size by clip(1 + Scale*N, 1-Scale, 1+Scale);
	// below 1. Recipe: 0.3.
	Scale float64
	// Rotation turns by clip(Rotation*N, -2*Rotation, 2*Rotation) degrees;
	// at most 180. Recipe: 40.
	Rotation float64
	// RotationProbability is the share of crops turned, 0..1. Recipe: 0.6.
	RotationProbability float64
	// Mirror is the share of crops mirrored, left and right keypoints
	// exchanged, 0..1. Recipe: 0.5.
	Mirror float64
	// HalfBody is the share of crops, of people with more than 8 labelled
	// keypoints, that show only the upper body (to the wrists) or the lower
	// one (from the hips), 0..1. Recipe: 0.
	HalfBody float64
	// Head is the share of crops, of people with 3 or more labelled keypoints
	// of the face, 10 pixels of the picture apart or more, that show only the
	// head, 0..1. It goes before HalfBody. Recipe: 0.
	Head float64
	// Translate moves the crop by Translate*U of the box's width and height,
	// 0..1. Recipe: 0.
	Translate float64
	// Brightness, Contrast and Saturation multiply the colours, their
	// distance from the mean colour and their distance from grey by
	// 1 + field*U each, 0..1. Recipe: 0.
	Brightness, Contrast, Saturation float64
	// Erase is the share of crops in which a rectangle of EraseArea of the
	// crop at most is replaced by the mean colour, 0..1. Recipe: 0.
	Erase float64
	// EraseArea is a share of the crop's area, 0..1; 0 means 0.2.
	EraseArea float64
}

// RecipeAugment is the augmentation of the published training of EvoPose2D.
var RecipeAugment = Augment{Scale: 0.3, Rotation: 40, RotationProbability: 0.6, Mirror: 0.5}

// Validate names the first field that is out of range.
func (g Augment) Validate() error {
	for _, f := range []struct {
		name       string
		value, max float64
	}{
		{"scale", g.Scale, 0.99}, {"rotation", g.Rotation, 180}, {"rotation probability", g.RotationProbability, 1},
		{"mirror", g.Mirror, 1}, {"half-body", g.HalfBody, 1}, {"head", g.Head, 1}, {"translate", g.Translate, 1},
		{"brightness", g.Brightness, 1}, {"contrast", g.Contrast, 1}, {"saturation", g.Saturation, 1},
		{"erase", g.Erase, 1}, {"erase area", g.EraseArea, 1},
	} {
		if !(f.value >= 0 && f.value <= f.max) {
			return fmt.Errorf("augmentation: %s %v: must be 0 to %v", f.name, f.value, f.max)
		}
	}
	return nil
}

// variation is what was drawn for one crop.
type variation struct {
	scale    float64 // factor
	rotation float64 // radians
	mirror   bool
	halfBody bool
	upper    bool       // the half preferred
	shift    [2]float64 // shares of the box
	colour   [3]float64 // factors: brightness, contrast, saturation
	erase    bool
	rect     [4]float64 // of the erased: share of the area, log of the aspect, place in x and y, 0..1 each
	head     bool
}

// draw draws a variation. It always takes the numbers in this order, so that
// two augmentations that differ in one field vary the rest alike.
func (g Augment) draw(rng *rand.Rand) (v variation) {
	v.scale = clip(1+g.Scale*rng.NormFloat64(), 1-g.Scale, 1+g.Scale)
	turn, angle := rng.Float64() < g.RotationProbability, rng.NormFloat64()
	if turn {
		v.rotation = clip(g.Rotation*angle, -2*g.Rotation, 2*g.Rotation) * math.Pi / 180
	}
	v.mirror = rng.Float64() < g.Mirror
	v.halfBody, v.upper = rng.Float64() < g.HalfBody, rng.Float64() < 0.5
	v.shift = [2]float64{g.Translate * uniform(rng), g.Translate * uniform(rng)}
	v.colour = [3]float64{1 + g.Brightness*uniform(rng), 1 + g.Contrast*uniform(rng), 1 + g.Saturation*uniform(rng)}
	v.erase = rng.Float64() < g.Erase
	for i := range v.rect {
		v.rect[i] = rng.Float64()
	}
	v.head = rng.Float64() < g.Head
	return v
}

func clip(x, low, high float64) float64 { return min(max(x, low), high) }

// uniform returns a number in -1..1.
func uniform(rng *rand.Rand) float64 { return 2*rng.Float64() - 1 }

// warp returns the transform of the person's crop.
func (v *variation) warp(a *Annotation, input model.Size) warp {
	box := a.Box
	if head, ok := headBox(a); v.head && ok {
		box = head
	} else if v.halfBody {
		box = halfBody(a, v.upper)
	}
	fit := preprocess.NewAffine(box, input)
	fit.Scale *= v.scale
	fit.CX += v.shift[0] * box.W
	fit.CY += v.shift[1] * box.H
	return newWarp(fit, v.rotation, v.mirror)
}

const (
	halfBodyAbove = 8   // labelled keypoints that a person needs for it
	halfBodyLeast = 3   // labelled keypoints that the half needs
	halfBodyGrow  = 1.5 // the half's box, about its centre
	firstOfLower  = 11  // the left hip

	afterFace = 5   // keypoints of the face: nose, eyes, ears
	faceLeast = 3   // of them labelled, for a crop of the head
	facePixel = 10  // size of the face in pixels of the picture, likewise
	headGrow  = 2.2 // the head's side over the face's
)

// headBox returns a square around the person's head, and whether enough of the
// face is labelled and it is large enough to be of use.
func headBox(a *Annotation) (box preprocess.Box, ok bool) {
	face, n := bounds(a.Keypoints[:afterFace])
	size := max(face.W, face.H)
	if n < faceLeast || size < facePixel {
		return box, false
	}
	side := headGrow * size
	return preprocess.Box{X: face.X + face.W/2 - side/2, Y: face.Y + face.H/2 - side/2, W: side, H: side}, true
}

// halfBody returns the box around half of the person: the upper half if it is
// preferred, the other if the preferred one has too few keypoints; the whole
// box if the person or both halves have.
func halfBody(a *Annotation, upper bool) preprocess.Box {
	if a.Labelled() <= halfBodyAbove {
		return a.Box
	}
	halves := [2][]Keypoint{a.Keypoints[firstOfLower:], a.Keypoints[:firstOfLower]}
	if upper {
		halves[0], halves[1] = halves[1], halves[0]
	}
	for _, half := range halves {
		if box, n := bounds(half); n >= halfBodyLeast && box.W >= 1 && box.H >= 1 {
			dx, dy := box.W*(halfBodyGrow-1)/2, box.H*(halfBodyGrow-1)/2
			return preprocess.Box{X: box.X - dx, Y: box.Y - dy, W: box.W + 2*dx, H: box.H + 2*dy}
		}
	}
	return a.Box
}

// bounds returns the box around the labelled keypoints and their number.
func bounds(all []Keypoint) (box preprocess.Box, n int) {
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, k := range all {
		if k.V > 0 {
			n++
			x0, y0, x1, y1 = min(x0, k.X), min(y0, k.Y), max(x1, k.X), max(y1, k.Y)
		}
	}
	return preprocess.Box{X: x0, Y: y0, W: x1 - x0, H: y1 - y0}, n
}

// keypoints writes the person's keypoints in the crop to dst: u, v in input
// pixels and 1 for each that is labelled and inside; 0, 0, 0 otherwise.
func (v *variation) keypoints(dst []float32, a *Annotation, w *warp) {
	clear(dst)
	for i, k := range a.Keypoints {
		x, y := w.toInput(k.X, k.Y)
		if k.V == 0 || !(x >= 0 && x < float64(w.input.W) && y >= 0 && y < float64(w.input.H)) {
			continue
		}
		if v.mirror {
			i = model.FlipPairs[i]
		}
		copy(dst[3*i:3*i+3], []float32{float32(x), float32(y), 1})
	}
}

// finish changes the crop's colours and erases its rectangle.
func (v *variation) finish(crop []float32, g Augment, input model.Size) {
	if v.colour != [3]float64{1, 1, 1} {
		recolour(crop, input.Area(), v.colour)
	}
	if v.erase {
		erase(crop, input, v.rect, g.EraseArea)
	}
}

// recolour applies factors of brightness, contrast and saturation to the
// normalised planes. Values of exactly 0 in all three, the mean colour around
// the picture, stay; the result is kept within a byte's range.
func recolour(crop []float32, area int, factors [3]float64) {
	m, low, high := colourMatrix(factors)
	r, g, b := crop[:area], crop[area:2*area], crop[2*area:3*area]
	for i := range r {
		x, y, z := r[i], g[i], b[i]
		if x == 0 && y == 0 && z == 0 {
			continue
		}
		r[i] = min(max(m[0][0]*x+m[0][1]*y+m[0][2]*z+m[0][3], low[0]), high[0])
		g[i] = min(max(m[1][0]*x+m[1][1]*y+m[1][2]*z+m[1][3], low[1]), high[1])
		b[i] = min(max(m[2][0]*x+m[2][1]*y+m[2][2]*z+m[2][3], low[2]), high[2])
	}
}

// luma are the shares of R, G and B in grey, of ITU-R BT.601.
var luma = [3]float64{0.299, 0.587, 0.114}

// colourMatrix returns the change of colours as a matrix on normalised values,
// its last column added, and the normalised values of black and white. On
// values of 0..1, with the mean colour m and grey y = luma . v:
//
//	v1 = brightness * v
//	v2 = m + contrast * (v1 - m)
//	v3 = y2 + saturation * (v2 - y2)
func colourMatrix(factors [3]float64) (m [3][4]float32, low, high [3]float32) {
	bright, contrast, saturation := factors[0], factors[1], factors[2]
	for row := range 3 {
		mean, std := float64(preprocess.Mean[row]), float64(preprocess.Std[row])
		offset := -mean
		for col := range 3 {
			mix := (1 - saturation) * luma[col]
			if row == col {
				mix += saturation
			}
			meanOf, stdOf := float64(preprocess.Mean[col]), float64(preprocess.Std[col])
			m[row][col] = float32(mix * contrast * bright * stdOf / std)
			offset += mix * (meanOf*(1-contrast) + contrast*bright*meanOf)
		}
		m[row][3] = float32(offset / std)
		low[row], high[row] = float32(-mean/std), float32((1-mean)/std)
	}
	return m, low, high
}

const (
	eraseArea      = 0.2  // largest share of the crop, by default
	eraseLeast     = 0.02 // smallest share of the crop
	eraseAspectLog = 1.1  // of the rectangle's width over its height: 1/3 to 3
)

// erase replaces a rectangle by the mean colour. rect holds random numbers of
// 0..1: area, aspect, place.
func erase(crop []float32, input model.Size, rect [4]float64, most float64) {
	if most == 0 {
		most = eraseArea
	}
	least := min(eraseLeast, most)
	area := (least + (most-least)*rect[0]) * float64(input.Area())
	aspect := math.Exp(eraseAspectLog * (2*rect[1] - 1))
	w := min(int(math.Sqrt(area*aspect)), input.W)
	h := min(int(math.Sqrt(area/aspect)), input.H)
	x := int(rect[2] * float64(input.W-w+1))
	y := int(rect[3] * float64(input.H-h+1))
	for row := range 3 * input.H {
		if v := row % input.H; v >= y && v < y+h {
			clear(crop[row*input.W+x:][:w])
		}
	}
}
