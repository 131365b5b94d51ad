package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evopose/evopose/model/modeltest"
	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/preprocess"
	"github.com/evopose/evopose/server/batch"
	"github.com/evopose/evopose/server/pose"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// testPredictor predicts with the fake network.
func testPredictor(t *testing.T) *predictor {
	t.Helper()
	b := batch.New(modeltest.New(modeltest.Card()), batch.Options{Max: 2, Queue: 1000})
	t.Cleanup(func() { b.Close(context.Background()) })
	return &predictor{
		estimator: pose.NewEstimator(b, modeltest.Card()),
		model:     "fake",
		boxes:     func(string) ([]preprocess.Box, error) { return nil, nil },
		stdin:     strings.NewReader(""),
	}
}

// writePicture writes a PNG and returns its path.
func writePicture(t *testing.T, dir, name string, seed uint64) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := writePNG(path, syntheticPicture(seed, 120, 90)); err != nil {
		t.Fatal(err)
	}
	return path
}

func predictAll(t *testing.T, p *predictor, files ...string) ([]prediction, int) {
	t.Helper()
	var got []prediction
	failed, err := p.each(t.Context(), files, func(r prediction) error { got = append(got, r); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return got, failed
}

// Results come in the order of the arguments, each the same as the picture's
// alone, and a bad picture is named without stopping the others.
func TestPredictKeepsOrderAndGoesOn(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.jpg")
	if err := os.WriteFile(text, []byte("not a picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	var files []string
	for i := range uint64(9) {
		files = append(files, writePicture(t, dir, string(rune('a'+i))+".png", i))
	}
	files[3], files[5] = text, filepath.Join(dir, "absent.jpg")
	p := testPredictor(t)
	got, failed := predictAll(t, p, files...)
	if failed != 2 || len(got) != len(files) {
		t.Fatalf("%d failed of %d", failed, len(got))
	}
	for i, r := range got {
		if r.File != files[i] {
			t.Fatalf("place %d: %s, want %s", i, r.File, files[i])
		}
		if bad := i == 3 || i == 5; bad != (r.Error != "") {
			t.Errorf("%s: error %q", r.File, r.Error)
		}
		if strings.Contains(r.Error, dir) {
			t.Errorf("the file is named twice: %s", r.Error)
		}
		if alone, _ := predictAll(t, p, files[i]); !cmp.Equal(alone[0], r) {
			t.Errorf("%s: alone %s", r.File, cmp.Diff(alone[0], r))
		}
	}
}

// predict gives exactly what the pipeline of the server gives.
func TestPredictEqualsEstimator(t *testing.T) {
	p := testPredictor(t)
	p.options = pose.Options{Decode: postprocess.DARK, Flip: true}
	boxes := []preprocess.Box{{X: 5, Y: 6, W: 40, H: 70}, {X: 50.5, Y: 1, W: 60, H: 80}}
	p.boxes = func(string) ([]preprocess.Box, error) { return boxes, nil }
	file := writePicture(t, t.TempDir(), "a.png", 4)
	got, _ := predictAll(t, p, file)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	img, err := preprocess.Decode(data, preprocess.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := p.estimator.Estimate(t.Context(), img, boxes, p.options)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got[0].People); d != "" {
		t.Error(d)
	}
}

func TestPredictDrawsACopy(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	file := writePicture(t, dir, "a.png", 1)
	before, _ := os.ReadFile(file)
	p := testPredictor(t)
	p.drawTo = drawnNames([]string{file}, out)
	got, failed := predictAll(t, p, file)
	if failed != 0 || got[0].Drawn != filepath.Join(out, "a.pose.png") {
		t.Fatalf("%+v", got)
	}
	drawn, err := os.ReadFile(got[0].Drawn)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(drawn))
	if err != nil || img.Bounds().Dx() != 120 || img.Bounds().Dy() != 90 {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(file)
	if bytes.Equal(before, drawn) || !bytes.Equal(before, after) {
		t.Error("nothing was drawn, or the original was changed")
	}
}

func TestPredictReadsStandardInput(t *testing.T) {
	data, err := os.ReadFile(writePicture(t, t.TempDir(), "a.png", 1))
	if err != nil {
		t.Fatal(err)
	}
	p := testPredictor(t)
	p.stdin = bytes.NewReader(data)
	if got, failed := predictAll(t, p, "-"); failed != 0 || len(got[0].People) != 1 || got[0].Image.Width != 120 {
		t.Errorf("%+v", got)
	}
}

func TestPredictStopsWhenInterrupted(t *testing.T) {
	dir := t.TempDir()
	files := []string{writePicture(t, dir, "a.png", 1), writePicture(t, dir, "b.png", 2), writePicture(t, dir, "c.png", 3)}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := testPredictor(t).each(ctx, files, func(prediction) error { cancel(); return nil })
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	full := errors.New("disk full")
	if _, err := testPredictor(t).each(t.Context(), files, func(prediction) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
}

func TestDrawnNames(t *testing.T) {
	got := drawnNames([]string{"x/a.jpg", "y/a.png", "-", "b.tar.jpg", "a"}, "out")
	want := []string{"out/a.pose.png", "out/a-2.pose.png", "out/stdin.pose.png", "out/b.tar.pose.png", "out/a-3.pose.png"}
	for i := range want {
		want[i] = filepath.FromSlash(want[i])
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := drawnNames([]string{"x/a.jpg"}, ""); got[0] != "a.pose.png" {
		t.Errorf("%v", got)
	}
}

func TestPrintText(t *testing.T) {
	two := []postprocess.Person{{Score: 0.811}, {Score: 0.5}}
	for want, r := range map[string]prediction{
		"a.jpg: 2 people, score 0.81 0.50 -> a.pose.png\n": {File: "a.jpg", People: two, Drawn: "a.pose.png"},
		"a.jpg: 1 person, score 0.81\n":                    {File: "a.jpg", People: two[:1]},
		"a.jpg: 0 people\n":                                {File: "a.jpg"},
		"":                                                 {File: "a.jpg", Error: "bad"},
	} {
		var b strings.Builder
		if err := printText(&b, r); err != nil || b.String() != want {
			t.Errorf("%q, want %q (%v)", b.String(), want, err)
		}
	}
}

func TestPrintJSON(t *testing.T) {
	var b strings.Builder
	r := prediction{File: "a.jpg", Model: "m", Image: &imageSize{4, 3}, People: []postprocess.Person{}}
	if err := errors.Join(printJSON(&b, r), printJSON(&b, prediction{File: "b.jpg", Error: "bad"})); err != nil {
		t.Fatal(err)
	}
	want := `{"file":"a.jpg","model":"m","image":{"width":4,"height":3},"people":[]}
{"file":"b.jpg","people":null,"error":"bad"}
`
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
	if !json.Valid([]byte(strings.Split(b.String(), "\n")[0])) {
		t.Error("not JSON")
	}
}

func TestReadCOCOBoxes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "val.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"images": [{"id": 7, "file_name": "val/a.jpg"}, {"id": 8, "file_name": "b.jpg"}], "annotations": [
	  {"image_id": 7, "category_id": 1, "bbox": [1, 2.5, 3, 4]}, {"image_id": 7, "category_id": 2, "bbox": [9, 9, 9, 9]},
	  {"image_id": 7, "category_id": 1, "iscrowd": 1, "bbox": [9, 9, 9, 9]}, {"image_id": 7, "category_id": 1, "bbox": [5, 6, 7, 8]}]}`)
	known, err := readCOCOBoxes(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := known.of("elsewhere/a.jpg", file)
	if want := []preprocess.Box{{X: 1, Y: 2.5, W: 3, H: 4}, {X: 5, Y: 6, W: 7, H: 8}}; err != nil || !cmp.Equal(want, got) {
		t.Errorf("%v %v", got, err)
	}
	if got, err := known.of("b.jpg", file); err != nil || got == nil || len(got) != 0 {
		t.Errorf("a picture that shows nobody: %v %v", got, err)
	}
	if _, err := known.of("c.jpg", file); err == nil {
		t.Error("an unlisted picture has boxes")
	}
	for text, want := range map[string]string{
		`{`:  "not a COCO annotation file",
		`{}`: "lists no images",
		`{"images": [{"id": 7}], "annotations": [{"image_id": 1}]}`:                                         "annotation 0: there is no image 1",
		`{"images": [{"id": 7}], "annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 0, 4]}]}`: "annotation 0: width 0",
	} {
		write(text)
		if _, err := readCOCOBoxes(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

// A picture that the file lists without boxes shows nobody; that is not the
// whole picture as one person.
func TestPredictNobody(t *testing.T) {
	p := testPredictor(t)
	p.boxes = func(string) ([]preprocess.Box, error) { return []preprocess.Box{}, nil }
	got, _ := predictAll(t, p, writePicture(t, t.TempDir(), "a.png", 1))
	if got[0].People == nil || len(got[0].People) != 0 {
		t.Errorf("%+v", got[0])
	}
}

func TestPredictUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"requires at least 1 arg": {},
		`--boxes: `:               {"--boxes", "1,2,3", "a.jpg"},
		`exclude each other`:      {"--boxes", "1,2,3,4", "--boxes-file", "x", "a.jpg"},
		`--decode: `:              {"--decode", "best", "a.jpg"},
		`min_score is 2`:          {"--min-score", "2", "a.jpg"},
		`--provider "tpu"`:        {"--provider", "tpu", "a.jpg"},
		`--threads "-1"`:          {"--threads", "-1", "a.jpg"},
		`given more than once`:    {"-", "-"},
	} {
		root := newRoot()
		root.SetArgs(append([]string{"predict"}, args...))
		err := root.Execute()
		var u usageError
		if !errors.As(err, &u) || !strings.Contains(err.Error(), want) {
			t.Errorf("predict %v: error %v, want usage %q", args, err, want)
		}
	}
}

func TestEngineFlagsTakeTheEnvironment(t *testing.T) {
	t.Setenv("EVOPOSE_MODEL", "m")
	t.Setenv("EVOPOSE_THREADS", "many")
	c := newPredict()
	if got := c.Flag("model").Value.String(); got != "m" {
		t.Errorf("model %s", got)
	}
	var f engineFlags
	f.register(&cobra.Command{})
	if err := f.check(); err == nil || !strings.Contains(err.Error(), `"many"`) {
		t.Errorf("error %v", err)
	}
}
