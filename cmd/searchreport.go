package cmd

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/report"
)

// searchReport is an observer that writes the report after each generation with
// something new, beside what another observer does.
type searchReport struct {
	search.Observer
	settings search.Settings
	journal  *search.Journal
	warnings io.Writer
	path     string
	due      bool // something is new since the report was written
}

// evolve searches, with a report after each generation and at the end, whatever
// ends it.
func evolve(ctx context.Context, s search.Settings, engine search.Engine, j *search.Journal, p *searchProgress) ([]search.Entry, error) {
	r := &searchReport{Observer: p, settings: s, journal: j, warnings: p, path: filepath.Join(filepath.Dir(j.Path()), report.File)}
	defer r.write()
	return search.Evolve(ctx, s, engine, j, r)
}

// Evaluated implements search.Observer.
func (r *searchReport) Evaluated(e search.Entry, kept bool) {
	r.due = r.due || !kept
	r.Observer.Evaluated(e, kept)
}

// Generation implements search.Observer.
func (r *searchReport) Generation(generation int, entries []search.Entry) {
	r.Observer.Generation(generation, entries)
	if r.due {
		r.write()
	}
}

// write writes all that the journal has, so also what came out of order. A
// search does not end because its report cannot be written.
func (r *searchReport) write() {
	r.due = false
	if err := report.Write(r.path, r.journal.Header(), r.settings, r.journal.Entries()); err != nil {
		fmt.Fprintf(r.warnings, "warning: %v; the search goes on\n", err)
	}
}

// writeReport makes the report from the journal alone.
func writeReport(w io.Writer, dir string) error {
	if dir == "" {
		return usagef("--out: missing: want the folder of the search")
	}
	h, entries, err := search.ReadJournal(dir)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, report.File)
	if err := report.Write(path, h, h.Settings, entries); err != nil {
		return err
	}
	fmt.Fprintf(w, "wrote %s\n", path)
	return nil
}
