package coco

import (
	"math"
	"slices"
	"testing"

	"github.com/evopose/evopose/model"
)

// torsoPerson is someone whose torso is 100 pixels long in a box of 100 x 200.
func torsoPerson(id, image int64, x float64) Annotation {
	a := someone(id, image, x, 0)
	a.Box.H = 200
	a.Keypoints[slices.Index(model.KeypointNames[:], "left_shoulder")] = Keypoint{X: x + 80, Y: 20, V: 2}
	a.Keypoints[slices.Index(model.KeypointNames[:], "right_hip")] = Keypoint{X: x + 20, Y: 100, V: 1}
	return a
}

// Limits are included: 10, 20 and 40 pixels are 0.1 torso lengths, 0.2 of them
// as well as 0.1 box sides, and 0.2 box sides.
func TestPCKLimits(t *testing.T) {
	for _, c := range []struct {
		moved                      float64
		pck10, pck20, box10, box20 float64
	}{
		{0, 1, 1, 1, 1},
		{10, 1, 1, 1, 1},
		{10.001, 0, 1, 1, 1},
		{20, 0, 1, 1, 1},
		{20.001, 0, 0, 0, 1},
		{40, 0, 0, 0, 1},
		{40.001, 0, 0, 0, 0},
	} {
		a := torsoPerson(1, 1, 0)
		r := Evaluate(dataset(a), []Result{find(a, 1, 0, -c.moved)})
		got := [4]float64{r.PCK10, r.PCK20, r.PCKBox10, r.PCKBox20}
		if want := [4]float64{c.pck10, c.pck20, c.box10, c.box20}; got != want {
			t.Errorf("moved by %v: %v, want %v", c.moved, got, want)
		}
		a.Box.W, a.Box.H = a.Box.H, a.Box.W // lying
		if lying := Evaluate(dataset(a), []Result{find(a, 1, 0, -c.moved)}); lying.PCKBox10 != c.box10 || lying.PCKBox20 != c.box20 {
			t.Errorf("lying, moved by %v: %v, %v", c.moved, lying.PCKBox10, lying.PCKBox20)
		}
	}
}

// Unlabelled keypoints do not count, wherever they are found.
func TestPCKCountsLabelledKeypoints(t *testing.T) {
	a := torsoPerson(1, 1, 0)
	for k := range 5 {
		a.Keypoints[k] = Keypoint{}
	}
	found := find(a, 1, 0, 0)
	found.Keypoints[9].X += 15 // between 0.1 and 0.2
	found.Keypoints[10].X += 1000
	r := Evaluate(dataset(a), []Result{found})
	if r.PCK10 != 10.0/12 || r.PCK20 != 11.0/12 {
		t.Errorf("PCK@0.1 %v, PCK@0.2 %v", r.PCK10, r.PCK20)
	}
	nose, wrist := r.Keypoints[0], r.Keypoints[9]
	if nose.Labels != 0 || nose.PCK20 != -1 || nose.OKS != -1 {
		t.Errorf("nose: %+v", nose)
	}
	if wrist.Name != "left_wrist" || wrist.Labels != 1 || wrist.PCK10 != 0 || wrist.PCK20 != 1 {
		t.Errorf("wrist: %+v", wrist)
	}
	if want := math.Exp(-15 * 15 / (2 * 5300 * 0.124 * 0.124)); math.Abs(wrist.OKS-want) > 1e-12 {
		t.Errorf("wrist: OKS term %v, want %v", wrist.OKS, want)
	}
}

// People without a torso length are left out of PCK, not of PCKbox.
func TestPCKWithoutTorso(t *testing.T) {
	whole, hipless, flat := torsoPerson(1, 1, 0), torsoPerson(2, 1, 300), torsoPerson(3, 2, 0)
	hipless.Keypoints[rightHip] = Keypoint{}
	flat.Keypoints[rightHip] = flat.Keypoints[leftShoulder]
	d := dataset(whole, hipless, flat)
	r := Evaluate(d, []Result{find(whole, 1, 0, 0), find(hipless, 1, 0, 30), find(flat, 1, 0, 30)})
	if r.People != 3 || r.NoTorso != 2 || r.PCK20 != 1 {
		t.Errorf("%d people, %d without torso, PCK@0.2 %v", r.People, r.NoTorso, r.PCK20)
	}
	if want := 17.0 / 50; r.PCKBox10 != want || r.PCKBox20 != 1 {
		t.Errorf("PCKbox@0.1 %v, want %v; PCKbox@0.2 %v", r.PCKBox10, want, r.PCKBox20)
	}
	if k := r.Keypoints[0]; k.Labels != 3 || k.Torsos != 1 {
		t.Errorf("%+v", k)
	}
}

// Who is missed has every keypoint wrong, as has one found in no number.
func TestPCKOfMissedPeople(t *testing.T) {
	a, b, c := torsoPerson(1, 1, 0), torsoPerson(2, 1, 300), torsoPerson(3, 2, 0)
	broken := find(c, 1, 0, 0)
	broken.AnnotationID = c.ID
	for k := range broken.Keypoints {
		broken.Keypoints[k].X = math.NaN()
	}
	r := Evaluate(dataset(a, b, c), []Result{find(a, 1, 0, 0), broken})
	if r.Missed != 1 || r.PCK20 != 1.0/3 || r.Keypoints[3].OKS != 1.0/3 {
		t.Errorf("%+v", r)
	}
}

// Crowds and people without keypoints are nobody's labels.
func TestPCKLeavesCrowdsOut(t *testing.T) {
	a, crowd, empty := torsoPerson(1, 1, 0), torsoPerson(2, 1, 300), torsoPerson(3, 2, 0)
	crowd.Crowd = true
	empty.Keypoints, empty.NumKeypoints = [model.Keypoints]Keypoint{}, 0
	r := Evaluate(dataset(a, crowd, empty), []Result{find(a, 1, 0, 0), find(crowd, 1, 0, 0)})
	if r.People != 1 || r.Missed != 0 || r.PCK10 != 1 {
		t.Errorf("%+v", r)
	}
}

// A result that names its label is measured against it, however bad; without a
// name it would go to the neighbour.
func TestPairByName(t *testing.T) {
	a, b := torsoPerson(1, 1, 0), torsoPerson(2, 1, 60)
	one, two := find(b, 0.9, 0, 0), find(b, 0.8, 1, 0)
	one.AnnotationID, two.AnnotationID = 1, 2
	s := newScenes(dataset(a, b), []Result{one, two})[0]
	if found := s.pair(); found[0].Score != 0.9 || found[1].Score != 0.8 {
		t.Errorf("label 1 has %v, label 2 %v", found[0].Score, found[1].Score)
	}
	two.AnnotationID = 1
	s = newScenes(dataset(a, b), []Result{two, one})[0]
	if found := s.pair(); found[0].Score != 0.9 || found[1] != nil {
		t.Errorf("of two results of label 1 it has %v", found[0].Score)
	}
	one.AnnotationID, two.AnnotationID = 0, 0
	s = newScenes(dataset(a, b), []Result{one, two})[0]
	if found := s.pair(); found[1].Score != 0.9 {
		t.Errorf("without a name label 2 has %v", found[1].Score)
	}
}

// Detections: the higher score chooses first, and takes the most similar.
func TestPairBySimilarity(t *testing.T) {
	a, b := torsoPerson(1, 1, 0), torsoPerson(2, 1, 300)
	results := []Result{find(a, 0.3, 0, 0), find(a, 0.7, 2, 0), find(b, 0.5, 0, 0), find(b, 0.4, 0, 9000)}
	s := newScenes(dataset(a, b), results)[0]
	found := s.pair()
	if found[0].Score != 0.7 || found[1].Score != 0.5 {
		t.Errorf("label 1 has %v, label 2 %v", found[0].Score, found[1].Score)
	}
	// People without keypoints and crowds take nobody's result.
	empty, crowd := a, a
	empty.Keypoints, crowd.Crowd = [model.Keypoints]Keypoint{}, true
	s = newScenes(dataset(empty, crowd, a), []Result{find(a, 0.7, 2, 0)})[0]
	if found := s.pair(); found[0] != nil || found[1] != nil || found[2] == nil {
		t.Error("a label without keypoints or a crowd has a result")
	}
	// Far from everybody is nobody's.
	s = newScenes(dataset(a), results[3:])[0]
	if found := s.pair(); found[0] != nil {
		t.Errorf("label 1 has %v", found[0].Score)
	}
	// A name that no label has pairs with nobody.
	results[0].AnnotationID = 77
	s = newScenes(dataset(a), results[:1])[0]
	if found := s.pair(); found[0] != nil {
		t.Error("a result of an unknown label was paired")
	}
}
