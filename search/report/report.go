// Package report writes what a search found as a page that a browser shows: one
// HTML file with its drawings inside, which needs no network and no script.
package report

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"slices"

	"github.com/google/renameio/v2/maybe"

	"github.com/evopose/evopose/search"
)

// File is the report's name in a search's folder.
const File = "report.html"

//go:embed page.html style.css sort.js
var files embed.FS

// The page is well-formed XML as well, which the tests rely on.
var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{"half": half}).ParseFS(files, "page.html", "style.css", "sort.js"))

// Write writes the report of a search's evaluations to a file, which is either
// the old or the new one, never a part of it. It is a function of its
// arguments: entries may be those of a search that goes on, in any order and
// with gaps. Nothing in them is trusted to be short, finite or free of markup.
// An error tells what is wrong with the settings or entries, or why the file
// was not written.
func Write(path string, h search.Header, s search.Settings, entries []search.Entry) error {
	p, err := render(h, s, entries)
	if err != nil {
		return fmt.Errorf("the report: %w", err)
	}
	if err := maybe.WriteFile(path, p, 0o644); err != nil {
		return fmt.Errorf("the report: %w", err)
	}
	return nil
}

func render(h search.Header, s search.Settings, entries []search.Entry) ([]byte, error) {
	f, err := newFamily(s, entries)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, newPage(h, f)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// page is what the template shows.
type page struct {
	ID       string
	Progress progress
	Best     *best // nil while no evaluation has a loss
	Fitness  *chart
	Costs    []*chart
	Front    []row
	Tree     *chart
	Curves   []*chart
	Rows     []row
	Latency  bool // there is a column of it
	Native   string
	Cost     string
	Left     int // evaluations that have no fitness
	Settings []fact
	Training []fact
	Command  string
}

// fact is a line of a list.
type fact struct{ Name, Value string }

func newPage(h search.Header, f *family) page {
	fronts := f.fronts()
	p := page{ID: h.ID(), Progress: f.progress(), Best: f.winner(), Fitness: f.fitnessChart(), Costs: f.costCharts(), Tree: f.treeChart(), Curves: f.curveCharts(),
		Rows: f.rows(fronts), Native: f.settings.Native.String(), Cost: string(f.settings.Cost), Left: len(f.entries) - len(f.ranked),
		Settings: settingFacts(f.settings), Training: trainingFacts(h), Command: clean(h.Command, 4000)}
	for _, r := range p.Rows {
		p.Latency = p.Latency || r.Latency != none
		if len(r.Fronts) > 0 {
			p.Front = append(p.Front, r)
		}
	}
	slices.SortStableFunc(p.Front, func(a, b row) int { return cmp.Compare(a.cost, b.cost) })
	return p
}
