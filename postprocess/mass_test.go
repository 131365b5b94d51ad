package postprocess

import (
	"math"
	"testing"

	"github.com/evopose/evopose/model"
)

// Two places of nearly the same keypoint outweigh a higher peak far away.
func TestHeavierPeakWins(t *testing.T) {
	const hip = 11
	for _, size := range sizes {
		sigma := model.Sigma(size)
		maps := make([]float32, model.Keypoints*size.Area())
		m := maps[hip*size.Area():]
		m = m[:size.Area()]
		x, y := float64(size.W/4), float64(size.H/3)
		add(m, size, x, y, sigma, sigma, 100)
		add(m, size, x, y+3*sigma, sigma, sigma, 90)
		add(m, size, 3*x, 2*y, sigma, sigma, 120)
		var peaks [model.Keypoints]Peak
		Peaks(peaks[:], maps, size, DARK)
		if p := peaks[hip]; math.Hypot(p.X-x, p.Y-y) > sigma || math.Abs(float64(p.Max)-100) > 2 {
			t.Errorf("%v: dark found %+v, want the heavier (%v, %v)", size, p, x, y)
		}
		Peaks(peaks[:], maps, size, Argmax)
		if p := peaks[hip]; math.Hypot(p.X-3*x, p.Y-2*y) > 1 {
			t.Errorf("%v: argmax found %+v, want the higher (%v, %v)", size, p, 3*x, 2*y)
		}
	}
}

// Pooled and smoothed along one axis after the other is what the plain formula
// gives, cell by cell, whatever part of the kernel the map's ends cut off.
func TestSmoothAgreesWithThePlainFormula(t *testing.T) {
	for _, size := range []model.Size{{H: 128, W: 96}, {H: 13, W: 30}, {H: 1, W: 7}, {H: 90, W: 100}} {
		for _, sigma := range []float64{0.1, 0.6, 2.4} {
			const side = 4
			raw := make([]float32, size.Area())
			whiteNoise(newRand(), raw, 1)
			var sums, across, got cells
			heatmap{raw, size.W, size.H}.pool(&sums, side)
			g := newGaussian(sigma)
			g.smooth(&across, &sums)
			g.smooth(&got, &across)
			reach := int(math.Ceil(3 * sigma))
			for v := range got.h {
				for u := range got.w {
					var sum, weights float64
					seen := map[[2]int]bool{}
					for y := range size.H {
						for x := range size.W {
							dx, dy := x/side-u, y/side-v
							if max(dx, -dx, dy, -dy) > reach {
								continue
							}
							w := math.Exp(-float64(dx*dx+dy*dy) / (2 * sigma * sigma))
							sum += w * float64(raw[y*size.W+x])
							if cell := [2]int{x / side, y / side}; !seen[cell] {
								seen[cell] = true
								weights += w
							}
						}
					}
					want := sum / weights
					if d := math.Abs(got.sum[v*got.w+u] - want); !(d < 1e-9*(1+math.Abs(want))) {
						t.Fatalf("%v, sigma %v: cell (%d, %d) is %v, want %v", size, sigma, u, v, got.sum[v*got.w+u], want)
					}
				}
			}
		}
	}
}
