package postprocess

import "math"

const (
	// spread is the width of the kernel that a map is smoothed with, relative to
	// that of OKS. On coco/val and lspet/val 0.5 gained AP for XS and S or left
	// it, and M 0.002 on one for as much on the other, without loss of PCK@0.2;
	// 0.7 and 1 lost PCK@0.2 for S. docs/evaluation.md has the figures.
	spread = 0.5
	// maxCells bounds the cells along an axis, so that they live on the stack.
	maxCells = 48
)

// heaviest returns the highest pixel of the peak where keypoint k most likely
// is, and its value; without a positive, finite pixel there, the value is 0.
//
// Where a network wavers between two places, a map has two peaks, and the
// higher one need not be the heavier one. A map as the mean squared error
// trains it is the keypoint's probability times the target's Gaussian, so the
// place of the highest expected OKS is about the maximum of the map smoothed
// with OKS's own kernel. In a crop that kernel's sigma is about OKSSigmas[k]
// times the crop's height: OKS has 2 OKSSigmas[k] sqrt(area), and a person of
// 0.53 of a 3:4 box that is padded to 1.25 has a sqrt(area) of half the height.
// Cells of one sigma of the targets are fine enough to choose a peak by; DARK
// finds its place.
func (m heatmap) heaviest(k int, sigma float64) (x, y int, top float32) {
	side := max(1, int(sigma), (max(m.w, m.h)+maxCells-1)/maxCells)
	var sums, smooth cells
	m.pool(&sums, side)
	g := newGaussian(spread * OKSSigmas[k] * float64(m.h) / float64(side))
	g.smooth(&smooth, &sums)
	g.smooth(&sums, &smooth)
	cx, cy := sums.highest()
	x, y, top = m.highest((cx-1)*side, (cy-1)*side, (cx+2)*side, (cy+2)*side)
	for top > 0 { // what is highest there may be on a slope
		u, v, higher := m.highest(x-1, y-1, x+2, y+2)
		if !(higher > top) {
			break
		}
		x, y, top = u, v, higher
	}
	return x, y, top
}

// cells are sums over squares of a map, row by row.
type cells struct {
	sum  [maxCells * maxCells]float64
	w, h int
}

// pool sums squares of side x side pixels, cut off at the map's ends. One with a
// value that is no number counts as 0.
func (m heatmap) pool(c *cells, side int) {
	c.w, c.h = (m.w+side-1)/side, (m.h+side-1)/side
	for y := range m.h {
		line := m.data[y*m.w : (y+1)*m.w]
		sums := c.sum[y/side*c.w:][:c.w]
		for i := range sums {
			var sum float64
			for _, v := range line[i*side : min(m.w, (i+1)*side)] {
				sum += float64(v)
			}
			sums[i] += sum
		}
	}
	for i, sum := range c.sum[:c.w*c.h] {
		if math.IsInf(sum, 0) || math.IsNaN(sum) {
			c.sum[i] = 0
		}
	}
}

// highest returns the first of the highest cells.
func (c *cells) highest() (x, y int) {
	best := 0
	for i, sum := range c.sum[:c.w*c.h] {
		if sum > c.sum[best] {
			best = i
		}
	}
	return best % c.w, best / c.w
}

// gaussian is a kernel's weights at distances 0, 1, ... in cells, up to three sigma.
type gaussian struct {
	weight [maxCells]float64
	taps   int
}

func newGaussian(sigma float64) (g gaussian) {
	g.taps = min(maxCells, 1+int(math.Ceil(3*sigma)))
	for i := range g.taps {
		d := float64(i) / sigma
		g.weight[i] = math.Exp(-d * d / 2)
	}
	return g
}

// smooth writes the weighted means along src's rows to dst, transposed: twice, it
// smooths both axes. At the ends the kernel is cut off, and what is left of it
// weighs as much as the whole.
func (g *gaussian) smooth(dst, src *cells) {
	dst.w, dst.h = src.h, src.w
	for x := range src.w {
		first, end := max(0, x-g.taps+1), min(src.w, x+g.taps)
		var weights [2 * maxCells]float64
		var all float64
		for i := first; i < end; i++ {
			weights[i-first] = g.weight[max(i-x, x-i)]
			all += weights[i-first]
		}
		for y := range src.h {
			var sum float64
			for i, v := range src.sum[y*src.w+first : y*src.w+end] {
				sum += v * weights[i]
			}
			dst.sum[x*src.h+y] = sum / all
		}
	}
}
