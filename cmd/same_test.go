package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/modeltest"
	"github.com/evopose/evopose/model/ort/orttest"
	"github.com/evopose/evopose/models"
	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/server/batch"
	"github.com/evopose/evopose/server/pose"
)

// The server and predict give the same numbers for the same picture, to 1e-3
// pixel; both run the fake network.
func TestServerEqualsPredict(t *testing.T) {
	registry, err := models.Open("")
	if err != nil {
		t.Fatal(err)
	}
	pool := pose.NewPool(pose.PoolOptions{
		Registry: registry,
		Open:     func(_ []byte, card model.Card) (model.Runner, error) { return modeltest.New(card), nil },
		Batch:    batch.Options{Max: 4},
	})
	defer pool.Close(context.Background())
	handler, err := benchHandler(t.Context(), &engine{Registry: registry, Pool: pool}, "evopose2d-s")
	if err != nil {
		t.Fatal(err)
	}
	m, err := pool.Get(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	file := writePicture(t, t.TempDir(), "a.png", 5)
	for _, query := range []url.Values{
		{"decode": {"dark"}},
		{"decode": {"quarter"}, "boxes": {"3,4.25,50,70;60,1,40,80"}},
		{"decode": {"argmax"}, "boxes": {"-10,4,90,70"}, "flip": {"true"}, "min_score": {"0.1"}},
	} {
		f := predictFlags{engineFlags: engineFlags{engineOptions: engineOptions{Provider: "cpu"}, threads: "0"},
			boxes: query.Get("boxes"), decode: query.Get("decode")}
		f.options.Flip = query.Has("flip")
		if query.Has("min_score") {
			f.options.MinScore = 0.1
		}
		boxes, err := f.check([]string{file})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := predictAll(t, &predictor{estimator: m.Estimator, options: f.options, boxes: boxes}, file)
		samePeople(t, postPicture(t, handler, file, query), got[0].People)
	}
}

func postPicture(t *testing.T, handler http.Handler, file string, query url.Values) []postprocess.Person {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/pose?"+query.Encode(), bytes.NewReader(body))
	r.Header.Set("Content-Type", "image/png")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	var answer struct {
		People []postprocess.Person `json:"people"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return answer.People
}

func samePeople(t *testing.T, want, got []postprocess.Person) {
	t.Helper()
	if len(want) == 0 || len(want) != len(got) {
		t.Fatalf("%d people, want %d and at least one", len(got), len(want))
	}
	for i := range want {
		for k, w := range want[i].Keypoints {
			g := got[i].Keypoints[k]
			if math.Hypot(w.X-g.X, w.Y-g.Y) > 1e-3 || math.Abs(w.Score-g.Score) > 1e-4 || w.Name != g.Name {
				t.Errorf("person %d: %+v, want %+v", i, g, w)
			}
		}
	}
}

// The commands as a user types them, on the real network and runtime.
func TestPredictAndBenchCommands(t *testing.T) {
	orttest.Init(t)
	dir := t.TempDir()
	file := writePicture(t, dir, "a.png", 5)
	out := filepath.Join(dir, "drawn")
	text, warnings := execute(t, "predict", "--provider", "cpu", "--models-dir", dir, "--json", "--out", out, "--boxes", "5,5,60,80;40,1,60,70", file)
	var r prediction
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Model != "evopose2d-s" || len(r.People) != 2 || len(r.People[1].Keypoints) != 17 {
		t.Errorf("%v\n%s", err, text)
	}
	if _, err := os.Stat(filepath.Join(out, "a.pose.png")); err != nil {
		t.Error(err)
	}
	if m := models.Builtin()[0].Card; m.Trained == strings.Contains(warnings, "not trained") {
		t.Errorf("trained is %v, and standard error is %q", m.Trained, warnings)
	}
	text, _ = execute(t, "bench", "--provider", "cpu", "--models-dir", dir, "--seconds", "0.1", "--batch", "1", "--concurrency", "2", "--json")
	var b benchReport
	if err := json.Unmarshal([]byte(text), &b); err != nil || !(b.Raw > 0 && b.Served > 0) || len(b.Stages) != 6 {
		t.Errorf("%v\n%s", err, text)
	}
}

func execute(t *testing.T, args ...string) (out, errs string) {
	t.Helper()
	var o, e strings.Builder
	root := newRoot()
	root.SetOut(&o)
	root.SetErr(&e)
	root.SetArgs(args)
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, e.String())
	}
	return o.String(), e.String()
}
