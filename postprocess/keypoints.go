package postprocess

import (
	"math"
	"slices"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/preprocess"
)

// Keypoint is a named place in the picture.
type Keypoint struct {
	Name  string  `json:"name"`  // as in model.KeypointNames
	X     float64 `json:"x"`     // pixels of the upright picture, to the right
	Y     float64 `json:"y"`     // pixels of the upright picture, downwards
	Score float64 `json:"score"` // 0..1
}

// Person is a box and the keypoints found in it.
type Person struct {
	Box       [4]float64 `json:"box"`       // x, y, w, h in pixels of the upright picture
	Score     float64    `json:"score"`     // 0..1
	Keypoints []Keypoint `json:"keypoints"` // 17 in COCO order
}

// Keypoints decodes the 17 heatmaps of a crop and maps their peaks into the
// picture: heatmap pixels times the ratio of input to heatmap, then the crop's
// affine. A keypoint's score is its peak over model.Amplitude, 0..1.
func Keypoints(heatmaps []float32, size model.Size, a preprocess.Affine, d Decode) []Keypoint {
	var peaks [model.Keypoints]Peak
	Peaks(peaks[:], heatmaps, size, d)
	sx, sy := float64(a.Input.W)/float64(size.W), float64(a.Input.H)/float64(size.H)
	keypoints := make([]Keypoint, model.Keypoints)
	for k, p := range peaks {
		x, y := a.ToImage(p.X*sx, p.Y*sy)
		score := min(1, float64(p.Max)/model.Amplitude)
		keypoints[k] = Keypoint{Name: model.KeypointNames[k], X: x, Y: y, Score: score}
	}
	return keypoints
}

// confident is the score above which a keypoint counts for its person's score.
const confident = 0.2

// PersonScore returns the mean score of the keypoints above 0.2, times the
// box's score; 0 when there are none.
func PersonScore(keypoints []Keypoint, boxScore float64) float64 {
	var sum float64
	n := 0
	for _, k := range keypoints {
		if k.Score > confident {
			sum += k.Score
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return boxScore * sum / float64(n)
}

// OKSSigmas are COCO's standard deviations of each keypoint's labels, relative
// to the square root of the person's area.
var OKSSigmas = [model.Keypoints]float64{.026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089}

// OKS returns the object keypoint similarity of two people of 17 keypoints,
// 0..1: the mean of exp(-d^2 / (2 area k^2)) with k twice the keypoint's sigma
// (cocodataset.org, "keypoint evaluation"). area is in square pixels, above 0.
func OKS(a, b []Keypoint, area float64) float64 {
	var sum float64
	for i, sigma := range OKSSigmas {
		dx, dy := a[i].X-b[i].X, a[i].Y-b[i].Y
		k := 2 * sigma
		sum += math.Exp(-(dx*dx + dy*dy) / (2 * (area + math.SmallestNonzeroFloat64) * k * k))
	}
	return sum / float64(len(OKSSigmas))
}

// Suppress returns the indices, in rising order, of the people to keep: going
// down by score, one whose OKS with a kept one exceeds the threshold is left
// out (non-maximum suppression). The area is the mean of the two boxes'.
func Suppress(people []Person, threshold float64) []int {
	order := make([]int, len(people))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case people[i].Score > people[j].Score:
			return -1
		case people[i].Score < people[j].Score:
			return 1
		}
		return 0
	})
	kept := []int{}
	for _, i := range order {
		double := slices.ContainsFunc(kept, func(j int) bool { return similarity(&people[i], &people[j]) > threshold })
		if !double {
			kept = append(kept, i)
		}
	}
	slices.Sort(kept)
	return kept
}

func similarity(a, b *Person) float64 {
	return OKS(a.Keypoints, b.Keypoints, (a.Box[2]*a.Box[3]+b.Box[2]*b.Box[3])/2)
}

// COCOResult is a person in the COCO results format.
type COCOResult struct {
	ImageID    int64     `json:"image_id"`
	CategoryID int       `json:"category_id"` // 1: person
	Keypoints  []float64 `json:"keypoints"`   // 51: x, y, score of each
	Score      float64   `json:"score"`
}

// COCO returns people in the COCO results format, which COCO's evaluation and
// its clients read.
func COCO(people []Person, imageID int64) []COCOResult {
	results := make([]COCOResult, len(people))
	for i, p := range people {
		r := COCOResult{ImageID: imageID, CategoryID: 1, Score: p.Score}
		for _, k := range p.Keypoints {
			r.Keypoints = append(r.Keypoints, k.X, k.Y, k.Score)
		}
		results[i] = r
	}
	return results
}
