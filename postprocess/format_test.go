package postprocess

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The shape of api.md, numbers with at most four decimals.
func TestPersonJSON(t *testing.T) {
	p := Person{Box: [4]float64{12, 30.5, 200, 400.123456789}, Score: 0.81,
		Keypoints: []Keypoint{{"nose", 101.2, 60.9, 0.93}, {"left_eye", 100.0 / 3, -0.00001, 2.0 / 3}}}
	const want = `{"box":[12,30.5,200,400.123456789],"score":0.81,"keypoints":[` +
		`{"name":"nose","x":101.2,"y":60.9,"score":0.93},{"name":"left_eye","x":33.3333,"y":0,"score":0.6667}]}`
	text, err := json.Marshal(p)
	if err != nil || string(text) != want {
		t.Errorf("%s %v, want\n%s", text, err, want)
	}
	if text, err = json.Marshal([]*Person{&p}); err != nil || string(text) != "["+want+"]" {
		t.Errorf("by pointer: %s %v", text, err)
	}
	if p.Keypoints[1].X != 100.0/3 {
		t.Error("writing changed the person")
	}
}

// What is read back differs by less than 1e-4 from what was written.
func TestPersonJSONRoundTrip(t *testing.T) {
	rng := newRand()
	var p Person
	for range 17 {
		p.Keypoints = append(p.Keypoints, Keypoint{Name: "nose", X: 1e4 * rng.NormFloat64(), Y: 1e9 * rng.Float64(), Score: rng.Float64()})
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var got Person
	if err := json.Unmarshal(text, &got); err != nil || len(got.Keypoints) != 17 {
		t.Fatal(err)
	}
	for i, k := range p.Keypoints {
		g := got.Keypoints[i]
		if worst := max(math.Abs(g.X-k.X), math.Abs(g.Y-k.Y), math.Abs(g.Score-k.Score)); worst > 0.6e-4 {
			t.Errorf("keypoint %d: %+v became %+v", i, k, g)
		}
	}
}

// A number that JSON lacks is an error, not a wrong file.
func TestPersonJSONRefusesNaN(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		if text, err := json.Marshal(Person{Keypoints: []Keypoint{{X: v}}}); err == nil {
			t.Errorf("wrote %s", text)
		}
	}
}

func TestCOCO(t *testing.T) {
	p := person(10, 20, 0.81)
	p.Keypoints[1].X = 1.0 / 3
	text, err := json.Marshal(COCO([]Person{p, {}}, 7))
	const want = `[{"image_id":7,"category_id":1,"keypoints":[10,20,0.81,0.3333,23,0.81,20,26,0.81,25,29,0.81,30,32,0.81,` +
		`35,35,0.81,40,38,0.81,45,41,0.81,50,44,0.81,55,47,0.81,60,50,0.81,65,53,0.81,70,56,0.81,75,59,0.81,80,62,0.81,` +
		`85,65,0.81,90,68,0.81],"score":0.81},{"image_id":7,"category_id":1,"keypoints":[],"score":0}]`
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	if got := COCO(nil, 7); got == nil || len(got) != 0 {
		t.Errorf("nobody is %v, want an empty list", got)
	}
}
