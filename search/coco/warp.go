package coco

import (
	"image"
	"math"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/preprocess"
)

// warp maps pixels of a network's input to pixels of the picture:
//
//	x = x0 + xu*u + xv*v
//	y = y0 + yu*u + yv*v
//
// Without rotation and mirroring it is preprocess.Affine.
type warp struct {
	x0, xu, xv float64
	y0, yu, yv float64
	input      model.Size
}

// newWarp returns the transform that shows the picture as a does, turned by
// the angle in radians about the crop's centre (W/2, H/2), clockwise as seen,
// and then mirrored as preprocess.Mirror does: column u is column W-1-u.
func newWarp(a preprocess.Affine, angle float64, mirror bool) warp {
	sin, cos := math.Sincos(angle)
	w := warp{
		xu: a.Scale * cos, xv: a.Scale * sin,
		yu: -a.Scale * sin, yv: a.Scale * cos,
		input: a.Input,
	}
	halfW, halfH := float64(a.Input.W)/2, float64(a.Input.H)/2
	w.x0 = a.CX - w.xu*halfW - w.xv*halfH
	w.y0 = a.CY - w.yu*halfW - w.yv*halfH
	if mirror {
		last := float64(a.Input.W - 1)
		w.x0, w.xu = w.x0+last*w.xu, -w.xu
		w.y0, w.yu = w.y0+last*w.yu, -w.yu
	}
	return w
}

// toImage returns the place in the picture of the input's (u, v).
func (w *warp) toImage(u, v float64) (x, y float64) {
	return w.x0 + w.xu*u + w.xv*v, w.y0 + w.yu*u + w.yv*v
}

// toInput returns the place in the input of the picture's (x, y).
func (w *warp) toInput(x, y float64) (u, v float64) {
	dx, dy, det := x-w.x0, y-w.y0, w.xu*w.yv-w.xv*w.yu
	return (w.yv*dx - w.xv*dy) / det, (w.xu*dy - w.yu*dx) / det
}

// scale returns picture pixels per input pixel.
func (w *warp) scale() float64 { return math.Hypot(w.xu, w.yu) }

// halved returns the transform to a picture of half the size, whose pixels are
// the means of 2x2: pixel i of it has its centre at 2i + 1/2.
func (w warp) halved() warp {
	for _, v := range []*float64{&w.xu, &w.xv, &w.yu, &w.yv} {
		*v /= 2
	}
	w.x0, w.y0 = (w.x0-0.5)/2, (w.y0-0.5)/2
	return w
}

// normalised holds the normalised value of every byte of each channel, as
// preprocess.Crop has it.
var normalised = func() (t [3][256]float32) {
	for c := range t {
		for i := range t[c] {
			t[c][i] = float32((float64(i)/255 - float64(preprocess.Mean[c])) / float64(preprocess.Std[c]))
		}
	}
	return t
}()

// crop samples img at every input pixel, normalises, and writes planes R, G, B
// of input.H rows of input.W values to dst, which must hold exactly that.
// Sampling is preprocess.Crop's: bilinear, a neighbour outside the picture is
// the mean colour, 0. It allocates nothing.
func (w *warp) crop(dst []float32, img *image.NRGBA) {
	area, width := w.input.Area(), w.input.W
	for v := range w.input.H {
		row := rowOf(w, v, img)
		r, g, b := dst[v*width:][:width], dst[area+v*width:][:width], dst[2*area+v*width:][:width]
		clear(r)
		clear(g)
		clear(b)
		lo, hi := row.touching()
		from, to := row.inside(lo, hi)
		row.careful(r, g, b, lo, from)
		row.fast(r[from:to], g[from:to], b[from:to], from)
		row.careful(r, g, b, to, hi)
	}
}

// row walks along one row of the input. Places are in the picture, in units of
// 2^-32 pixels, so that steps add up without error.
type row struct {
	img    *image.NRGBA
	w, h   int     // of the picture
	n      int     // input pixels of the row
	x, y   float64 // the place of u = 0
	dx, dy float64 // the step
}

const one = 1 << 32 // a pixel, in units of places

func rowOf(w *warp, v int, img *image.NRGBA) row {
	x, y := w.toImage(0, float64(v))
	return row{img: img, w: img.Rect.Dx(), h: img.Rect.Dy(), n: w.input.W, x: x, y: y, dx: w.xu, dy: w.yu}
}

// at returns the place of u in units of 2^-32 pixels.
func (r *row) at(u int) (x, y int64) {
	return int64((r.x + float64(u)*r.dx) * one), int64((r.y + float64(u)*r.dy) * one)
}

// touching returns the range of u outside which every sample is 0; it may be
// a little too wide.
func (r *row) touching() (lo, hi int) {
	a, b := span(r.x, r.dx, -1, float64(r.w), 0, float64(r.n))
	a, b = span(r.y, r.dy, -1, float64(r.h), a, b)
	if !(a <= b) {
		return 0, 0
	}
	lo, hi = max(int(a)-1, 0), min(int(b)+2, r.n)
	return lo, max(lo, hi)
}

// inside returns the part of lo..hi in which all four neighbours of every
// sample are in the picture.
func (r *row) inside(lo, hi int) (from, to int) {
	a, b := span(r.x, r.dx, 0, float64(r.w-1), float64(lo), float64(hi))
	a, b = span(r.y, r.dy, 0, float64(r.h-1), a, b)
	if !(a <= b) {
		return lo, lo
	}
	from, to = max(int(a), lo), min(int(b)+1, hi)
	for from < to && !r.within(from, from) {
		from++
	}
	for from < to && !r.within(from, to-1) {
		to--
	}
	return from, to
}

// within reports whether the walk from first ends at last with all four
// neighbours in the picture.
func (r *row) within(first, last int) bool {
	x, y := r.at(first)
	dx, dy := r.step()
	x, y = x+int64(last-first)*dx, y+int64(last-first)*dy
	return x >= 0 && x>>32 < int64(r.w-1) && y >= 0 && y>>32 < int64(r.h-1)
}

func (r *row) step() (dx, dy int64) { return int64(r.dx * one), int64(r.dy * one) }

// span returns the part of lo..hi in which low <= x + d*u <= high.
func span(x, d, low, high, lo, hi float64) (float64, float64) {
	if d == 0 {
		if x < low || x > high {
			return 1, 0
		}
		return lo, hi
	}
	a, b := (low-x)/d, (high-x)/d
	if a > b {
		a, b = b, a
	}
	return max(lo, a), min(hi, b)
}

// careful samples u in lo..hi, testing every neighbour.
func (r *row) careful(red, green, blue []float32, lo, hi int) {
	for u := lo; u < hi; u++ {
		x, y := r.at(u)
		left, top := int(x>>32), int(y>>32)
		fx, fy := fraction(x), fraction(y)
		for i, weight := range [4]float32{(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy} {
			px, py := left+i%2, top+i/2
			if px < 0 || px >= r.w || py < 0 || py >= r.h {
				continue
			}
			p := r.img.Pix[py*r.img.Stride+4*px:][:4]
			red[u] += weight * normalised[0][p[0]]
			green[u] += weight * normalised[1][p[1]]
			blue[u] += weight * normalised[2][p[2]]
		}
	}
}

// fraction returns the part of a place after its pixel, 0..1.
func fraction(x int64) float32 { return float32(int32(uint32(x)>>8)) * (1.0 / (1 << 24)) }

// fast samples from the row's pixel u on; all neighbours must be in the picture.
func (r *row) fast(red, green, blue []float32, u int) {
	x, y := r.at(u)
	dx, dy := r.step()
	pix, stride := r.img.Pix, r.img.Stride
	green, blue = green[:len(red)], blue[:len(red)]
	for i := range red {
		fx, fy := fraction(x), fraction(y)
		offset := int(y>>32)*stride + 4*int(x>>32)
		p, q := pix[offset:][:8:8], pix[offset+stride:][:8:8]
		w3 := fx * fy
		w1, w2 := fx-w3, fy-w3
		w0 := 1 - fx - w2
		red[i] = w0*normalised[0][p[0]] + w1*normalised[0][p[4]] + w2*normalised[0][q[0]] + w3*normalised[0][q[4]]
		green[i] = w0*normalised[1][p[1]] + w1*normalised[1][p[5]] + w2*normalised[1][q[1]] + w3*normalised[1][q[5]]
		blue[i] = w0*normalised[2][p[2]] + w1*normalised[2][p[6]] + w2*normalised[2][q[2]] + w3*normalised[2][q[6]]
		x, y = x+dx, y+dy
	}
}

// pyramid is a picture and its halves: of each level the next is the 2x2 mean.
type pyramid []*image.NRGBA

const (
	pyramidLevels = 5
	pyramidLeast  = 16 // pixels of the shorter side of the smallest level
)

// newPyramid halves the picture while its halves are of use.
func newPyramid(img *image.NRGBA) pyramid {
	levels := pyramid{img}
	for len(levels) < pyramidLevels && min(img.Rect.Dx(), img.Rect.Dy()) >= 2*pyramidLeast {
		img = halve(img)
		levels = append(levels, img)
	}
	return levels
}

// bytes returns the memory that the levels take.
func (p pyramid) bytes() (n int64) {
	for _, img := range p {
		n += int64(len(img.Pix))
	}
	return n
}

// crop samples the smallest level that is not smaller than the crop.
func (p pyramid) crop(dst []float32, w warp) {
	level := 0
	for level+1 < len(p) && w.scale() >= 2 {
		w, level = w.halved(), level+1
	}
	w.crop(dst, p[level])
}

// halve returns the means of 2x2 pixels, rounded; an odd last row or column is
// dropped.
func halve(img *image.NRGBA) *image.NRGBA {
	w, h := img.Rect.Dx()/2, img.Rect.Dy()/2
	half := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		top, bottom := img.Pix[2*y*img.Stride:][:8*w], img.Pix[(2*y+1)*img.Stride:][:8*w]
		out := half.Pix[y*half.Stride:][:4*w]
		for i := range out {
			at := i/4*8 + i%4
			sum := int(top[at]) + int(top[at+4]) + int(bottom[at]) + int(bottom[at+4])
			out[i] = byte((sum + 2) / 4)
		}
	}
	return half
}
