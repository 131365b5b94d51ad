package postprocess

import (
	"cmp"
	"math"
	"slices"

	"github.com/evopose/evopose/model"
)

// OKSSigmas are COCO's standard deviations of each keypoint's labels, relative
// to the square root of the person's area.
var OKSSigmas = [model.Keypoints]float64{.026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089}

// SuppressThreshold is the usual threshold of Suppress: above it two poses are
// the same person's, as in the evaluations of SimpleBaseline and HRNet.
const SuppressThreshold = 0.9

// OKS returns the object keypoint similarity of two people, 0..1: the mean of
//
//	exp(-d^2 / (2 area k^2)), k = 2 sigma,
//
// over the keypoints of a whose score is above 0 (in labels: that are
// labelled), where d is the distance between the two people's (COCO's keypoint
// evaluation, as pycocotools computes it). Without such a keypoint it is 0.
// Both are in COCO order; area is the person's in square pixels.
func OKS(a, b []Keypoint, area float64) float64 {
	const epsilon = 0x1p-52 // keeps an area of 0 from dividing 0 by 0
	var sum float64
	n := 0
	for i := range min(len(a), len(b), len(OKSSigmas)) {
		if !(a[i].Score > 0) {
			continue
		}
		n++
		dx, dy := a[i].X-b[i].X, a[i].Y-b[i].Y
		k := 2 * OKSSigmas[i]
		if s := math.Exp(-(dx*dx + dy*dy) / (2 * (area + epsilon) * k * k)); s <= 1 { // not NaN
			sum += s
		}
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// Suppress returns the indices, in rising order, of the people to keep: going
// down by score, of equal scores the first first, one whose OKS with a kept one
// exceeds the threshold is left out (greedy non-maximum suppression). The area
// is the mean of the two boxes'.
func Suppress(people []Person, threshold float64) []int {
	order := make([]int, len(people))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(people[j].Score, people[i].Score) })
	kept := []int{}
	for _, i := range order {
		if !slices.ContainsFunc(kept, func(j int) bool { return similarity(&people[j], &people[i]) > threshold }) {
			kept = append(kept, i)
		}
	}
	slices.Sort(kept)
	return kept
}

func similarity(a, b *Person) float64 {
	return OKS(a.Keypoints, b.Keypoints, (a.Box[2]*a.Box[3]+b.Box[2]*b.Box[3])/2)
}
