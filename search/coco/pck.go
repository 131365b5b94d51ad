package coco

import (
	"math"

	"github.com/evopose/evopose/model"
)

// The ends of a person's torso, for PCK.
const (
	leftShoulder = 5
	rightHip     = 12
)

// setPCK fills in the PCKs (percentage of correct keypoints, 0..1) and the
// figures of each keypoint. People are the labels that are no crowd and have
// keypoints.
//
//   - PCK@a is the share of the labelled keypoints found at most a torso lengths
//     from their label; the torso length is the distance of the labels of left
//     shoulder and right hip (the custom for Leeds Sports Pose). People
//     without both labels, or with both in one place, are left out and counted.
//   - PCKbox@a is the same of all people with the longer side of the label's
//     box for the torso length: larger, hence far more lenient.
//
// All keypoints weigh alike, whoever's they are. A person without a result has
// them all wrong.
func (r *Report) setPCK(scenes []*scene) {
	var tallies [model.Keypoints]tally
	for _, s := range scenes {
		found := s.pair()
		for i, a := range s.labels {
			if a.Crowd || a.Labelled() == 0 {
				continue
			}
			r.People++
			if found[i] == nil {
				r.Missed++
			}
			torso := torsoLength(a)
			if torso == 0 {
				r.NoTorso++
			}
			addPerson(&tallies, a, found[i], torso)
		}
	}
	var total tally
	for k := range tallies {
		r.Keypoints[k] = tallies[k].report(model.KeypointNames[k])
		total.add(tallies[k])
	}
	t := total.report("")
	r.PCK10, r.PCK20, r.PCKBox10, r.PCKBox20 = t.PCK10, t.PCK20, t.PCKBox10, t.PCKBox20
}

// torsoLength returns the person's torso length in pixels; 0: unknown.
func torsoLength(a *Annotation) float64 {
	s, h := a.Keypoints[leftShoulder], a.Keypoints[rightHip]
	if s.V <= 0 || h.V <= 0 {
		return 0
	}
	return math.Hypot(s.X-h.X, s.Y-h.Y)
}

// tally counts one keypoint, over people: labels, those of people with a torso
// length, and how many of them were found how closely.
type tally struct {
	labels, torsos   int
	torso10, torso20 int
	box10, box20     int
	closeness        float64
}

func (t *tally) add(u tally) {
	t.labels, t.torsos = t.labels+u.labels, t.torsos+u.torsos
	t.torso10, t.torso20 = t.torso10+u.torso10, t.torso20+u.torso20
	t.box10, t.box20 = t.box10+u.box10, t.box20+u.box20
	t.closeness += u.closeness
}

func (t *tally) report(name string) KeypointReport {
	return KeypointReport{
		Name: name, Labels: t.labels, Torsos: t.torsos,
		PCK10: share(float64(t.torso10), t.torsos), PCK20: share(float64(t.torso20), t.torsos),
		PCKBox10: share(float64(t.box10), t.labels), PCKBox20: share(float64(t.box20), t.labels),
		OKS: share(t.closeness, t.labels),
	}
}

func share(part float64, whole int) float64 {
	if whole == 0 {
		return noFigure
	}
	return part / float64(whole)
}

// addPerson counts a person's labelled keypoints; found is nil for a person who
// was missed.
func addPerson(tallies *[model.Keypoints]tally, a *Annotation, found *Result, torso float64) {
	side := max(a.Box.W, a.Box.H)
	for k, label := range a.Keypoints {
		if label.V <= 0 {
			continue
		}
		t := &tallies[k]
		distance := math.Inf(1)
		if found != nil {
			if d := math.Hypot(found.Keypoints[k].X-label.X, found.Keypoints[k].Y-label.Y); d >= 0 { // not NaN
				distance = d
			}
		}
		t.labels++
		t.closeness += closeness(distance*distance, a.Area, k)
		t.box10 += within(distance, 0.1*side)
		t.box20 += within(distance, 0.2*side)
		if torso > 0 {
			t.torsos++
			t.torso10 += within(distance, 0.1*torso)
			t.torso20 += within(distance, 0.2*torso)
		}
	}
}

// within returns 1 for a distance up to the limit, else 0.
func within(distance, limit float64) int {
	if distance <= limit {
		return 1
	}
	return 0
}

// pair returns each label's result, nil where there is none. A result that
// names its label has it; the others, the highest score first, take the most
// similar label that is still without, if the similarity is above 0.
func (s *scene) pair() []*Result {
	found := make([]*Result, len(s.labels))
	for _, r := range s.results {
		for j, a := range s.labels {
			if r.AnnotationID != 0 && r.AnnotationID == a.ID && found[j] == nil {
				found[j] = r
			}
		}
	}
	for i, r := range s.results {
		if r.AnnotationID != 0 {
			continue
		}
		if j := s.closest(i, found); j >= 0 {
			found[j] = r
		}
	}
	return found
}

// closest returns the label that result i takes, -1: none.
func (s *scene) closest(i int, found []*Result) int {
	best, most := -1, 0.0
	for j, a := range s.labels {
		if found[j] == nil && !a.Crowd && a.Labelled() > 0 && s.oks[i][j] > most {
			best, most = j, s.oks[i][j]
		}
	}
	return best
}
