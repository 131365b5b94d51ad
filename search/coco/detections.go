package coco

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/evopose/evopose/preprocess"
)

// personCategoryID is COCO's number of persons, in results.
const personCategoryID = 1

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
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, fmt.Errorf("detections: %w", err)
	}
	if all, leftOut, err = parseDetections(data, d); err != nil {
		return nil, 0, fmt.Errorf("detections %s: %w", path, err)
	}
	return all, leftOut, nil
}

// detection is a detection's JSON; nil: the key is missing.
type detection struct {
	ImageID    *int64    `json:"image_id"`
	CategoryID *int64    `json:"category_id"`
	Box        []float64 `json:"bbox"`
	Score      *float64  `json:"score"`
}

func parseDetections(data []byte, d *Dataset) (all []Detection, leftOut int, err error) {
	var list []detection
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, 0, notList(err, `"bbox": [x, y, width, height]`)
	}
	images := d.ImagesByID()
	for i, raw := range list {
		got, err := raw.detection()
		if err != nil {
			return nil, 0, fmt.Errorf("detection %d: %w", i, err)
		}
		if _, ok := images[got.ImageID]; !ok || *raw.CategoryID != personCategoryID || got.Box.W <= 0 || got.Box.H <= 0 {
			leftOut++
			continue
		}
		all = append(all, got)
	}
	if len(all) == 0 {
		return nil, 0, fmt.Errorf("none of %d detections is a person (category_id 1) in a picture of %s", len(list), d.Path)
	}
	return all, leftOut, nil
}

// notList says what is wrong with JSON that is no list of results of which each
// has what is named.
func notList(err error, what string) error {
	got := err.Error()
	if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) {
		got = fmt.Sprintf("%s is of type %s", cmp.Or(wrong.Field, "the file"), wrong.Value)
	}
	return fmt.Errorf(`want a list such as [{"image_id": 7, "category_id": 1, %s, "score": 0.9}]: %s`, what, got)
}

// detection checks and converts.
func (r *detection) detection() (Detection, error) {
	switch {
	case r.ImageID == nil:
		return Detection{}, errors.New("image_id is missing")
	case r.CategoryID == nil:
		return Detection{}, errors.New("category_id is missing; 1 is a person")
	case len(r.Box) != 4:
		return Detection{}, fmt.Errorf("bbox has %d numbers; want 4: x, y, width, height", len(r.Box))
	case r.Score == nil:
		return Detection{}, errors.New("score is missing")
	case !(*r.Score >= 0 && *r.Score <= 1):
		return Detection{}, fmt.Errorf("score is %v; want 0 to 1", *r.Score)
	}
	for _, v := range r.Box {
		if !inRange(v) || math.IsNaN(v) {
			return Detection{}, fmt.Errorf("bbox %v: a number is beyond %.0e pixels", r.Box, preprocess.MaxCoordinate)
		}
	}
	return Detection{ImageID: *r.ImageID, Score: *r.Score,
		Box: preprocess.Box{X: r.Box[0], Y: r.Box[1], W: r.Box[2], H: r.Box[3]}}, nil
}
