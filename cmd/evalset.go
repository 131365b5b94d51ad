package cmd

import (
	"fmt"
	"path/filepath"

	"github.com/evopose/evopose/preprocess"
	"github.com/evopose/evopose/search/coco"
)

// evalSet is labelled pictures, and where people are looked for in them.
type evalSet struct {
	dataset *coco.Dataset
	images  []coco.Image // those with a target
	targets map[string][]target
	leftOut int // boxes that cannot be a target
}

// target is a box in which a person is looked for.
type target struct {
	annotation int64 // whose box it is; 0: a detector's
	box        preprocess.Box
	score      float64 // the box's, 0..1
}

// readEvalSet reads the labels, and the detections of the file boxes; with ""
// for it the labels' boxes are the targets.
func readEvalSet(data, images, boxes string) (*evalSet, error) {
	d, err := coco.Load(data, images)
	if err != nil {
		return nil, err
	}
	s := &evalSet{dataset: d, targets: map[string][]target{}}
	if boxes == "" {
		s.addLabels()
	} else if err := s.addDetections(boxes); err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	for _, img := range d.Images {
		if listed[img.FileName] {
			return nil, fmt.Errorf("annotation file %s: two pictures are %s", data, img.FileName)
		}
		listed[img.FileName] = true
		if len(s.targets[s.path(img)]) > 0 {
			s.images = append(s.images, img)
		}
	}
	if len(s.images) == 0 {
		return nil, fmt.Errorf("annotation file %s: nobody has a box and a labelled keypoint", data)
	}
	return s, nil
}

// path returns a picture's file.
func (s *evalSet) path(img coco.Image) string {
	return filepath.Join(s.dataset.Dir, filepath.FromSlash(img.FileName))
}

// add adds a target to a picture.
func (s *evalSet) add(byID map[int64]int, image int64, t target) {
	path := s.path(s.dataset.Images[byID[image]])
	s.targets[path] = append(s.targets[path], t)
}

// addLabels adds the boxes of people, not crowds, who have labelled keypoints.
func (s *evalSet) addLabels() {
	byID := s.dataset.ImagesByID()
	for _, a := range s.dataset.Annotations {
		switch {
		case a.Crowd || a.NumKeypoints == 0:
		case a.Box.Validate() != nil:
			s.leftOut++
		default:
			s.add(byID, a.ImageID, target{annotation: a.ID, box: a.Box, score: 1})
		}
	}
}

func (s *evalSet) addDetections(file string) error {
	detections, leftOut, err := coco.ReadDetections(file, s.dataset)
	if err != nil {
		return err
	}
	s.leftOut = leftOut
	byID := s.dataset.ImagesByID()
	for _, d := range detections {
		s.add(byID, d.ImageID, target{box: d.Box, score: d.Score})
	}
	return nil
}

// boxes returns the boxes of a picture's targets, in their order.
func (s *evalSet) boxes(path string) ([]preprocess.Box, error) {
	boxes := []preprocess.Box{}
	for _, t := range s.targets[path] {
		boxes = append(boxes, t.box)
	}
	return boxes, nil
}
