package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bytes"

	"github.com/evopose/evopose/model/modeltest"
	"github.com/evopose/evopose/preprocess"
	"github.com/evopose/evopose/server/batch"
	"github.com/google/go-cmp/cmp"
)

func TestRateBetween(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(0, int64(s*1e9)) }
	ends := []runEnd{{at(0.5), 16}, {at(1), 16}, {at(1.5), 8}, {at(2.5), 12}, {at(3.5), 16}}
	rate, crops, runs := rateBetween(ends, at(0.9), at(3))
	if rate != 20/1.5 || crops != 20 || runs != 2 {
		t.Errorf("%v crops/s, %d crops, %d runs", rate, crops, runs)
	}
	if rate, _, runs := rateBetween(ends, at(0.9), at(1.2)); rate != 0 || runs != 0 {
		t.Errorf("one run gives a rate: %v", rate)
	}
}

func TestNthAfter(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	ends := []runEnd{{at(1), 1}, {at(2), 1}, {at(3), 1}, {at(5), 1}}
	if got := nthAfter(ends, at(1), 3); got != at(5) {
		t.Errorf("%v", got)
	}
}

func TestParseTiming(t *testing.T) {
	got := parseTiming(`decode;dur=1.5, crop;desc="cut";dur=0.25,miss, queue;dur=x,infer;dur=30`)
	want := []stageTime{{"decode", 1.5}, {"crop", 0.25}, {"infer", 30}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(stageTime{})); d != "" {
		t.Error(d)
	}
	if got := parseTiming(""); got != nil {
		t.Errorf("%v", got)
	}
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		total, run, slice time.Duration
		pairs             int
	}{
		{10 * time.Second, 20 * time.Millisecond, time.Second, 5},
		{time.Second, 20 * time.Millisecond, 500 * time.Millisecond, 1},
		{10 * time.Second, time.Second, 6 * time.Second, 1}, // a slow network gets the runs it needs
		{60 * time.Second, time.Second, 6 * time.Second, 5},
	} {
		if slice, pairs := plan(c.total, c.run); slice != c.slice || pairs != c.pairs {
			t.Errorf("%v with runs of %v: %d pairs of %v, want %d of %v", c.total, c.run, pairs, slice, c.pairs, c.slice)
		}
	}
}

func TestStages(t *testing.T) {
	var answers []answer
	for i := 1; i <= 100; i++ {
		answers = append(answers, answer{took: time.Duration(i) * time.Millisecond, stages: []stageTime{{"decode", float64(101 - i)}}})
	}
	want := []stageReport{{"decode", 50, 99}, {"request", 50, 99}}
	if d := cmp.Diff(want, stages(answers)); d != "" {
		t.Error(d)
	}
}

func TestSyntheticJobs(t *testing.T) {
	jobs, err := benchJobs("", "")
	if err != nil || len(jobs) != 8 {
		t.Fatal(len(jobs), err)
	}
	for _, j := range jobs {
		c, format, err := image.DecodeConfig(bytes.NewReader(j.body))
		if err != nil || format != "jpeg" || c.Width != 640 || c.Height != 480 || j.crops != 1 || j.contentType != "image/jpeg" {
			t.Errorf("%s: %v %v %+v", j.name, err, format, c)
		}
	}
	if bytes.Equal(jobs[0].body, jobs[1].body) {
		t.Error("all pictures are the same")
	}
}

func TestJobsOfADirectory(t *testing.T) {
	dir := t.TempDir()
	writePicture(t, dir, "a.png", 1)
	writePicture(t, dir, "b.png", 2)
	data := filepath.Join(dir, "data.json")
	text := `{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3.5, 4]},
	  {"image_id": 1, "category_id": 1, "bbox": [5, 6, 7, 8]}]}`
	if err := os.WriteFile(data, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := benchJobs(dir, "")
	if err != nil || len(all) != 2 || all[0].query != "" {
		t.Fatal(all, err)
	}
	boxed, err := benchJobs(dir, data)
	if err != nil || len(boxed) != 1 || boxed[0].crops != 2 || boxed[0].query != "boxes=1%2C2%2C3.5%2C4%3B5%2C6%2C7%2C8" {
		t.Fatal(boxed, err)
	}
	if _, err := benchJobs(t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), "no picture") {
		t.Errorf("empty directory: %v", err)
	}
}

func TestFormatBoxesIsParsedBack(t *testing.T) {
	boxes := []preprocess.Box{{X: 1.0 / 3, Y: -2, W: 1e-3, H: 480}, {X: 0, Y: 0, W: 1, H: 1}}
	got, err := preprocess.ParseBoxes(formatBoxes(boxes))
	if err != nil || !cmp.Equal(boxes, got) {
		t.Errorf("%v %v", got, err)
	}
}

// server is a server of the pipeline's shape: it runs one crop a request
// through a batcher.
func fakeServer(b *batch.Batcher, card int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		t, err := b.Infer(r.Context(), make([]float32, card), make([]float32, 17*128*96))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Server-Timing", fmt.Sprintf("queue;dur=%g, infer;dur=%g", t.Queue.Seconds()*1000, t.Run.Seconds()*1000))
	})
}

func TestMeasure(t *testing.T) {
	card := modeltest.Card()
	runner := modeltest.New(card)
	runner.Delay = 5 * time.Millisecond
	var log runLog
	batcher := batch.New(runner, batch.Options{Max: 4, OnRun: log.add})
	defer batcher.Close(t.Context())
	jobs, err := benchJobs("", "")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{runner: runner, handler: fakeServer(batcher, 3*256*192), log: &log, jobs: jobs, batch: 4, clients: 8}
	r, err := b.measure(t.Context(), 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if !(r.Raw > 0 && r.Served > 0 && r.Images > 0) || math.Abs(r.Ratio-r.Served/r.Raw) > 1e-9 || r.Slices != 1 || r.Requests < 8 {
		t.Errorf("%+v", r)
	}
	if r.MeanBatch < 1 || r.MeanBatch > 4 || len(r.Stages) != 3 || r.Stages[1].P50 < 5 || r.Stages[2].P50 < r.Stages[1].P50 {
		t.Errorf("%+v", r)
	}
	for _, asJSON := range []bool{false, true} {
		var out strings.Builder
		f := benchFlags{json: asJSON}
		if err := f.print(&out, r); err != nil || json.Valid([]byte(out.String())) != asJSON || !strings.Contains(out.String(), "infer") {
			t.Errorf("%v %s", err, out.String())
		}
	}
}

// An answer other than 200 stops the measurement: its rate would mean nothing.
func TestMeasureStopsAtAnError(t *testing.T) {
	jobs, err := benchJobs("", "")
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) > 3 {
			http.Error(w, "queue full", http.StatusServiceUnavailable)
		}
	})
	b := &bench{runner: modeltest.New(modeltest.Card()), handler: handler, log: &runLog{}, jobs: jobs, batch: 1, clients: 5}
	_, err = b.measure(t.Context(), 100*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "queue full") {
		t.Errorf("error %v", err)
	}
}

func TestBenchQueueHoldsEverything(t *testing.T) {
	jobs := []job{{crops: 3}, {crops: 20}, {crops: 1}}
	if got := benchQueue(jobs, 32, batch.Options{Max: 16}); got != 640 {
		t.Errorf("%d", got)
	}
}

func TestBenchUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"--seconds 0":      {"--seconds", "0"},
		"--batch 0":        {"--batch", "0"},
		"--concurrency -1": {"--concurrency", "-1"},
		"needs --images":   {"--data", "x.json"},
		"unknown command":  {"extra"},
	} {
		root := newRoot()
		root.SetArgs(append([]string{"bench"}, args...))
		err := root.Execute()
		var u usageError
		if !errors.As(err, &u) || !strings.Contains(err.Error(), want) {
			t.Errorf("bench %v: error %v, want usage %q", args, err, want)
		}
	}
}
