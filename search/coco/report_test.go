package coco

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

func TestReportJSON(t *testing.T) {
	a := torsoPerson(1, 1, 0)
	data, err := json.Marshal(Evaluate(dataset(a), []Result{find(a, 1, 0, 15)}))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Fields("AP AP50 AP75 APM APL AR AR50 AR75 ARM ARL PCK@0.1 PCK@0.2 PCKbox@0.1 PCKbox@0.2 images people keypoints") {
		if _, ok := got[key]; !ok {
			t.Errorf("%s is missing in %s", key, data)
		}
	}
	if got["PCK@0.1"] != 0.0 || got["PCK@0.2"] != 1.0 || got["APL"] != -1.0 {
		t.Errorf("%s", data)
	}
	if k := got["keypoints"].([]any)[16].(map[string]any); k["name"] != "right_ankle" || k["labels"] != 1.0 {
		t.Errorf("%v", k)
	}
}

func TestReportTable(t *testing.T) {
	a := torsoPerson(1, 1, 0)
	a.Keypoints[0] = Keypoint{}
	r := Evaluate(dataset(a), []Result{find(a, 1, 0, 0)})
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^ +AP +AP50 +AP75 +APM +APL +AR .* PCK@0.1 +PCK@0.2$`,
		`(?m)^ +1.000 +1.000 +1.000 +1.000 +- +1.000 .* 1.000$`,
		`(?m)^3 pictures, 1 people labelled, 1 found, 0 missed; 0 without a torso length, not in PCK$`,
		`(?m)^ +nose +0 +- +- +- +- +-$`,
		`(?m)^ +left_eye +1 +1.000 +1.000 +1.000 +1.000 +1.000$`,
		`(?m)^ +all +16 +1.000 +1.000 +1.000 +1.000 +1.000$`,
	} {
		if !regexp.MustCompile(want).MatchString(b.String()) {
			t.Errorf("%s does not match\n%s", want, b.String())
		}
	}
}
