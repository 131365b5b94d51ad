package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/evopose/evopose/model/ort/orttest"
	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/preprocess"
	"github.com/evopose/evopose/search/coco"
	"github.com/google/go-cmp/cmp"
)

// evalFiles is an annotation file and a folder with its pictures, 120 x 90.
type evalFiles struct {
	dir, data, images string
}

func (f evalFiles) write(t *testing.T, name string, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type dict = map[string]any

// label returns a label with 17 keypoints: those found, or all in (10, 20).
func label(id, image int, box [4]float64, found []postprocess.Keypoint) dict {
	keypoints := []float64{}
	for k := range 17 {
		if found == nil {
			keypoints = append(keypoints, 10, 20, 2)
		} else {
			keypoints = append(keypoints, found[k].X, found[k].Y, 2)
		}
	}
	return dict{"id": id, "image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3],
		"keypoints": keypoints, "num_keypoints": 17}
}

var evalBoxes = [][4]float64{{5, 6, 40, 70}, {50.5, 1, 60, 80}}

// writeEvalFiles writes n pictures, 1.png to n.png, with two labels each, which
// are what the predictor finds; nil: the same place for all keypoints.
func writeEvalFiles(t *testing.T, p *predictor, n int) evalFiles {
	t.Helper()
	if p != nil {
		p.boxes = func(string) ([]preprocess.Box, error) {
			a, b := evalBoxes[0], evalBoxes[1]
			return []preprocess.Box{{X: a[0], Y: a[1], W: a[2], H: a[3]}, {X: b[0], Y: b[1], W: b[2], H: b[3]}}, nil
		}
	}
	f := evalFiles{dir: t.TempDir()}
	f.images = filepath.Join(f.dir, "images")
	if err := os.Mkdir(f.images, 0o755); err != nil {
		t.Fatal(err)
	}
	var images, labels []dict
	for i := 1; i <= n; i++ {
		name := fmt.Sprintf("%d.png", i)
		path := writePicture(t, f.images, name, uint64(i))
		people := make([]postprocess.Person, len(evalBoxes))
		if p != nil {
			got, _ := predictAll(t, p, path)
			people = got[0].People
		}
		images = append(images, dict{"id": i, "file_name": name, "width": 120, "height": 90})
		for j, b := range evalBoxes {
			labels = append(labels, label(10*i+j, i, b, people[j].Keypoints))
		}
	}
	f.data = f.write(t, "data.json", dict{"images": images, "annotations": labels})
	return f
}

// evaluate runs an evaluation with the fake network.
func evaluate(t *testing.T, f evalFiles, boxes string, change func(*evaluation)) (*evaluation, string, error) {
	t.Helper()
	set, err := readEvalSet(f.data, f.images, boxes)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	e := &evaluation{set: set, stderr: &b, predictor: *testPredictor(t)}
	if change != nil {
		change(e)
	}
	err = e.all(t.Context())
	return e, b.String(), err
}

// A network that is asked about what it found itself is right in everything.
func TestEvalOfItsOwnLabels(t *testing.T) {
	f := writeEvalFiles(t, testPredictor(t), 5)
	e, text, err := evaluate(t, f, "", nil)
	if err != nil || text != "" {
		t.Fatalf("%v, printed %q", err, text)
	}
	r := coco.Evaluate(e.readable(), e.results)
	if r.AP < 1-1e-9 || r.AR != 1 || r.PCK10 != 1 || r.PCKBox10 != 1 || r.Results != 10 || r.Images != 5 {
		t.Errorf("%+v", r)
	}
	for i, got := range e.results {
		if want := int64(10*(i/2+1) + i%2); got.AnnotationID != want {
			t.Errorf("result %d is annotation %d's, want %d", i, got.AnnotationID, want)
		}
	}
	changed, _, err := evaluate(t, f, "", func(e *evaluation) { e.options.Decode = postprocess.Argmax })
	if err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(changed.results, e.results) {
		t.Error("the options make no difference")
	}
}

func TestEvalDetections(t *testing.T) {
	f := writeEvalFiles(t, testPredictor(t), 2)
	detection := func(image int, box [4]float64, score float64) dict {
		return dict{"image_id": image, "category_id": 1, "bbox": box, "score": score}
	}
	boxes := f.write(t, "detections.json", []dict{
		detection(2, evalBoxes[0], 0.5), detection(1, evalBoxes[1], 1), detection(2, evalBoxes[0], 0.25),
		detection(3, evalBoxes[0], 1), detection(2, evalBoxes[1], 0)})
	e, _, err := evaluate(t, f, boxes, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(e.results) != 4 || e.set.leftOut != 1 || e.results[0].ImageID != 1 || e.results[0].AnnotationID != 0 {
		t.Fatalf("%d left out, %+v", e.set.leftOut, e.results)
	}
	// A person's score is the network's times the box's.
	if s := e.results; s[1].Score != 2*s[2].Score || s[3].Score != 0 || s[1].Score == 0 {
		t.Errorf("scores %v %v %v", s[1].Score, s[2].Score, s[3].Score)
	}
	r := coco.Evaluate(e.readable(), e.results)
	if r.People != 4 || r.Missed != 1 || r.AR != 0.75 {
		t.Errorf("%+v", r)
	}
	e, _, err = evaluate(t, f, boxes, func(e *evaluation) { e.nms = 0.9 })
	if err != nil || len(e.results) != 3 || e.results[1].Score <= 0 {
		t.Errorf("with NMS %v %+v", err, e.results)
	}
}

// damage makes of six pictures one a text, one absent and one of another size.
func damage(t *testing.T, f evalFiles) {
	t.Helper()
	err := errors.Join(
		os.WriteFile(filepath.Join(f.images, "2.png"), []byte("not a picture"), 0o600),
		os.Remove(filepath.Join(f.images, "3.png")),
		writePNG(filepath.Join(f.images, "4.png"), syntheticPicture(9, 90, 120)))
	if err != nil {
		t.Fatal(err)
	}
}

func TestEvalBrokenPictures(t *testing.T) {
	f := writeEvalFiles(t, testPredictor(t), 6)
	damage(t, f)
	_, text, err := evaluate(t, f, "", nil)
	if err == nil || !strings.Contains(err.Error(), "3 of 6 pictures are broken; --skip-broken") {
		t.Errorf("error %v", err)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, want := range []string{`2\.png: .*(unknown|not an? )`, `3\.png: no such file`, `4\.png: the picture is 90x120 pixels upright, by the annotation file 120x90`} {
		if len(lines) != 3 || !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Errorf("%s does not match\n%s", want, text)
		}
	}
	e, _, err := evaluate(t, f, "", func(e *evaluation) { e.skipBroken = true })
	if err != nil {
		t.Fatal(err)
	}
	r := coco.Evaluate(e.readable(), e.results)
	if r.AP < 1-1e-9 || r.Images != 3 || r.People != 6 || r.Missed != 0 {
		t.Errorf("%+v", r)
	}
	if len(e.set.dataset.Images) != 6 {
		t.Error("the data set was changed")
	}
}

func TestEvalOfBrokenPicturesOnly(t *testing.T) {
	f := writeEvalFiles(t, nil, 1)
	if err := os.WriteFile(filepath.Join(f.images, "1.png"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := evaluate(t, f, "", func(e *evaluation) { e.skipBroken = true }); err == nil || !strings.Contains(err.Error(), "1 of 1 pictures are broken") {
		t.Errorf("error %v", err)
	}
}

func TestEvalStopsWhenInterrupted(t *testing.T) {
	f := writeEvalFiles(t, nil, 3)
	set, err := readEvalSet(f.data, f.images, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b strings.Builder
	e := &evaluation{set: set, stderr: &b, predictor: *testPredictor(t)}
	if err := e.all(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "interrupted after 0 of 3") || b.String() != "" {
		t.Errorf("error %v, printed %q", err, b.String())
	}
}

// Who is a crowd, has no keypoint or no box is not looked for.
func TestEvalSetOfLabels(t *testing.T) {
	f := writeEvalFiles(t, nil, 4)
	box := evalBoxes[0]
	crowd, empty, flat := label(2, 1, box, nil), label(3, 2, box, nil), label(4, 3, [4]float64{1, 2, 0, 4}, nil)
	crowd["iscrowd"] = 1
	empty["num_keypoints"], empty["keypoints"] = 0, make([]int, 51)
	images := []dict{{"id": 3, "file_name": "3.png"}, {"id": 2, "file_name": "2.png"}, {"id": 1, "file_name": "1.png"}}
	data := f.write(t, "some.json", dict{"images": images, "annotations": []dict{label(1, 1, box, nil), crowd, empty, flat}})
	s, err := readEvalSet(data, f.images, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.images) != 1 || s.images[0].ID != 1 || s.leftOut != 1 || len(s.dataset.Images) != 3 {
		t.Fatalf("%+v", s)
	}
	want := []preprocess.Box{{X: 5, Y: 6, W: 40, H: 70}}
	if got, err := s.boxes(s.path(s.images[0])); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
}

func TestEvalSetRefuses(t *testing.T) {
	f := writeEvalFiles(t, nil, 1)
	image := dict{"id": 1, "file_name": "1.png"}
	flat := label(1, 1, [4]float64{1, 2, 0, 4}, nil)
	for want, data := range map[string]string{
		"data.json: two pictures are 1.png":                   f.write(t, "data.json", dict{"images": []dict{image, {"id": 2, "file_name": "1.png"}}, "annotations": []dict{flat}}),
		"flat.json: nobody has a box and a labelled keypoint": f.write(t, "flat.json", dict{"images": []dict{image}, "annotations": []dict{flat}}),
		"absent.json: no such file":                           filepath.Join(f.dir, "absent.json"),
	} {
		if _, err := readEvalSet(data, f.images, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", want, err)
		}
	}
	if _, err := readEvalSet(writeEvalFiles(t, nil, 1).data, f.images, filepath.Join(f.dir, "absent")); err == nil || !strings.Contains(err.Error(), "detections: ") {
		t.Errorf("error %v", err)
	}
}

func TestEvalUsage(t *testing.T) {
	data := []string{"--data", "a.json", "--images", "a"}
	for want, args := range map[string][]string{
		"want --data":         {"--images", "a"},
		"--images, the":       {"--data", "a.json"},
		"--batch 0":           append(slices.Clone(data), "--batch", "0"),
		"--nms 2":             append(slices.Clone(data), "--nms", "2"),
		"--nms NaN":           append(slices.Clone(data), "--nms", "nan"),
		"--decode: ":          append(slices.Clone(data), "--decode", "best"),
		`--provider "tpu"`:    append(slices.Clone(data), "--provider", "tpu"),
		`unknown command "x"`: append(slices.Clone(data), "x"),
		"that --results is":   {"--results", "r.json"},
		"not with --flip":     {"--data", "a.json", "--results", "r.json", "--flip"},
	} {
		if _, err := evopose(t, t.TempDir(), append([]string{"eval"}, args...)...); !isUsage(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("eval %v: error %v, want usage %q", args, err, want)
		}
	}
}

func TestReadModelFile(t *testing.T) {
	dir := t.TempDir()
	e := export(t, dir, "--model", "xs", "--size", "64x64", "--out", "tiny.onnx")
	b, err := readModelFile(filepath.Join(dir, "tiny.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if b.Card.Name != "tiny" || b.Card.Input != e.Card.Input || b.Card.Heatmap != e.Card.Heatmap || b.Card.SHA256 != e.Card.SHA256 {
		t.Errorf("%+v, want %+v", b.Card, e.Card)
	}
	odd := filepath.Join(dir, "Epoch 3.onnx")
	if err := os.Rename(filepath.Join(dir, "tiny.onnx"), odd); err != nil {
		t.Fatal(err)
	}
	if b, err := readModelFile(odd); err != nil || b.Card.Name != "file" {
		t.Errorf("%v %v", b.Card.Name, err)
	}
	text := filepath.Join(dir, "text.onnx")
	if err := os.WriteFile(text, []byte("not a network"), 0o600); err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(dir, "torn.ckpt")
	if err := os.WriteFile(torn, []byte("evopose checkpoint 1\nand no more of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{text, torn, filepath.Join(dir, "absent.onnx")} {
		if _, err := readModelFile(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", path, err)
		}
	}
}

// The whole command with a real network, from an ONNX file without a card.
func TestEvalCommand(t *testing.T) {
	orttest.Init(t)
	f := writeEvalFiles(t, nil, 3)
	export(t, f.dir, "--model", "xs", "--size", "64x64", "--out", "tiny.onnx")
	if err := os.Remove(filepath.Join(f.dir, "tiny.yaml")); err != nil {
		t.Fatal(err)
	}
	args := []string{"eval", "--data", "data.json", "--images", "images", "--model", "tiny.onnx", "--provider", "cpu", "--flip"}
	out, err := evopose(t, f.dir, append(args, "--out", "results.json")...)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`(?m)^warning: model tiny is not trained`, `(?m)^model +tiny, 64x64, on cpu, ONNX Runtime `,
		`(?m)^decode +dark, flip test$`, `(?m)^ +AP +AP50`, `(?m)^3 pictures, 6 people labelled, 6 found`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s does not match\n%s", want, out)
		}
	}
	data, err := os.ReadFile(filepath.Join(f.dir, "results.json"))
	var results []postprocess.COCOResult
	if err := errors.Join(err, json.Unmarshal(data, &results)); err != nil || len(results) != 6 {
		t.Errorf("%v: %s", err, data)
	}
	measured := out[strings.Index(out, "  AP   AP50"):]
	out, err = evopose(t, f.dir, "eval", "--data", "data.json", "--results", "results.json")
	if err != nil {
		t.Fatal(err)
	}
	if again := out[strings.Index(out, "  AP   AP50"):]; again != measured {
		t.Errorf("--results measures\n%s\nof what --out wrote, which is\n%s", again, measured)
	}
	damage(t, f)
	out, err = evopose(t, f.dir, append(args, "--json", "--skip-broken")...)
	if err != nil {
		t.Fatal(err)
	}
	var r evalReport
	if err := json.Unmarshal([]byte(out[strings.Index(out, "\n{"):]), &r); err != nil {
		t.Fatal(err)
	}
	if r.Model != "tiny" || len(r.SHA256) != 64 || !r.Flip || r.Images != 1 || r.Broken != 2 || r.People != 2 {
		t.Errorf("%+v", r)
	}
}

func TestDescribeBoxes(t *testing.T) {
	if got := describeBoxes(evalReport{Boxes: "d.json", BoxesLeftOut: 3}); got != "d.json; 3 left out" {
		t.Error(got)
	}
	if got := describeBoxes(evalReport{}); !strings.HasPrefix(got, "of the labels") {
		t.Error(got)
	}
}
