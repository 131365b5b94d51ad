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
	// DARK fits a Gaussian to the peak (Zhang et al., CVPR 2020): of several
	// peaks to the heaviest, not the highest.
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
	Max  float32 // at the peak's highest pixel; 0 where no pixel is above 0
}

// Peaks writes the peak of each of len(dst) heatmaps of the given size, which
// follow each other in heatmaps: a person's 17 in COCO order, then the next
// one's. A map without a positive, finite value has its peak at (0, 0) with Max
// 0. The peak is that of the highest pixel, of equal ones the first in reading
// order; DARK takes the one with the most mass around it instead. Places lie
// in [0, W-1] x [0, H-1], whatever the map holds. It does not allocate.
func Peaks(dst []Peak, heatmaps []float32, size model.Size, d Decode) {
	area := size.Area()
	sigma := model.Sigma(size)
	for k := range dst {
		m := heatmap{heatmaps[k*area : (k+1)*area], size.W, size.H}
		var x, y int
		var top float32
		if d == DARK {
			x, y, top = m.heaviest(k%model.Keypoints, sigma)
		}
		if top == 0 {
			x, y, top = m.highest(0, 0, m.w, m.h)
		}
		dst[k] = Peak{X: float64(x), Y: float64(y), Max: top}
		if top == 0 {
			continue
		}
		switch d {
		case Quarter:
			dst[k].X, dst[k].Y = m.quarter(x, y)
		case DARK:
			dst[k].X, dst[k].Y = m.dark(x, y, sigma)
		}
	}
}

// heatmap is one map, row by row.
type heatmap struct {
	data []float32
	w, h int
}

func (m heatmap) at(x, y int) float32 { return m.data[y*m.w+x] }

// highest returns the first of the highest finite values above 0 among the pixels
// of the map from (x0, y0) up to, but without, (x1, y1).
func (m heatmap) highest(x0, y0, x1, y1 int) (x, y int, top float32) {
	x0, x1 = max(0, x0), min(m.w, x1)
	for v := max(0, y0); v < min(m.h, y1); v++ {
		for u, z := range m.data[v*m.w+x0 : v*m.w+x1] {
			if z > top && z <= math.MaxFloat32 {
				x, y, top = x0+u, v, z
			}
		}
	}
	return x, y, top
}

// quarter moves a quarter pixel toward the higher neighbour on each axis, for
// peaks with 1 < x < W-1 and 1 < y < H-1 (EvoPose2D's decoding).
func (m heatmap) quarter(x, y int) (px, py float64) {
	px, py = float64(x), float64(y)
	if x <= 1 || x >= m.w-1 || y <= 1 || y >= m.h-1 {
		return px, py
	}
	return px + toward(m.at(x-1, y), m.at(x+1, y)), py + toward(m.at(x, y-1), m.at(x, y+1))
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
