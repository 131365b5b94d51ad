package postprocess

import (
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
// affine. No half pixel is added, because targets are centred on
// floor(u*W_out/W_in + 0.5): heatmap pixel x stands for the input's x*W_in/W_out.
// A keypoint's score is its peak over model.Amplitude, at most 1.
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
