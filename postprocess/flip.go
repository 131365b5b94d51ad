package postprocess

import "github.com/evopose/evopose/model"

// MergeFlip averages a crop's heatmaps with those of its mirror image, in
// place: the mirrored maps are mirrored back, left and right channels swapped,
// and moved right by one column (column 0 keeps its value), because mirroring
// W pixels sends column x to W-1-x where the input's geometry, with stride, has
// it at W-x.
func MergeFlip(heatmaps, flipped []float32, size model.Size) {
	area := size.Area()
	for k, pair := range model.FlipPairs {
		to, from := heatmaps[k*area:(k+1)*area], flipped[pair*area:(pair+1)*area]
		for y := range size.H {
			mergeRow(to[y*size.W:(y+1)*size.W], from[y*size.W:(y+1)*size.W])
		}
	}
}

// mergeRow averages a row with the mirror of another, moved right by one.
func mergeRow(to, from []float32) {
	last := len(from) - 1
	to[0] = (to[0] + from[last]) / 2
	for x := 1; x < len(to); x++ {
		to[x] = (to[x] + from[last-(x-1)]) / 2
	}
}
