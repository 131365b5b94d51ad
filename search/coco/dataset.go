// Package coco reads pictures and people in COCO's keypoint format: for
// training, as augmented crops, and for measuring accuracy.
package coco

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/preprocess"
)

// areaOfBox is the share of its box that a person covers, where a file has no
// area.
const areaOfBox = 0.53

// Image is a picture of a data set. Width and Height are in pixels, by the
// annotation file.
type Image struct {
	ID            int64
	FileName      string // below Dataset.Dir
	Width, Height int
}

// Keypoint is a labelled place in pixels of the picture, origin at the top
// left. V is COCO's flag: 0 unlabelled (X and Y mean nothing), 1 labelled but
// hidden, 2 visible.
type Keypoint struct {
	X, Y float64
	V    int
}

// Annotation is one person.
type Annotation struct {
	ID, ImageID int64
	Keypoints   [model.Keypoints]Keypoint
	// NumKeypoints is the file's num_keypoints; without one, the number of
	// labelled keypoints.
	NumKeypoints int
	// Box is in pixels; its size may be 0, and then no crop can be made.
	Box preprocess.Box
	// Area is the person's area in pixels; without one in the file, 0.53 of
	// the box's.
	Area float64
	// Crowd says that the box holds a group, whose people are not labelled.
	Crowd bool
}

// Labelled returns the number of labelled keypoints.
func (a *Annotation) Labelled() int {
	n := 0
	for _, k := range a.Keypoints {
		if k.V > 0 {
			n++
		}
	}
	return n
}

// Dataset is an annotation file and the folder of its pictures. Images and
// Annotations are in the file's order; annotations of other categories than
// persons are left out.
type Dataset struct {
	Path, Dir   string
	Images      []Image
	Annotations []Annotation
}

// ImagesByID returns the place in d.Images of every picture's ID.
func (d *Dataset) ImagesByID() map[int64]int {
	byID := make(map[int64]int, len(d.Images))
	for i, img := range d.Images {
		byID[img.ID] = i
	}
	return byID
}

// Load reads an annotation file. imagesDir is the folder of its pictures;
// empty: they are not needed.
//
// The error names the file and, where one is at fault, the annotation or
// picture: a file that is missing or no COCO keypoint file, no pictures, no
// persons, an ID twice, an annotation of an unknown picture, keypoints other
// than COCO's 17, a number out of range, or a folder that has none of the first
// few pictures. A picture missing later shows when it is read.
func Load(annotations, imagesDir string) (*Dataset, error) {
	data, err := os.ReadFile(annotations)
	if err != nil {
		return nil, fmt.Errorf("annotation file: %w", err)
	}
	d, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("annotation file %s: %w", annotations, err)
	}
	d.Path, d.Dir = annotations, imagesDir
	if err := d.checkDir(); err != nil {
		return nil, err
	}
	return d, nil
}

// file is the JSON of an annotation file, as far as it is read.
type file struct {
	Images []struct {
		ID       int64  `json:"id"`
		FileName string `json:"file_name"`
		Width    int    `json:"width"`
		Height   int    `json:"height"`
	} `json:"images"`
	Annotations []person   `json:"annotations"`
	Categories  []category `json:"categories"`
}

type category struct {
	ID        int64    `json:"id"`
	Name      string   `json:"name"`
	Keypoints []string `json:"keypoints"`
}

// person is an annotation's JSON; nil: the key is missing.
type person struct {
	ID           int64     `json:"id"`
	ImageID      int64     `json:"image_id"`
	CategoryID   *int64    `json:"category_id"`
	Crowd        int       `json:"iscrowd"`
	Box          []float64 `json:"bbox"`
	Area         *float64  `json:"area"`
	NumKeypoints *int      `json:"num_keypoints"`
	Keypoints    []float64 `json:"keypoints"`
}

// parse reads an annotation file's bytes.
func parse(data []byte) (*Dataset, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, notCOCO(err)
	}
	if len(f.Images) == 0 {
		return nil, errors.New(`no pictures: "images" is missing or empty`)
	}
	d := &Dataset{Images: make([]Image, len(f.Images))}
	for i, img := range f.Images {
		d.Images[i] = Image(img)
		if !filepath.IsLocal(img.FileName) {
			return nil, fmt.Errorf("image %d: file_name %q is not a path below the folder of the pictures", img.ID, img.FileName)
		}
	}
	byID := d.ImagesByID()
	if len(byID) < len(d.Images) {
		return nil, fmt.Errorf("%d pictures have only %d different ids", len(d.Images), len(byID))
	}
	isPerson, err := personCategory(f.Categories)
	if err != nil {
		return nil, err
	}
	return d, d.addPersons(f.Annotations, isPerson, byID)
}

// notCOCO says what is wrong with JSON that does not fit.
func notCOCO(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("not JSON: %w at byte %d", err, syntax.Offset)
	}
	return fmt.Errorf("not COCO keypoint annotations: %w", err)
}

// personCategory returns the test for the category_id of persons. In a file
// without categories every annotation is one.
func personCategory(all []category) (func(*int64) bool, error) {
	if len(all) == 0 {
		return func(*int64) bool { return true }, nil
	}
	at := slices.IndexFunc(all, func(c category) bool { return c.Name == "person" })
	if at < 0 {
		return nil, errors.New(`no category is named "person"`)
	}
	c := all[at]
	if len(c.Keypoints) > 0 && !slices.Equal(c.Keypoints, model.KeypointNames[:]) {
		return nil, fmt.Errorf("keypoints %q are not COCO's, which are %q in this order", c.Keypoints, model.KeypointNames)
	}
	return func(id *int64) bool { return id == nil || *id == c.ID }, nil
}

// addPersons checks the persons and appends them to d.
func (d *Dataset) addPersons(all []person, isPerson func(*int64) bool, images map[int64]int) error {
	seen := make(map[int64]bool, len(all))
	for i := range all {
		p := &all[i]
		if !isPerson(p.CategoryID) {
			continue
		}
		a, err := p.annotation()
		if _, ok := images[p.ImageID]; err == nil && !ok {
			err = fmt.Errorf("image_id %d is not in \"images\"", p.ImageID)
		}
		if err == nil && seen[p.ID] {
			err = errors.New("an earlier annotation has the same id")
		}
		if err != nil {
			return fmt.Errorf("annotation %d: %w", p.ID, err)
		}
		seen[p.ID] = true
		d.Annotations = append(d.Annotations, a)
	}
	if len(d.Annotations) == 0 {
		return errors.New(`no persons: "annotations" is missing or has none of the category "person"`)
	}
	return nil
}

// annotation checks and converts.
func (p *person) annotation() (a Annotation, err error) {
	a = Annotation{ID: p.ID, ImageID: p.ImageID, Crowd: p.Crowd != 0}
	if a.Box, err = p.box(); err != nil {
		return a, err
	}
	if a.Keypoints, err = p.keypoints(); err != nil {
		return a, err
	}
	a.NumKeypoints, a.Area = a.Labelled(), areaOfBox*a.Box.W*a.Box.H
	if p.NumKeypoints != nil {
		a.NumKeypoints = *p.NumKeypoints
	}
	if p.Area != nil {
		a.Area = *p.Area
	}
	return a, nil
}

// box returns the box, whose size may be 0.
func (p *person) box() (preprocess.Box, error) {
	if len(p.Box) != 4 {
		return preprocess.Box{}, fmt.Errorf("bbox has %d numbers; want 4: x, y, width, height", len(p.Box))
	}
	for _, v := range p.Box {
		if !inRange(v) {
			return preprocess.Box{}, fmt.Errorf("bbox %v: a number is beyond %.0e pixels", p.Box, preprocess.MaxCoordinate)
		}
	}
	return preprocess.Box{X: p.Box[0], Y: p.Box[1], W: max(p.Box[2], 0), H: max(p.Box[3], 0)}, nil
}

// keypoints returns the keypoints; a crowd may have none.
func (p *person) keypoints() (all [model.Keypoints]Keypoint, err error) {
	if p.Crowd != 0 && len(p.Keypoints) == 0 {
		return all, nil
	}
	if want := 3 * model.Keypoints; len(p.Keypoints) != want {
		return all, fmt.Errorf("keypoints has %d numbers; want %d: x, y, v of %d keypoints (COCO's files of them are named person_keypoints_*)",
			len(p.Keypoints), want, model.Keypoints)
	}
	for i := range all {
		x, y, v := p.Keypoints[3*i], p.Keypoints[3*i+1], p.Keypoints[3*i+2]
		if v != 0 && v != 1 && v != 2 {
			return all, fmt.Errorf("%s: v is %v; want 0, 1 or 2", model.KeypointNames[i], v)
		}
		if !inRange(x) || !inRange(y) {
			return all, fmt.Errorf("%s: (%v, %v) is beyond %.0e pixels", model.KeypointNames[i], x, y, preprocess.MaxCoordinate)
		}
		all[i] = Keypoint{X: x, Y: y, V: int(v)}
	}
	return all, nil
}

func inRange(v float64) bool { return math.Abs(v) <= preprocess.MaxCoordinate }

// checkDir reports a folder that has none of the first few pictures: most
// likely the wrong one.
func (d *Dataset) checkDir() error {
	const few = 8
	if d.Dir == "" {
		return nil
	}
	if info, err := os.Stat(d.Dir); err != nil {
		return fmt.Errorf("folder of the pictures: %w", err)
	} else if !info.IsDir() {
		return fmt.Errorf("folder of the pictures: %s is a file", d.Dir)
	}
	first := d.Images[:min(few, len(d.Images))]
	for _, img := range first {
		if _, err := os.Stat(filepath.Join(d.Dir, img.FileName)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("folder %s has none of the first %d pictures of %s, such as %s",
		d.Dir, len(first), d.Path, first[0].FileName)
}
