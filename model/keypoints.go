package model

// Keypoints is the number of keypoints of a person, in COCO order.
const Keypoints = 17

// KeypointNames are the names of the keypoints, in COCO order.
var KeypointNames = [Keypoints]string{
	"nose", "left_eye", "right_eye", "left_ear", "right_ear",
	"left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
	"left_wrist", "right_wrist", "left_hip", "right_hip",
	"left_knee", "right_knee", "left_ankle", "right_ankle",
}

// FlipPairs maps each keypoint to its mirror image: left to right and back.
var FlipPairs = [Keypoints]int{0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15}

// Amplitude is the peak value of a heatmap target; a keypoint's score is the
// heatmap's maximum divided by it.
const Amplitude = 255

// Sigma returns the standard deviation, in heatmap pixels, of the Gaussian
// targets of a network with the given heatmap: 2*H/64, so 4, 6 and 8 for
// EvoPose2D S, M and L.
func Sigma(heatmap Size) float64 { return 2 * float64(heatmap.H) / 64 }
