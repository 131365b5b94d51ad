package coco

import (
	"cmp"
	"math"
	"slices"

	"github.com/evopose/evopose/postprocess"
)

const (
	// thresholds is how many thresholds of OKS there are: 0.5, 0.55, ... 0.95.
	thresholds = 10
	// recalls is at how many recalls the precision is read: 0, 0.01, ... 1.
	recalls = 101
	// maxResults is how many results of a picture count, those of the highest
	// scores.
	maxResults = 20
	// noFigure stands for a figure for which there was nothing to measure.
	noFigure = -1
	// spacing is the distance of 1 to the next number.
	spacing = 0x1p-52
)

// areaRange selects people by their area in square pixels, both ends included.
type areaRange struct{ min, max float64 }

var (
	anyArea = areaRange{0, 1e5 * 1e5}
	medium  = areaRange{32 * 32, 96 * 96}
	large   = areaRange{96 * 96, 1e5 * 1e5}
)

func (r areaRange) holds(area float64) bool { return r.min <= area && area <= r.max }

// threshold returns the i-th threshold of OKS, in float64 what numpy's
// linspace(0.5, 0.95, 10) holds.
func threshold(i int) float64 {
	first, last := 0.5, 0.95 // variables: constants would be exact
	step := (last - first) / (thresholds - 1)
	return first + float64(float64(i)*step) // the conversion forbids a fused operation
}

// setAP fills in the average precisions and recalls as pycocotools' COCOeval
// computes them for keypoints, to rounding. (COCOeval takes a label with ID 0
// for none; here it is a label like others.)
//
// At each threshold of OKS results take labels, the highest score first. A
// result that took a label is a hit, one that found none a miss; precision is
// hits / (hits + misses), recall hits / labels, down to each score. Labels that
// are crowds, have no keypoints or lie outside the range of areas may be taken
// but count nothing.
func (r *Report) setAP(scenes []*scene) {
	precision, recall := measure(scenes, anyArea)
	r.AP, r.AP50, r.AP75 = mean(precision[:]), precision[0], precision[5]
	r.AR, r.AR50, r.AR75 = mean(recall[:]), recall[0], recall[5]
	precision, recall = measure(scenes, medium)
	r.APM, r.ARM = mean(precision[:]), mean(recall[:])
	precision, recall = measure(scenes, large)
	r.APL, r.ARL = mean(precision[:]), mean(recall[:])
}

func mean(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// measure returns the average precision and the recall at each threshold.
func measure(scenes []*scene, area areaRange) (precision, recall [thresholds]float64) {
	var all []ranked
	labels := 0
	for _, s := range scenes {
		order, n := s.order(area)
		labels += n
		all = append(all, s.match(order, n, area)...)
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(b.score, a.score) })
	for t := range thresholds {
		precision[t], recall[t] = average(all, t, labels)
	}
	return precision, recall
}

// outcome is what became of a result at one threshold.
type outcome int8

const (
	ignored outcome = iota
	hit
	miss
)

// ranked is a result's score and its outcome at each threshold.
type ranked struct {
	score    float64
	outcomes [thresholds]outcome
}

// order returns the places of the labels with those that count first, and how
// many count.
func (s *scene) order(area areaRange) (order []int, n int) {
	var rest []int
	for i, a := range s.labels {
		if a.Crowd || a.NumKeypoints == 0 || !area.holds(a.Area) {
			rest = append(rest, i)
		} else {
			order = append(order, i)
		}
	}
	return append(order, rest...), len(order)
}

// match returns the outcomes of the results that count, the highest score
// first. Of the labels in order the first n count.
func (s *scene) match(order []int, n int, area areaRange) []ranked {
	all := make([]ranked, min(len(s.results), maxResults))
	for t := range thresholds {
		taken := make([]bool, len(order))
		for i := range all {
			place := s.take(s.oks[i], order, n, taken, threshold(t))
			all[i].score = s.results[i].Score
			switch {
			case place >= 0 && place < n:
				all[i].outcomes[t] = hit
			case place < 0 && area.holds(s.results[i].area()):
				all[i].outcomes[t] = miss
			}
		}
	}
	return all
}

// take returns the place in order of the label that a result takes, which is
// the most similar one that is free, of equal ones the last; a crowd is always
// free. Only a result that finds none among the first n, which count, looks
// among the others. It returns -1 when no similarity reaches least.
func (s *scene) take(oks []float64, order []int, n int, taken []bool, least float64) int {
	best := -1
	for place, label := range order {
		if place >= n && best >= 0 && best < n {
			break
		}
		free := !taken[place] || s.labels[label].Crowd
		if free && oks[label] >= least {
			best, least = place, oks[label]
		}
	}
	if best >= 0 {
		taken[best] = true
	}
	return best
}

// average returns at threshold t the mean over the recalls of the precision,
// and the recall of all results. The precision at a recall is the best at that
// recall or a higher one; where the results do not get as far it is 0.
func average(all []ranked, t, labels int) (precision, recall float64) {
	if labels == 0 {
		return noFigure, noFigure
	}
	var precisions, reached []float64
	var hits, misses float64
	for i := range all {
		switch all[i].outcomes[t] {
		case ignored:
			continue
		case hit:
			hits++
		case miss:
			misses++
		}
		precisions = append(precisions, hits/(hits+misses+spacing))
		reached = append(reached, hits/float64(labels))
	}
	for i := len(precisions) - 1; i > 0; i-- {
		precisions[i-1] = max(precisions[i-1], precisions[i])
	}
	return interpolate(precisions, reached), hits / float64(labels)
}

// interpolate returns the mean of the falling precisions over the recalls;
// reached is the rising recall at each.
func interpolate(precisions, reached []float64) (sum float64) {
	step := 0.01 // a variable: see threshold
	for i := range recalls {
		if at, _ := slices.BinarySearch(reached, float64(i)*step); at < len(precisions) {
			sum += precisions[at]
		}
	}
	return sum / recalls
}

// similarity returns a result's OKS (object keypoint similarity) with a label,
// 0..1: the mean over the labelled keypoints of exp(-d^2 / (2 area k^2)), where
// d is the distance in pixels and k twice the keypoint's sigma. With a label
// without keypoints d is each keypoint's distance to the label's box, enlarged
// by its own size on all sides.
func similarity(r *Result, a *Annotation) float64 {
	labelled := a.Labelled()
	var sum float64
	for k, p := range r.Keypoints {
		label := a.Keypoints[k]
		dx, dy := p.X-label.X, p.Y-label.Y
		switch {
		case labelled == 0:
			dx = outside(p.X, a.Box.X-a.Box.W, a.Box.X+2*a.Box.W)
			dy = outside(p.Y, a.Box.Y-a.Box.H, a.Box.Y+2*a.Box.H)
		case label.V <= 0:
			continue
		}
		sum += closeness(dx*dx+dy*dy, a.Area, k)
	}
	if labelled == 0 {
		labelled = len(r.Keypoints)
	}
	return sum / float64(labelled)
}

// closeness is keypoint k's term of OKS at a squared distance.
func closeness(squared, area float64, k int) float64 {
	twice := 2 * postprocess.OKSSigmas[k]
	return math.Exp(-squared / (twice * twice) / (area + spacing) / 2)
}

// outside returns how far v is outside the range.
func outside(v, low, high float64) float64 { return max(0, low-v) + max(0, v-high) }
