package postprocess

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testdata/oks.json is made by testdata/oks.py with pycocotools.
func TestOKSAgreesWithPycocotools(t *testing.T) {
	text, err := os.ReadFile("testdata/oks.json")
	if err != nil {
		t.Fatal(err)
	}
	var pairs []struct {
		Area, OKS    float64
		Labelled     []float64
		Truth, Found [][2]float64
	}
	if err := json.Unmarshal(text, &pairs); err != nil || len(pairs) < 20 {
		t.Fatal(len(pairs), err)
	}
	for i, p := range pairs {
		var truth, found []Keypoint
		for k := range p.Truth {
			truth = append(truth, Keypoint{X: p.Truth[k][0], Y: p.Truth[k][1], Score: p.Labelled[k]})
			found = append(found, Keypoint{X: p.Found[k][0], Y: p.Found[k][1], Score: 1})
		}
		if got := OKS(truth, found, p.Area); math.Abs(got-p.OKS) > 1e-8 {
			t.Errorf("pair %d: OKS %.9f, want %.9f", i, got, p.OKS)
		}
	}
}

func TestOKSByHand(t *testing.T) {
	nose := func(x, score float64) []Keypoint { return []Keypoint{{X: x, Score: score}} }
	nan := math.NaN()
	for name, tt := range map[string]struct {
		a, b []Keypoint
		area float64
		want float64
	}{
		// d = sqrt(area)*k, k = 0.052: exp(-1/2).
		"one k away":           {nose(0, 1), nose(5.2, 1), 10000, math.Exp(-0.5)},
		"the same":             {nose(3, 1), nose(3, 1), 10000, 1},
		"the same, no area":    {nose(3, 1), nose(3, 1), 0, 1},
		"apart, no area":       {nose(3, 1), nose(4, 1), 0, 0},
		"b's score is nothing": {nose(3, 1), nose(3, 0), 100, 1},
		"a's score counts":     {nose(3, 0), nose(3, 1), 100, 0},
		"nobody":               {nil, nose(3, 1), 100, 0},
		"NaN":                  {nose(nan, 1), nose(3, 1), 100, 0},
		"NaN area":             {nose(3, 1), nose(3, 1), nan, 0},
		"too many keypoints":   {make([]Keypoint, 40), make([]Keypoint, 30), 1, 0},
	} {
		if got := OKS(tt.a, tt.b, tt.area); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("%s: OKS %v, want %v", name, got, tt.want)
		}
	}
}

func TestSuppress(t *testing.T) {
	people := []Person{person(0, 0, 0.5), person(1, 0, 0.9), person(300, 0, 0.1), person(2, 1, 0.9)}
	for name, tt := range map[string]struct {
		people    []Person
		threshold float64
		want      []int
	}{
		"doubles":                          {people, SuppressThreshold, []int{1, 2}},
		"nothing exceeds 1":                {people, 1, []int{0, 1, 2, 3}},
		"nobody":                           {nil, 0.5, []int{}},
		"of equals the first":              {[]Person{person(0, 0, 0.5), person(0, 0, 0.5)}, 0.9, []int{0}},
		"NaN comes last":                   {[]Person{person(0, 0, math.NaN()), person(0, 0, 0.5)}, 0.9, []int{1}},
		"no keypoint is sure: all stay":    {[]Person{person(0, 0, 0), person(0, 0, 0)}, 0.9, []int{0, 1}},
		"what a dropped one covers, stays": {chain(), 0.75, []int{0, 2}},
	} {
		if diff := cmp.Diff(tt.want, Suppress(tt.people, tt.threshold)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// chain returns three people, each near only to the next.
func chain() []Person {
	return []Person{person(0, 0, 0.9), person(6, 0, 0.8), person(12, 0, 0.7)}
}

func TestChainIsOne(t *testing.T) {
	c := chain()
	if near, far := similarity(&c[0], &c[1]), similarity(&c[0], &c[2]); !(near > 0.75 && far < 0.75) {
		t.Errorf("similarities %.3f and %.3f, want one on each side of 0.75", near, far)
	}
}

func BenchmarkSuppress(b *testing.B) {
	var people []Person
	for i := range 64 {
		people = append(people, person(10*float64(i%8), 20*float64(i/8), float64(i)/64))
	}
	for b.Loop() {
		Suppress(people, SuppressThreshold)
	}
}
