package coco

import (
	"fmt"

	"github.com/evopose/evopose/preprocess"
)

var detectionList = list{"detection", `"bbox": [x, y, width, height]`, checkBox}

// Detection is a box in which a detector saw a person. Score is 0..1.
type Detection struct {
	ImageID int64
	Box     preprocess.Box
	Score   float64
}

// ReadDetections reads person boxes in COCO's results format, a list of
// image_id, category_id (1: person), bbox (x, y, width, height) and score, in
// the file's order. Those of other categories, of pictures that d has not, and
// of size 0 are left out; leftOut counts them.
//
// The error names the file and the detection, from 0: what is no such list, a
// missing key, a number out of range, or no box that is left.
func ReadDetections(path string, d *Dataset) (all []Detection, leftOut int, err error) {
	entries, leftOut, err := detectionList.read(path, d)
	for _, e := range entries {
		all = append(all, Detection{ImageID: *e.ImageID, Score: *e.Score,
			Box: preprocess.Box{X: e.Box[0], Y: e.Box[1], W: e.Box[2], H: e.Box[3]}})
	}
	return all, leftOut, err
}

// checkBox checks a detection, and keeps what has a size.
func checkBox(e *entry) (keep bool, err error) {
	if len(e.Box) != 4 {
		return false, fmt.Errorf("bbox has %d numbers; want 4: x, y, width, height", len(e.Box))
	}
	if !(*e.Score >= 0 && *e.Score <= 1) {
		return false, fmt.Errorf("score is %v; want 0 to 1", *e.Score)
	}
	for _, v := range e.Box {
		if !inRange(v) {
			return false, fmt.Errorf("bbox %v: a number is beyond %.0e pixels", e.Box, preprocess.MaxCoordinate)
		}
	}
	return e.Box[2] > 0 && e.Box[3] > 0, nil
}
