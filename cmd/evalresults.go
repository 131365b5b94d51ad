package cmd

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/evopose/evopose/search/coco"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// resultsReport is what was measured of people found before.
type resultsReport struct {
	Data string `json:"data"`
	File string `json:"results_file"`
	// LeftOut counts those of other categories and other pictures.
	LeftOut int `json:"results_left_out"`
	coco.Report
}

// runResults measures the people of a results file, without a model.
func (f *evalFlags) runResults(c *cobra.Command) error {
	if f.data == "" {
		return usagef("want --data, the annotation file with the labels that --results is measured by")
	}
	var other error
	c.Flags().Visit(func(g *pflag.Flag) {
		switch g.Name {
		case "results", "data", "images", "json":
		default:
			other = usagef("--results measures people found before: it goes with --data and --json, not with --%s", g.Name)
		}
	})
	if other != nil {
		return other
	}
	d, err := coco.Load(f.data, "")
	if err != nil {
		return err
	}
	results, leftOut, err := coco.ReadResults(f.results, d)
	if err != nil {
		return err
	}
	r := resultsReport{Data: f.data, File: f.results, LeftOut: leftOut, Report: coco.Evaluate(d, results)}
	if f.json {
		return writeJSON(c.OutOrStdout(), r)
	}
	return r.print(c.OutOrStdout())
}

func (r *resultsReport) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "results\t%s", r.File)
	if r.LeftOut > 0 {
		fmt.Fprintf(t, "; %d of other categories or pictures left out", r.LeftOut)
	}
	fmt.Fprintf(t, "\ndata\t%s\n", r.Data)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return r.WriteTable(w)
}
