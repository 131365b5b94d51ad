package model

import "math"

// Scaling holds what compound scaling derives from the input size: depth
// 1.2^phi and width 1.1^phi with phi = ln(size/224)/ln(1.15) and size the mean
// of height and width (EvoPose2D section III, after EfficientNet).
type Scaling struct {
	Depth, Width float64
	// DropConnect is the rate of the last block; block b of B has
	// DropConnect*b/B.
	DropConnect float64
}

// NewScaling returns the scaling of an input size in pixels.
func NewScaling(input Size) Scaling {
	size := float64(input.H+input.W) / 2
	phi := math.Log(size/224) / math.Log(1.15)
	return Scaling{
		Depth:       math.Pow(1.2, phi),
		Width:       math.Pow(1.1, phi),
		DropConnect: dropConnect(size),
	}
}

func dropConnect(size float64) float64 {
	switch {
	case size <= 240:
		return 0.2
	case size <= 300:
		return 0.3
	case size <= 456:
		return 0.4
	}
	return 0.5
}

// Filters scales a number of channels by the width: the nearest multiple of 8,
// at least 8, and 8 more where that lost over a tenth.
func (s Scaling) Filters(n int) int {
	want := float64(n) * s.Width
	got := max(8, int(want+4)/8*8)
	if float64(got) < 0.9*want {
		got += 8
	}
	return got
}

// Repeats scales a number of blocks by the depth, rounding up.
func (s Scaling) Repeats(n int) int { return int(math.Ceil(s.Depth * float64(n))) }
