package coco

import (
	"encoding/json"
	"fmt"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/preprocess"
	"github.com/google/renameio/v2/maybe"
)

var resultList = list{"result", `"keypoints": [x, y, score, ...]`, checkKeypoints}

// ReadResults reads people that any program found, in COCO's results format for
// keypoints: a list of image_id, category_id (1: person), keypoints (x, y,
// score of each of the 17, pixels) and score, in the file's order. An
// annotation_id, which WriteResults adds, is the label in whose box the person
// was looked for. Those of other categories and of pictures that d has not are
// left out; leftOut counts them.
//
// The error names the file and the result, from 0: what is no such list, a
// missing key, a number out of range, or no result that is left.
func ReadResults(path string, d *Dataset) (all []Result, leftOut int, err error) {
	entries, leftOut, err := resultList.read(path, d)
	return newResults(entries), leftOut, err
}

func newResults(entries []entry) []Result {
	all := make([]Result, len(entries))
	for i, e := range entries {
		all[i] = Result{ImageID: *e.ImageID, AnnotationID: e.AnnotationID, Score: *e.Score}
		for k := range all[i].Keypoints {
			all[i].Keypoints[k] = Point{X: e.Keypoints[3*k], Y: e.Keypoints[3*k+1], Score: e.Keypoints[3*k+2]}
		}
	}
	return all
}

// checkKeypoints checks a person that was found.
func checkKeypoints(e *entry) (keep bool, err error) {
	if len(e.Keypoints) != 3*model.Keypoints {
		return false, fmt.Errorf("keypoints has %d numbers; want %d: x, y, score of each of %d", len(e.Keypoints), 3*model.Keypoints, model.Keypoints)
	}
	for k, name := range model.KeypointNames {
		if x, y := e.Keypoints[3*k], e.Keypoints[3*k+1]; !inRange(x) || !inRange(y) {
			return false, fmt.Errorf("%s at (%v, %v): beyond %.0e pixels", name, x, y, preprocess.MaxCoordinate)
		}
	}
	return true, nil
}

// WriteResults writes results in COCO's results format for keypoints, which
// pycocotools' loadRes reads, with every digit, so that it gives the figures of
// Evaluate. The file is replaced as a whole or not at all.
func WriteResults(path string, results []Result) error {
	list := make([]postprocess.COCOResult, len(results))
	for i, r := range results {
		list[i] = postprocess.COCOResult{ImageID: r.ImageID, AnnotationID: r.AnnotationID, CategoryID: personCategoryID, Score: r.Score,
			Keypoints: make([]float64, 0, 3*model.Keypoints)}
		for _, p := range r.Keypoints {
			list[i].Keypoints = append(list[i].Keypoints, p.X, p.Y, p.Score)
		}
	}
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return maybe.WriteFile(path, append(data, '\n'), 0o644)
}
