// Package postprocess turns heatmaps into people: peaks with sub-pixel places,
// keypoints in the picture, scores, suppression of doubles, and drawings.
package postprocess

import (
	"fmt"
	"math"

	"github.com/evopose/evopose/model"
)

// Decode is a way to read a keypoint's place from its heatmap.
type Decode int

// The ways to decode. The zero value is DARK, the most accurate.
const (
	// DARK fits a Gaussian to the peak (Zhang et al., CVPR 2020).
	DARK Decode = iota
	// Quarter moves a quarter pixel toward the higher neighbour, as the
	// EvoPose2D paper does.
	Quarter
	// Argmax takes the highest pixel as it is.
	Argmax
)

var decodeNames = map[Decode]string{DARK: "dark", Quarter: "quarter", Argmax: "argmax"}

// String returns the name that ParseDecode reads.
func (d Decode) String() string { return decodeNames[d] }

// ParseDecode reads "argmax", "quarter" or "dark".
func ParseDecode(name string) (Decode, error) {
	for d, n := range decodeNames {
		if n == name {
			return d, nil
		}
	}
	return 0, fmt.Errorf("decode %q: want argmax, quarter or dark", name)
}

// Peak is the place and height of a heatmap's maximum.
type Peak struct {
	X, Y float64 // in heatmap pixels
	Max  float32 // at the highest pixel; 0 where no pixel is above 0
}

// Peaks writes the peak of each of len(dst) heatmaps of the given size, which
// follow each other in heatmaps. A map without a positive, finite value has
// its peak at (0, 0) with Max 0. It does not allocate.
func Peaks(dst []Peak, heatmaps []float32, size model.Size, d Decode) {
	area := size.Area()
	sigma := model.Sigma(size)
	for k := range dst {
		m := heatmap{heatmaps[k*area : (k+1)*area], size.W, size.H}
		x, y, top := m.argmax()
		dst[k] = Peak{X: float64(x), Y: float64(y), Max: top}
		if top == 0 {
			continue
		}
		switch d {
		case Quarter:
			dx, dy := m.quarter(x, y)
			dst[k].X, dst[k].Y = dst[k].X+dx, dst[k].Y+dy
		case DARK:
			dx, dy := m.dark(x, y, sigma)
			dst[k].X, dst[k].Y = dst[k].X+dx, dst[k].Y+dy
		}
	}
}

// heatmap is one map, row by row.
type heatmap struct {
	data []float32
	w, h int
}

func (m heatmap) at(x, y int) float32 { return m.data[y*m.w+x] }

// argmax returns the first of the highest finite values above 0.
func (m heatmap) argmax() (x, y int, top float32) {
	best := 0
	for i, v := range m.data {
		if v > top && v <= math.MaxFloat32 {
			best, top = i, v
		}
	}
	return best % m.w, best / m.w, top
}

// quarter returns the shift of a quarter pixel toward the higher neighbour on
// each axis, for peaks with 1 < x < W-1 and 1 < y < H-1 (EvoPose2D's decoding).
func (m heatmap) quarter(x, y int) (dx, dy float64) {
	if x <= 1 || x >= m.w-1 || y <= 1 || y >= m.h-1 {
		return 0, 0
	}
	return toward(m.at(x-1, y), m.at(x+1, y)), toward(m.at(x, y-1), m.at(x, y+1))
}

func toward(before, after float32) float64 {
	switch {
	case after > before:
		return 0.25
	case after < before:
		return -0.25
	}
	return 0
}

// dark returns the shift from the highest pixel to the maximum of a Gaussian:
// the map is smoothed with a Gaussian of the targets' own sigma, and one Newton
// step is taken on its logarithm D from the peak,
//
//	shift = -H^-1 g, g = D', H = D''
//
// by central differences (Zhang et al., "Distribution-Aware Coordinate
// Representation for Human Pose Estimation", CVPR 2020, equations 3 to 9). The
// log of a Gaussian is quadratic, so that the step is exact on a clean target,
// and so is a Gaussian smoothed by a Gaussian. The differences span `step`
// pixels, in proportion to sigma: noise enters them less than at span 1. Only
// the smoothed values of that stencil are computed.
//
// Near a border the smoothing window is cut off on one side, which would pull
// the peak inwards; there the stencil is read from the raw map.
func (m heatmap) dark(x, y int, sigma float64) (dx, dy float64) {
	step := max(1, int(math.Round(sigma/2)))
	var d [3][3]float64 // d[1+j][1+i] = log of the map at (x+i*step, y+j*step)
	if !m.logStencil(&d, x, y, step, sigma) && !m.logStencil(&d, x, y, step, 0) {
		step = 1
		if !m.logStencil(&d, x, y, step, 0) {
			return m.quarter(x, y)
		}
	}
	s := float64(step)
	gx, gy := (d[1][2]-d[1][0])/2, (d[2][1]-d[0][1])/2
	hxx, hyy := d[1][2]-2*d[1][1]+d[1][0], d[2][1]-2*d[1][1]+d[0][1]
	hxy := (d[2][2] - d[2][0] - d[0][2] + d[0][0]) / 4
	det := hxx*hyy - hxy*hxy
	if !(hxx < 0 && det > 0) { // not a maximum
		return m.quarter(x, y)
	}
	dx, dy = s*(hxy*gy-hyy*gx)/det, s*(hxy*gx-hxx*gy)/det
	if !(math.Abs(dx) <= s && math.Abs(dy) <= s) { // beyond the stencil it is no fit
		return m.quarter(x, y)
	}
	return dx, dy
}

// maxRadius bounds the smoothing window: two sigma at the largest served
// heatmap (sigma 8).
const maxRadius = 16

// logStencil fills the logarithms at a peak's stencil, smoothed with a Gaussian
// of the given sigma cut off at two sigma (0: not smoothed). It reports false
// when the stencil or its window leaves the map or a value is not positive.
func (m heatmap) logStencil(d *[3][3]float64, x, y, step int, sigma float64) bool {
	radius := min(maxRadius, int(math.Ceil(2*sigma)))
	reach := radius + step
	if x < reach || y < reach || x >= m.w-reach || y >= m.h-reach {
		return false
	}
	var kernel [2*maxRadius + 1]float64
	for i := -radius; i <= radius; i++ {
		kernel[i+radius] = 1
		if sigma > 0 {
			kernel[i+radius] = math.Exp(-float64(i*i) / (2 * sigma * sigma))
		}
	}
	for j := range 3 {
		for i := range 3 {
			v := m.smooth(x+(i-1)*step, y+(j-1)*step, radius, kernel[:2*radius+1])
			if !(v > 1e-10 && v < math.MaxFloat64) {
				return false
			}
			d[j][i] = math.Log(v)
		}
	}
	return true
}

// smooth returns the sum of the window around a pixel, weighted by the kernel
// on both axes; negative noise counts as it is.
func (m heatmap) smooth(x, y, radius int, kernel []float64) float64 {
	var sum float64
	for j, kj := range kernel {
		start := (y+j-radius)*m.w + x - radius
		row := m.data[start : start+len(kernel)]
		var line float64
		for i, v := range row {
			line += kernel[i] * float64(v)
		}
		sum += kj * line
	}
	return sum
}
