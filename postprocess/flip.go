package postprocess

import "github.com/evopose/evopose/model"

// MergeFlip averages a crop's heatmaps with those of its mirror image, in
// place: the mirrored maps are mirrored back, left and right channels swapped,
// and moved right by one column (column 0 keeps its value).
//
// Why one column: a network of stride s = W_in/W_out puts input column u at u/s.
// The mirrored input has it at W_in-1-u, hence at W_out - (1+u)/s, and mirrored
// back at u/s - (1 - 1/s), too far left: by 1/2 for stride 2, by 3/4 for stride
// 4. After the shift it is 1/s too far right, in the average half of that: for
// stride 2, which S, M and L have, 1/4 column instead of -1/4 unshifted, for
// stride 4 1/8 instead of -3/8. It is the decoding the published accuracy was
// measured with.
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
