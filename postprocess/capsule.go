package postprocess

import (
	"image"
	"math"

	"golang.org/x/image/vector"
)

// capsule is a line with round ends, or a disc when both ends are one point;
// in pixels, pixel (0, 0) being centred at (0, 0).
type capsule struct{ x0, y0, x1, y1, radius float64 }

// bounds returns the pixels that the capsule may touch.
func (s capsule) bounds() image.Rectangle {
	reach := s.radius + 1
	return image.Rect(
		int(math.Floor(min(s.x0, s.x1)-reach)), int(math.Floor(min(s.y0, s.y1)-reach)),
		int(math.Ceil(max(s.x0, s.x1)+reach))+1, int(math.Ceil(max(s.y0, s.y1)+reach))+1)
}

// clip returns a capsule no longer than it must be to be the same within r, and
// whether it touches r at all: what is within radius of a point in r lies in r
// enlarged by the radius, to which the line is cut (Liang and Barsky's method).
func (s capsule) clip(r image.Rectangle) (capsule, bool) {
	reach := s.radius + 1
	dx, dy := s.x1-s.x0, s.y1-s.y0
	from, to := 0.0, 1.0
	for _, e := range [4][2]float64{ // the line is inside where e[0]*t <= e[1]
		{-dx, s.x0 - (float64(r.Min.X) - reach)}, {dx, float64(r.Max.X) + reach - s.x0},
		{-dy, s.y0 - (float64(r.Min.Y) - reach)}, {dy, float64(r.Max.Y) + reach - s.y0},
	} {
		switch {
		case e[0] < 0:
			from = max(from, e[1]/e[0])
		case e[0] > 0:
			to = min(to, e[1]/e[0])
		case e[1] < 0:
			return s, false
		}
	}
	if from > to {
		return s, false
	}
	return capsule{s.x0 + from*dx, s.y0 + from*dy, s.x0 + to*dx, s.y0 + to*dy, s.radius}, true
}

// trace adds the outline to the raster whose pixel (0, 0) is origin. All
// outlines turn the same way, so that overlapping ones are filled as one.
func (s capsule) trace(raster *vector.Rasterizer, origin image.Point) {
	// A chord of an arc in n pieces is off by radius*(1-cos(pi/2n)); below 1/20 pixel.
	pieces := 4 + int(2*math.Sqrt(s.radius))
	angle := math.Atan2(s.y1-s.y0, s.x1-s.x0) - math.Pi/2
	end := func(x, y float64, half int) {
		for i := range pieces + 1 {
			sin, cos := math.Sincos(angle + math.Pi*(float64(half)+float64(i)/float64(pieces)))
			// A pixel's centre is half a pixel from its corner, where the raster's coordinates begin.
			px, py := float32(x+s.radius*cos-float64(origin.X)+0.5), float32(y+s.radius*sin-float64(origin.Y)+0.5)
			if half+i == 0 {
				raster.MoveTo(px, py)
			} else {
				raster.LineTo(px, py)
			}
		}
	}
	end(s.x1, s.y1, 0)
	end(s.x0, s.y0, 1)
	raster.ClosePath()
}
