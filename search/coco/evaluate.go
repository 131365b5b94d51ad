package coco

import (
	"cmp"
	"slices"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/preprocess"
)

// Point is a keypoint that was found, in pixels of the upright picture. Score
// is 0..1.
type Point struct{ X, Y, Score float64 }

// Result is a person that was found.
type Result struct {
	// ImageID is the picture's.
	ImageID int64
	// AnnotationID is the label whose box the person was looked for in; 0:
	// unknown, as with boxes of a detector. Only PCK makes use of it.
	AnnotationID int64
	// Box is where the person was looked for, in pixels.
	Box preprocess.Box
	// Score ranks the results.
	Score float64
	// Keypoints are in COCO order.
	Keypoints [model.Keypoints]Point
}

// area returns the area of the smallest box around the keypoints, which is
// what pycocotools takes for a result's area.
func (r *Result) area() float64 {
	first := r.Keypoints[0]
	left, right, top, bottom := first.X, first.X, first.Y, first.Y
	for _, p := range r.Keypoints[1:] {
		left, right = min(left, p.X), max(right, p.X)
		top, bottom = min(top, p.Y), max(bottom, p.Y)
	}
	return (right - left) * (bottom - top)
}

// Evaluate compares results with the labels of d. Every picture of d counts,
// also one without results; results of other pictures are left out. A figure
// for which d holds nothing to measure is -1. Nothing that it is given is kept
// or changed.
func Evaluate(d *Dataset, results []Result) Report {
	scenes := newScenes(d, results)
	r := Report{Images: len(scenes)}
	for _, s := range scenes {
		r.Results += len(s.results)
	}
	r.setAP(scenes)
	r.setPCK(scenes)
	return r
}

// scene is one picture's labels and results.
type scene struct {
	labels  []*Annotation // in the file's order
	results []*Result     // the highest score first, of equal scores the first first
	oks     [][]float64   // by result, then by label
}

// newScenes returns the pictures of d by rising ID.
func newScenes(d *Dataset, results []Result) []*scene {
	byID := map[int64]*scene{}
	ids := make([]int64, len(d.Images))
	for i, img := range d.Images {
		ids[i], byID[img.ID] = img.ID, &scene{}
	}
	for i := range d.Annotations {
		if s := byID[d.Annotations[i].ImageID]; s != nil {
			s.labels = append(s.labels, &d.Annotations[i])
		}
	}
	for i := range results {
		if s := byID[results[i].ImageID]; s != nil {
			s.results = append(s.results, &results[i])
		}
	}
	slices.Sort(ids)
	scenes := make([]*scene, len(ids))
	for i, id := range ids {
		scenes[i] = byID[id]
		scenes[i].rank()
	}
	return scenes
}

// rank sorts the results and compares each with each label.
func (s *scene) rank() {
	slices.SortStableFunc(s.results, func(a, b *Result) int { return cmp.Compare(b.Score, a.Score) })
	s.oks = make([][]float64, len(s.results))
	for i, r := range s.results {
		s.oks[i] = make([]float64, len(s.labels))
		for j, a := range s.labels {
			s.oks[i][j] = similarity(r, a)
		}
	}
}
