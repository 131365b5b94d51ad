package coco

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/preprocess"
)

// apCase is what testdata/ap.py writes.
type apCase struct {
	Dataset json.RawMessage `json:"dataset"`
	Results json.RawMessage `json:"results"`
	Stats   [10]float64     `json:"stats"`
}

func readAPCase(t *testing.T, path string) (*Dataset, []Result, [10]float64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var c apCase
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	d, err := parse(c.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	results, _, err := resultList.parse(c.Results, d)
	if err != nil {
		t.Fatal(err)
	}
	return d, newResults(results), c.Stats
}

// stats returns the figures in pycocotools' order.
func (r *Report) stats() [10]float64 {
	return [10]float64{r.AP, r.AP50, r.AP75, r.APM, r.APL, r.AR, r.AR50, r.AR75, r.ARM, r.ARL}
}

// All ten figures are those of pycocotools, on real labels with crowds, people
// without keypoints, contradictions, twins and areas at the limits, and results
// with ties, strangers and more than 20 in a picture. COCO_CASES names a folder
// with more cases.
func TestAPEqualsPycocotools(t *testing.T) {
	for _, dir := range []string{"testdata", os.Getenv("COCO_CASES")} {
		if dir == "" {
			continue
		}
		paths, err := filepath.Glob(filepath.Join(dir, "ap-*.json"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s has no cases (%v)", dir, err)
		}
		worst := 0.0
		for _, path := range paths {
			d, results, want := readAPCase(t, path)
			r := Evaluate(d, results)
			for i, got := range r.stats() {
				worst = max(worst, math.Abs(got-want[i]))
				if !(math.Abs(got-want[i]) <= 1e-6) {
					t.Errorf("%s: figure %d is %.9f, pycocotools has %.9f", path, i, got, want[i])
				}
			}
		}
		t.Logf("%s: %d cases, worst difference %.1e", dir, len(paths), worst)
	}
}

// someone returns a label whose 17 keypoints lie on a line in a box of 100 x 100
// pixels whose corner is at (x, y).
func someone(id, image int64, x, y float64) Annotation {
	a := Annotation{ID: id, ImageID: image, NumKeypoints: model.Keypoints, Area: 5300,
		Box: preprocess.Box{X: x, Y: y, W: 100, H: 100}}
	for k := range a.Keypoints {
		a.Keypoints[k] = Keypoint{X: x + 5*float64(k+1), Y: y + 4*float64(k+1), V: 2}
	}
	return a
}

// find returns the result that is the label, all keypoints moved by (dx, dy).
func find(a Annotation, score, dx, dy float64) Result {
	r := Result{ImageID: a.ImageID, Score: score, Box: a.Box}
	for k, p := range a.Keypoints {
		r.Keypoints[k] = Point{X: p.X + dx, Y: p.Y + dy, Score: 1}
	}
	return r
}

func dataset(people ...Annotation) *Dataset {
	return &Dataset{Images: []Image{{ID: 2}, {ID: 1}, {ID: 3}}, Annotations: people}
}

func TestAPOfPerfectResults(t *testing.T) {
	d := dataset(someone(1, 1, 0, 0), someone(2, 1, 200, 0), someone(3, 2, 0, 0))
	var results []Result
	for _, a := range d.Annotations {
		results = append(results, find(a, 0.5, 0, 0))
	}
	r := Evaluate(d, results)
	want := [10]float64{1, 1, 1, 1, -1, 1, 1, 1, 1, -1} // nobody is large
	for i, got := range r.stats() {
		if math.Abs(got-want[i]) > 1e-12 {
			t.Errorf("figure %d: %v, want %v", i, got, want[i])
		}
	}
	if r.Images != 3 || r.People != 3 || r.Results != 3 || r.Missed != 0 {
		t.Errorf("%+v", r)
	}
}

// pycocotools cannot read an empty list of results; the figures follow from
// its definitions.
func TestAPWithoutResultsOrLabels(t *testing.T) {
	d := dataset(someone(1, 1, 0, 0))
	if r := Evaluate(d, nil); r.stats() != [10]float64{0, 0, 0, 0, -1, 0, 0, 0, 0, -1} || r.Missed != 1 {
		t.Errorf("without results: %+v", r)
	}
	stray := []Result{find(d.Annotations[0], 1, 0, 0)}
	if r := Evaluate(dataset(), stray); r.AP != -1 || r.AR != -1 || r.PCK20 != -1 {
		t.Errorf("without labels: %+v", r)
	}
	stray[0].ImageID = 99
	if r := Evaluate(d, stray); r.AP != 0 || r.Results != 0 {
		t.Errorf("a result of another picture: %+v", r)
	}
}

// Two of four people found before the first mistake, a third after it: the
// precision is 1 up to recall 0.5, 3/4 up to 0.75 and 0 beyond, so the mean over
// the 101 recalls is (51 + 25*3/4) / 101.
func TestAPByHand(t *testing.T) {
	var people []Annotation
	for i := range int64(4) {
		people = append(people, someone(i+1, 1, 300*float64(i), 0))
	}
	results := []Result{find(people[0], 0.9, 0, 0), find(people[1], 0.8, 0, 0), find(people[0], 0.7, 0, 3000), find(people[2], 0.6, 0, 0)}
	r := Evaluate(dataset(people...), results)
	if want := (51 + 25*0.75) / 101; math.Abs(r.AP-want) > 1e-12 || r.AR != 0.75 {
		t.Errorf("AP %v, want %v; AR %v", r.AP, want, r.AR)
	}
}

// A crowd takes any number of results, and they are not mistakes.
func TestAPCrowd(t *testing.T) {
	crowd := someone(2, 1, 500, 0)
	crowd.Crowd = true
	d := dataset(someone(1, 1, 0, 0), crowd)
	results := []Result{find(crowd, 0.9, 0, 0), find(crowd, 0.8, 0, 0), find(d.Annotations[0], 0.1, 0, 0)}
	if r := Evaluate(d, results); math.Abs(r.AP-1) > 1e-12 || r.People != 1 {
		t.Errorf("%+v", r)
	}
	d.Annotations[1].Crowd = false
	if r := Evaluate(d, results); r.AP > 0.9 {
		t.Errorf("a second result of one person is no mistake: AP %v", r.AP)
	}
}

// The most similar label is taken, of equal ones the last, one that counts
// before one that does not, and a threshold includes itself.
func TestTake(t *testing.T) {
	s := &scene{labels: []*Annotation{{}, {}, {Crowd: true}}}
	for _, c := range []struct {
		oks   []float64
		n     int // how many count
		taken []bool
		want  int
	}{
		{[]float64{0.6, 0.8, 0.7}, 3, []bool{false, false, false}, 1},
		{[]float64{0.7, 0.7, 0.1}, 3, []bool{false, false, false}, 1},
		{[]float64{0.5, 0.4, 0.4}, 3, []bool{false, false, false}, 0},
		{[]float64{0.4, 0.4, 0.4}, 3, []bool{false, false, false}, -1},
		{[]float64{0.6, 0.8, 0.9}, 1, []bool{false, false, false}, 0},
		{[]float64{0.6, 0.8, 0.7}, 1, []bool{true, false, false}, 1},
		{[]float64{0.6, 0.8, 0.7}, 0, []bool{false, false, false}, 1},
		{[]float64{0.6, 0.8, 0.7}, 1, []bool{true, true, true}, 2},
		{[]float64{0.6, 0.8, 0.4}, 2, []bool{true, true, true}, -1},
	} {
		before := slices.Clone(c.taken)
		if got := s.take(c.oks, []int{0, 1, 2}, c.n, c.taken, 0.5); got != c.want {
			t.Errorf("%v, %d count, taken %v: %d, want %d", c.oks, c.n, before, got, c.want)
		}
		if c.want >= 0 && !c.taken[c.want] {
			t.Errorf("%v: label %d was not taken", c.oks, c.want)
		}
	}
}

// An area of 0 divides nothing by nothing.
func TestClosenessWithoutArea(t *testing.T) {
	if at, off := closeness(0, 0, 0), closeness(1, 0, 0); at != 1 || off != 0 {
		t.Errorf("%v and %v", at, off)
	}
}

// A label without keypoints is near to all that is inside its box, enlarged.
func TestSimilarityWithoutKeypoints(t *testing.T) {
	a := someone(1, 1, 0, 0)
	r := find(a, 1, 0, 0)
	a.Keypoints = [model.Keypoints]Keypoint{}
	if got := similarity(&r, &a); got != 1 {
		t.Errorf("inside: %v", got)
	}
	far := find(someone(1, 1, 0, 0), 1, 200, -104)
	// Keypoints from (205, -100) to (285, -36): outside the box -100..200, so
	// only in x.
	want := 0.0
	for k, p := range far.Keypoints {
		want += closeness((p.X-200)*(p.X-200), a.Area, k) / model.Keypoints
	}
	if got := similarity(&far, &a); math.Abs(got-want) > 1e-15 || got == 1 {
		t.Errorf("outside: %v, want %v", got, want)
	}
}

// One keypoint, d pixels away: OKS is exp(-d^2 / (2 area (2 sigma)^2)).
func TestSimilarityOfOneKeypoint(t *testing.T) {
	a := Annotation{Area: 400}
	a.Keypoints[0] = Keypoint{X: 10, Y: 20, V: 1}
	r := Result{}
	r.Keypoints[0] = Point{X: 13, Y: 24}
	want := math.Exp(-25 / (2 * 400 * 0.052 * 0.052))
	if got := similarity(&r, &a); math.Abs(got-want) > 1e-12 {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestThresholdsAreNumpys(t *testing.T) {
	// numpy.linspace(.5, 0.95, 10)
	want := []float64{0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95}
	for i, w := range want {
		if got := threshold(i); got != w {
			t.Errorf("%d: %v, want %v", i, got, w)
		}
	}
}

func TestEvaluateLeavesItsArgumentsAlone(t *testing.T) {
	d := dataset(someone(1, 1, 0, 0), someone(2, 1, 200, 0))
	results := []Result{find(d.Annotations[0], 0.1, 0, 0), find(d.Annotations[1], 0.9, 0, 0)}
	first := Evaluate(d, results)
	if results[0].Score != 0.1 || d.Images[0].ID != 2 || Evaluate(d, results) != first {
		t.Error("a second evaluation differs, or an argument was changed")
	}
}
