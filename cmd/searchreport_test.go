package cmd

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/report"
)

// quick evaluates without training, and is told before.
type quick struct{ before func(id int) error }

func (q quick) Evaluate(_ context.Context, job search.Job, _ []byte, _ func(int, float64)) (search.Result, []byte, error) {
	r := search.Result{ID: job.ID, Loss: 100 - float64(job.ID), Losses: []float64{100}, Parameters: 5e6, MultiplyAdds: 1e9, Seconds: 1}
	return r, []byte{byte(job.ID)}, q.before(job.ID)
}

// searchQuickly searches in a folder and returns what was printed.
func searchQuickly(t *testing.T, dir string, s search.Settings, before func(id int) error) (string, error) {
	t.Helper()
	j, err := search.OpenJournal(dir, search.Header{Settings: s})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	engine, err := search.NewLocal(quick{before}, 1, dir)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	_, err = evolve(t.Context(), s, engine, j, newSearchProgress(&b, &b, s))
	return b.String(), err
}

// reportHas requires a text in a folder's report; "" stands for no report.
func reportHas(t *testing.T, dir, want string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, report.File))
	if want == "" && errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil || want == "" || !strings.Contains(string(data), want) {
		t.Errorf("the report has no %q: error %v", want, err)
	}
}

func quickSettings() search.Settings {
	size := model.Size{H: 64, W: 64}
	return search.Settings{Seed: 1, Ancestor: model.GenotypeDefault, Native: size, Size: size, Generations: 2, Children: 3, Parents: 2,
		AncestorEpochs: 1, Epochs: 1, Cost: search.CostParameters, Selection: search.SelectFitness}
}

// The report is there after each generation with something new, when a search
// ends, however it does, and when there is nothing left to do.
func TestSearchReports(t *testing.T) {
	steady := quickSettings()
	steady.Window = 2
	for name, c := range map[string]struct {
		settings search.Settings
		at       map[int]string // before the evaluation of an ID
		stopped  string
	}{
		"generations": {quickSettings(), map[int]string{0: "", 1: "1 of 7", 3: "1 of 7", 4: "4 of 7", 6: "4 of 7"}, "5 of 7"},
		"steady":      {steady, map[int]string{0: "", 1: "1 of 7"}, " of 7"},
	} {
		dir, s := t.TempDir(), c.settings
		stop := errors.New("stop here")
		out, err := searchQuickly(t, dir, s, func(id int) error {
			if want, ok := c.at[id]; ok {
				reportHas(t, dir, want)
			}
			if id == 5 {
				return stop
			}
			return nil
		})
		if !errors.Is(err, stop) || strings.Contains(out, "warning") {
			t.Errorf("%s: error %v\n%s", name, err, out)
		}
		reportHas(t, dir, c.stopped)
		if out, err := searchQuickly(t, dir, s, func(int) error { return nil }); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		reportHas(t, dir, "7 of 7")
		if err := os.Remove(filepath.Join(dir, report.File)); err != nil {
			t.Fatal(err)
		}
		if _, err := searchQuickly(t, dir, s, func(int) error { return errors.New("evaluated again") }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		reportHas(t, dir, "7 of 7")
	}
}

// A search goes on without a report that cannot be written.
func TestSearchWithoutReport(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, report.File, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := searchQuickly(t, dir, quickSettings(), func(int) error { return nil })
	if err != nil || !strings.Contains(out, "warning: the report: ") || !strings.Contains(out, "7 of 7 in all") {
		t.Errorf("error %v\n%s", err, out)
	}
}

func TestSearchReportOnly(t *testing.T) {
	dir := t.TempDir()
	if _, err := searchQuickly(t, filepath.Join(dir, "run"), quickSettings(), func(int) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "run", report.File)); err != nil {
		t.Fatal(err)
	}
	if out, err := evopose(t, dir, "search", "--report-only", "--out", "run"); err != nil || out != "wrote run/report.html\n" {
		t.Errorf("error %v, printed %q", err, out)
	}
	reportHas(t, filepath.Join(dir, "run"), "7 of 7")
	if _, err := evopose(t, dir, "search", "--report-only"); !isUsage(err) || !strings.Contains(err.Error(), "--out: missing") {
		t.Errorf("error %v", err)
	}
	if _, err := evopose(t, dir, "search", "--report-only", "--out", "none"); err == nil || isUsage(err) || !strings.Contains(err.Error(), "none holds no search") {
		t.Errorf("error %v", err)
	}
}
