package coco

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/preprocess"
)

// object is a JSON object.
type object = map[string]any

// with returns a copy of o with a key set, or removed where the value is nil.
func with(o object, key string, value any) object {
	o = maps.Clone(o)
	o[key] = value
	if value == nil {
		delete(o, key)
	}
	return o
}

// flat returns keypoints as files have them: 10k, 20k, v for keypoint k.
func flat(v int) []float64 {
	var all []float64
	for k := range model.Keypoints {
		all = append(all, float64(10*k), float64(20*k), float64(v))
	}
	return all
}

var (
	plainPerson = object{
		"id": 7, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": []float64{1, 2, 30, 40},
		"area": 500.5, "num_keypoints": 16, "keypoints": flat(2), "segmentation": [][]int{{1, 2, 3}},
	}
	plainCategory = object{"id": 1, "name": "person", "keypoints": model.KeypointNames}
)

// plainFile returns an annotation file with one picture and the persons.
func plainFile(persons ...object) object {
	return object{
		"images":      []object{{"id": 1, "file_name": "a.jpg", "width": 100, "height": 200, "license": 3}},
		"annotations": persons, "categories": []object{plainCategory},
	}
}

// load writes the file, unless it is text, as JSON and loads it.
func load(t *testing.T, content any) (*Dataset, error) {
	t.Helper()
	data, ok := content.(string)
	if !ok {
		b, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		data = string(b)
	}
	path := filepath.Join(t.TempDir(), "people.json")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path, "")
}

func TestLoad(t *testing.T) {
	other := with(with(plainPerson, "id", 8), "category_id", 2)
	bare := object{"id": 9, "image_id": 1, "bbox": []int{0, 0, 1, 100}, "keypoints": flat(1)}
	crowd := object{"id": 10, "image_id": 1, "iscrowd": 1, "bbox": []int{0, 0, 10, 0}}
	d, err := load(t, plainFile(plainPerson, other, bare, crowd))
	if err != nil {
		t.Fatal(err)
	}
	if want := []Image{{ID: 1, FileName: "a.jpg", Width: 100, Height: 200}}; !slices.Equal(d.Images, want) {
		t.Errorf("images %+v, want %+v", d.Images, want)
	}
	want := []Annotation{
		{ID: 7, ImageID: 1, NumKeypoints: 16, Box: preprocess.Box{X: 1, Y: 2, W: 30, H: 40}, Area: 500.5},
		{ID: 9, ImageID: 1, NumKeypoints: 17, Box: preprocess.Box{W: 1, H: 100}, Area: areaOfBox * 100},
		{ID: 10, ImageID: 1, Box: preprocess.Box{W: 10}, Crowd: true},
	}
	for k := range model.Keypoints {
		x, y := float64(10*k), float64(20*k)
		want[0].Keypoints[k], want[1].Keypoints[k] = Keypoint{x, y, 2}, Keypoint{x, y, 1}
	}
	if !slices.Equal(d.Annotations, want) {
		t.Errorf("annotations\n%+v, want\n%+v", d.Annotations, want)
	}
}

// TestLoadWithoutCategories checks that every annotation is a person then.
func TestLoadWithoutCategories(t *testing.T) {
	d, err := load(t, with(plainFile(with(plainPerson, "category_id", 33)), "categories", nil))
	if err != nil || len(d.Annotations) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestLoadErrors(t *testing.T) {
	person := func(key string, value any) object { return plainFile(with(plainPerson, key, value)) }
	names := slices.Clone(model.KeypointNames[:])
	slices.Reverse(names)
	badV, far := flat(2), flat(2)
	badV[5], far[3*16] = 3, -1e10
	tests := []struct {
		content any
		want    string
	}{
		{"", "not JSON: unexpected end of JSON input at byte 0"},
		{`{"images": [{]}`, "not JSON: invalid character"},
		{`{"images": [{"id": NaN}]}`, "not JSON: invalid character 'N'"},
		{`[]`, "not COCO keypoint annotations"},
		{`{"images": "none"}`, "not COCO keypoint annotations: json: cannot unmarshal string"},
		{`{}`, `no pictures: "images" is missing or empty`},
		{plainFile(), `no persons: "annotations" is missing`},
		{person("category_id", 2), `has none of the category "person"`},
		{with(plainFile(), "categories", []object{{"id": 1, "name": "dog"}}), `no category is named "person"`},
		{with(plainFile(), "categories", []object{with(plainCategory, "keypoints", names)}), "are not COCO's"},
		{with(plainFile(), "images", []object{{"id": 1}, {"id": 1}}), "image 1: file_name \"\" is not a path below"},
		{with(plainFile(), "images", []object{{"id": 3, "file_name": "../a.jpg"}}), `image 3: file_name "../a.jpg" is not a path below`},
		{with(plainFile(), "images", []object{{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}}), "2 pictures have only 1 different ids"},
		{person("image_id", 5), `annotation 7: image_id 5 is not in "images"`},
		{plainFile(plainPerson, plainPerson), "annotation 7: an earlier annotation has the same id"},
		{person("bbox", nil), "annotation 7: bbox has 0 numbers; want 4"},
		{person("bbox", []float64{0, 0, 1e10, 1}), "annotation 7: bbox [0 0 1e+10 1]: a number is beyond 1e+09 pixels"},
		{person("keypoints", nil), "annotation 7: keypoints has 0 numbers; want 51"},
		{person("keypoints", flat(2)[:48]), "annotation 7: keypoints has 48 numbers; want 51"},
		{person("keypoints", badV), "annotation 7: left_eye: v is 3; want 0, 1 or 2"},
		{person("keypoints", far), "annotation 7: right_ankle: (-1e+10, 320) is beyond"},
	}
	for _, tt := range tests {
		_, err := load(t, tt.content)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "people.json: ") {
			t.Errorf("error %v, want the file and %q", err, tt.want)
		}
	}
}

func TestLoadFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "people.json")
	images := make([]object, 10)
	for i := range images {
		images[i] = object{"id": i, "file_name": fmt.Sprintf("%d.jpg", i)}
	}
	data, err := json.Marshal(with(plainFile(plainPerson), "images", images))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ annotations, dir, want string }{
		{filepath.Join(dir, "no.json"), dir, "no.json: no such file"},
		{path, filepath.Join(dir, "none"), "folder of the pictures: stat "},
		{path, path, "people.json is a file"},
		{path, dir, "has none of the first 8 pictures of " + path + ", such as 0.jpg"},
	} {
		if _, err := Load(tt.annotations, tt.dir); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "7.jpg"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := Load(path, dir); err != nil || d.Path != path || d.Dir != dir || d.ImagesByID()[6] != 6 {
		t.Errorf("one of the first pictures is there: %v", err)
	}
}

// FuzzParse checks that whatever loads can be indexed.
func FuzzParse(f *testing.F) {
	data, err := json.Marshal(plainFile(plainPerson))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"images":[{"id":1,"file_name":"a"}],"annotations":[{"image_id":1,"iscrowd":1,"bbox":[0,0,-1,1e9]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := parse(data)
		if err != nil {
			if text := err.Error(); text == "" {
				t.Fatal("empty message")
			}
			return
		}
		byID := d.ImagesByID()
		for _, a := range d.Annotations {
			if _, ok := byID[a.ImageID]; !ok || !(a.Box.W >= 0) || !(a.Box.H >= 0) {
				t.Fatalf("annotation %+v", a)
			}
		}
		d.samples()
	})
}
