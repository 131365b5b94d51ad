package coco

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every digit is written: what is read again is the same, but for the box.
func TestResultsWrittenAndRead(t *testing.T) {
	looked, other := find(torsoPerson(1, 2, 0), 1.0/3, 1.0/7, 0), find(torsoPerson(2, 3, 0), 1.0/9, 0, 1.0/11)
	looked.AnnotationID, other.AnnotationID = 1, 0
	want := []Result{looked, other}
	path := filepath.Join(t.TempDir(), "results.json")
	if err := WriteResults(path, want); err != nil {
		t.Fatal(err)
	}
	got, leftOut, err := ReadResults(path, dataset())
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		got[i].Box = want[i].Box
	}
	if d := cmp.Diff(want, got); d != "" || leftOut != 0 {
		t.Errorf("%d left out, %s", leftOut, d)
	}
	data, err := os.ReadFile(path)
	// With a bbox pycocotools would take its area for the person's.
	if err != nil || bytes.Contains(data, []byte("bbox")) || bytes.Count(data, []byte("annotation_id")) != 1 {
		t.Errorf("%v %s", err, data)
	}
}

func TestWriteResultsOfNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	if err := WriteResults(path, nil); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(path); string(data) != "[]\n" {
		t.Errorf("%q", data)
	}
	if err := WriteResults(filepath.Join(path, "below"), nil); err == nil {
		t.Error("no error for a folder that is a file")
	}
}

// Other programs' scores need not be 0 to 1.
func TestReadResults(t *testing.T) {
	points := strings.TrimSuffix(strings.Repeat("1, 2.5, 7, ", 17), ", ")
	person := func(image, category int) string {
		return fmt.Sprintf(`{"image_id": %d, "category_id": %d, "keypoints": [%s], "score": 12}`, image, category, points)
	}
	d := dataset()
	d.Path = "val.json"
	path := writeText(t, "["+person(2, 1)+","+person(2, 18)+","+person(9, 1)+"]")
	got, leftOut, err := ReadResults(path, d)
	if err != nil || len(got) != 1 || leftOut != 2 {
		t.Fatalf("%v %d left out: %v", got, leftOut, err)
	}
	if r := got[0]; r.ImageID != 2 || r.Score != 12 || r.Keypoints[16] != (Point{X: 1, Y: 2.5, Score: 7}) {
		t.Errorf("%+v", r)
	}
	for text, want := range map[string]string{
		`{"annotations": []}`: `"keypoints": [x, y, score, ...], "score": 0.9}]: the file is of type object`,
		`[{}]`:                "result 0: image_id is missing",
		`[{"image_id": 1}]`:   "result 0: category_id is missing",
		`[{"image_id": 1, "category_id": 1, "keypoints": [1, 2, 3], "score": 1}]`: "keypoints has 3 numbers; want 51",
		strings.Replace("["+person(1, 1)+"]", "score", "confidence", 1):           "score is missing",
		strings.Replace("["+person(1, 1)+"]", "2.5", "2e9", 1):                    "nose at (1, 2e+09): beyond 1e+09 pixels",
		"[" + person(9, 1) + "]": "none of 1 results is a person (category_id 1) in a picture of val.json",
	} {
		path := writeText(t, text)
		if _, _, err := ReadResults(path, d); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %q and the file's name", text, err, want)
		}
	}
	if _, _, err := ReadResults(filepath.Join(t.TempDir(), "absent.json"), d); err == nil || !strings.Contains(err.Error(), "absent.json") {
		t.Errorf("error %v", err)
	}
}
