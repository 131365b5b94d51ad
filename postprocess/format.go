package postprocess

import (
	"encoding/json"
	"math"
)

// decimals is how finely coordinates (pixels) and scores are written: to
// 1/10000, a tenth of what two ways to the same numbers may differ by.
const decimals = 1e4

func rounded(v float64) float64 {
	return math.Round(v*decimals)/decimals + 0 // + 0: no "-0"
}

// MarshalJSON writes {"name", "x", "y", "score"} with four decimals.
func (k Keypoint) MarshalJSON() ([]byte, error) {
	type plain Keypoint
	k.X, k.Y, k.Score = rounded(k.X), rounded(k.Y), rounded(k.Score)
	return json.Marshal(plain(k))
}

// MarshalJSON writes {"box", "score", "keypoints"}: the box as it was given,
// the score with four decimals.
func (p Person) MarshalJSON() ([]byte, error) {
	type plain Person
	p.Score = rounded(p.Score)
	return json.Marshal(plain(p))
}

// COCOResult is a person in the COCO results format.
type COCOResult struct {
	ImageID int64 `json:"image_id"`
	// AnnotationID is the label in whose box the person was looked for; 0:
	// none. COCO's own format has it not, and its readers pass over it.
	AnnotationID int64     `json:"annotation_id,omitempty"`
	CategoryID   int       `json:"category_id"` // 1: person
	Keypoints    []float64 `json:"keypoints"`   // 51: x, y, score of each
	Score        float64   `json:"score"`
}

// COCO returns people in the COCO results format, which COCO's evaluation and
// its clients read, with four decimals.
func COCO(people []Person, imageID int64) []COCOResult {
	results := make([]COCOResult, len(people))
	for i, p := range people {
		points := make([]float64, 0, 3*len(p.Keypoints))
		for _, k := range p.Keypoints {
			points = append(points, rounded(k.X), rounded(k.Y), rounded(k.Score))
		}
		results[i] = COCOResult{ImageID: imageID, CategoryID: 1, Keypoints: points, Score: rounded(p.Score)}
	}
	return results
}
