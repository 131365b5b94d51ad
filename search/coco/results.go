package coco

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/preprocess"
	"github.com/google/renameio/v2/maybe"
)

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
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, fmt.Errorf("results: %w", err)
	}
	if all, leftOut, err = parseResults(data, d); err != nil {
		return nil, 0, fmt.Errorf("results %s: %w", path, err)
	}
	return all, leftOut, nil
}

// result is a result's JSON; nil: the key is missing.
type result struct {
	ImageID      *int64    `json:"image_id"`
	AnnotationID int64     `json:"annotation_id"`
	CategoryID   *int64    `json:"category_id"`
	Keypoints    []float64 `json:"keypoints"`
	Score        *float64  `json:"score"`
}

func parseResults(data []byte, d *Dataset) (all []Result, leftOut int, err error) {
	var list []result
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, 0, notList(err, `"keypoints": [x, y, score, ...]`)
	}
	images := d.ImagesByID()
	for i, raw := range list {
		got, err := raw.result()
		if err != nil {
			return nil, 0, fmt.Errorf("result %d: %w", i, err)
		}
		if _, ok := images[got.ImageID]; !ok || *raw.CategoryID != personCategoryID {
			leftOut++
			continue
		}
		all = append(all, got)
	}
	if len(all) == 0 {
		return nil, 0, fmt.Errorf("none of %d results is a person (category_id 1) in a picture of %s", len(list), d.Path)
	}
	return all, leftOut, nil
}

// result checks and converts.
func (r *result) result() (Result, error) {
	switch {
	case r.ImageID == nil:
		return Result{}, errors.New("image_id is missing")
	case r.CategoryID == nil:
		return Result{}, errors.New("category_id is missing; 1 is a person")
	case len(r.Keypoints) != 3*model.Keypoints:
		return Result{}, fmt.Errorf("keypoints has %d numbers; want %d: x, y, score of each of %d", len(r.Keypoints), 3*model.Keypoints, model.Keypoints)
	case r.Score == nil:
		return Result{}, errors.New("score is missing")
	}
	got := Result{ImageID: *r.ImageID, AnnotationID: r.AnnotationID, Score: *r.Score}
	for k := range got.Keypoints {
		p := Point{X: r.Keypoints[3*k], Y: r.Keypoints[3*k+1], Score: r.Keypoints[3*k+2]}
		if !inRange(p.X) || !inRange(p.Y) {
			return Result{}, fmt.Errorf("%s at (%v, %v): beyond %.0e pixels", model.KeypointNames[k], p.X, p.Y, preprocess.MaxCoordinate)
		}
		got.Keypoints[k] = p
	}
	return got, nil
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
