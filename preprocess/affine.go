package preprocess

import "github.com/evopose/evopose/model"

// padding enlarges a box on every side before it is cropped: 1.25 times its
// height, as the networks were trained.
const padding = 1.25

// Affine maps pixels of a network's input to pixels of the picture: a uniform
// scale about the box's centre, without rotation and without a half-pixel
// shift. It is the transform of McNally et al., IEEE Access 9 (2021).
type Affine struct {
	// CX, CY is the box's centre in the picture, in pixels; the input's
	// point (W/2, H/2) lies on it.
	CX, CY float64
	// Scale is picture pixels per input pixel.
	Scale float64
	// Input is the network's input size.
	Input model.Size
}

// NewAffine returns the transform that fits the box, enlarged by a quarter and
// widened or heightened to the input's aspect, into the input:
//
//	h' = max(h, w/aspect), aspect = W_in/H_in
//	scale = 1.25 * h' / H_in
func NewAffine(b Box, input model.Size) Affine {
	aspect := float64(input.W) / float64(input.H)
	h := b.H
	if b.W > aspect*h {
		h = b.W / aspect
	}
	return Affine{
		CX:    b.X + b.W/2,
		CY:    b.Y + b.H/2,
		Scale: padding * h / float64(input.H),
		Input: input,
	}
}

// ToImage returns the place in the picture, in pixels, of the input's (u, v):
// x = cx - scale*W_in/2 + scale*u, and y likewise.
func (a Affine) ToImage(u, v float64) (x, y float64) {
	return a.CX - a.Scale*float64(a.Input.W)/2 + a.Scale*u,
		a.CY - a.Scale*float64(a.Input.H)/2 + a.Scale*v
}

// ToInput returns the place in the input, in pixels, of the picture's (x, y):
// u = (x - cx)/scale + W_in/2, and v likewise. It is the inverse of ToImage.
func (a Affine) ToInput(x, y float64) (u, v float64) {
	return (x-a.CX)/a.Scale + float64(a.Input.W)/2,
		(y-a.CY)/a.Scale + float64(a.Input.H)/2
}
