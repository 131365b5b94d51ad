package coco

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evopose/evopose/preprocess"
	"github.com/google/go-cmp/cmp"
)

func writeText(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "detections.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadDetections(t *testing.T) {
	path := writeText(t, `[
	  {"image_id": 2, "category_id": 1, "bbox": [1, 2.5, 30, 40], "score": 0.75},
	  {"image_id": 2, "category_id": 18, "bbox": [1, 2, 30, 40], "score": 1},
	  {"image_id": 9, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 1},
	  {"image_id": 1, "category_id": 1, "bbox": [1, 2, 0, 40], "score": 1},
	  {"image_id": 1, "category_id": 1, "bbox": [-5, 0, 3, 4], "score": 0, "segmentation": {}}]`)
	got, leftOut, err := ReadDetections(path, dataset())
	if err != nil {
		t.Fatal(err)
	}
	want := []Detection{
		{ImageID: 2, Box: preprocess.Box{X: 1, Y: 2.5, W: 30, H: 40}, Score: 0.75},
		{ImageID: 1, Box: preprocess.Box{X: -5, Y: 0, W: 3, H: 4}},
	}
	if d := cmp.Diff(want, got); d != "" || leftOut != 3 {
		t.Errorf("%d left out, %s", leftOut, d)
	}
}

func TestReadDetectionsRefuses(t *testing.T) {
	d := dataset()
	d.Path = "val.json"
	for text, want := range map[string]string{
		``:                    "unexpected end of JSON input",
		`{"annotations": []}`: "the file is of type object",
		`[{"image_id": "7"}]`: "image_id is of type string",
		`[]`:                  "none of 0 detections is a person (category_id 1) in a picture of val.json",
		`[{}]`:                "detection 0: image_id is missing",
		`[{"image_id": 1}]`:   "detection 0: category_id is missing",
		`[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3], "score": 1}]`:        "bbox has 3 numbers; want 4",
		`[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]`:                 "score is missing",
		`[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 37}]`:    "score is 37; want 0 to 1",
		`[{"image_id": 1, "category_id": 1, "bbox": [1, 2e9, 3, 4], "score": 1}]`:   "beyond 1e+09 pixels",
		`[{"image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]`:     "none of 1 detections",
		`[{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 1}, {}]`: "detection 1: image_id",
	} {
		path := writeText(t, text)
		if _, _, err := ReadDetections(path, d); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %q and the file's name", text, err, want)
		}
	}
	if _, _, err := ReadDetections(filepath.Join(t.TempDir(), "absent.json"), d); err == nil || !strings.Contains(err.Error(), "absent.json") {
		t.Errorf("error %v", err)
	}
}
