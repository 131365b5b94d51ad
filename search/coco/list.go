package coco

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// personCategoryID is COCO's number of persons, in results.
const personCategoryID = 1

// entry is the JSON of an entry of COCO's results format, of which a detection
// has a box and a person that was found keypoints; nil: the key is missing.
type entry struct {
	ImageID      *int64    `json:"image_id"`
	AnnotationID int64     `json:"annotation_id"`
	CategoryID   *int64    `json:"category_id"`
	Box          []float64 `json:"bbox"`
	Keypoints    []float64 `json:"keypoints"`
	Score        *float64  `json:"score"`
}

// list says what a file lists.
type list struct {
	kind    string // an entry's name in errors
	example string // an entry's own key and value
	// check checks what the kind has of its own. An entry that is not to be
	// kept is left out.
	check func(*entry) (keep bool, err error)
}

// read returns the entries of a file in its order. Those of other categories
// than persons, of pictures that d has not, and that check does not keep are
// left out; leftOut counts them.
func (l *list) read(path string, d *Dataset) (all []entry, leftOut int, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, fmt.Errorf("%ss: %w", l.kind, err)
	}
	if all, leftOut, err = l.parse(data, d); err != nil {
		return nil, 0, fmt.Errorf("%ss %s: %w", l.kind, path, err)
	}
	return all, leftOut, nil
}

func (l *list) parse(data []byte, d *Dataset) (all []entry, leftOut int, err error) {
	var raw []entry
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, 0, l.notOne(err)
	}
	images := d.ImagesByID()
	for i, e := range raw {
		keep, err := l.checkAll(&e)
		if err != nil {
			return nil, 0, fmt.Errorf("%s %d: %w", l.kind, i, err)
		}
		if _, ok := images[*e.ImageID]; !ok || !keep || *e.CategoryID != personCategoryID {
			leftOut++
			continue
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil, 0, fmt.Errorf("none of %d %ss is a person (category_id 1) in a picture of %s", len(raw), l.kind, d.Path)
	}
	return all, leftOut, nil
}

// notOne says what is wrong with JSON that does not fit.
func (l *list) notOne(err error) error {
	got := err.Error()
	if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) {
		got = fmt.Sprintf("%s is of type %s", cmp.Or(wrong.Field, "the file"), wrong.Value)
	}
	return fmt.Errorf(`want a list such as [{"image_id": 7, "category_id": 1, %s, "score": 0.9}]: %s`, l.example, got)
}

func (l *list) checkAll(e *entry) (keep bool, err error) {
	switch {
	case e.ImageID == nil:
		return false, errors.New("image_id is missing")
	case e.CategoryID == nil:
		return false, errors.New("category_id is missing; 1 is a person")
	case e.Score == nil:
		return false, errors.New("score is missing")
	}
	return l.check(e)
}
