package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/models"
)

func newModels() *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use:   "models",
		Short: "List every model that can be loaded",
		Long: `List every model that can be loaded by name: the built-in ones and those of the
models directory. Each is read and checked against its card; what is wrong with a
card or a file is listed too. A name may be shortened: "s" is evopose2d-s.`,
		Example: `  evopose models
  evopose models --models-dir /srv/models --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := listModels(dir)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), l)
			}
			return l.write(c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&dir, "models-dir", defaultModelsDir(), "directory of models, *.onnx with a *.yaml beside each")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// defaultModelsDir is the models directory where no flag names one: that of
// the server's environment variable, else models.
func defaultModelsDir() string {
	if dir := os.Getenv("EVOPOSE_MODELS_DIR"); dir != "" {
		return dir
	}
	return "models"
}

// modelList is what `evopose models --json` prints.
type modelList struct {
	Models []model.Card `json:"models"`
	// Broken has what is wrong with the models that cannot be loaded, by name.
	Broken map[string]string `json:"broken"`
}

// listModels loads every model of a directory, one after the other: only so
// are the sums known, and known to be right.
func listModels(dir string) (modelList, error) {
	l := modelList{Models: []model.Card{}, Broken: map[string]string{}}
	r, err := models.Open(dir)
	if err != nil {
		return l, err
	}
	for name, err := range r.Broken() {
		l.Broken[name] = err.Error()
	}
	for _, name := range r.Names() {
		_, card, err := r.Load(name)
		if err != nil {
			l.Broken[name] = err.Error()
			continue
		}
		l.Models = append(l.Models, card)
	}
	return l, nil
}

func (l modelList) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tINPUT\tHEATMAP\tPARAMETERS\tMULTIPLY-ADDS\tTRAINED\tACCURACY\tSHA256\tFROM")
	for _, c := range l.Models {
		from := c.File
		if from == "" {
			from = "built-in"
		}
		fmt.Fprintln(t, strings.Join([]string{c.Name, c.Input.String(), c.Heatmap.String(), thousands(c.Parameters),
			giga(c.MultiplyAdds), yesNo(c.Trained), accuracy(c.Accuracy), c.SHA256[:12], from}, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return l.writeNotes(w)
}

// writeNotes writes, below the table, where each model comes from and what
// cannot be loaded.
func (l modelList) writeNotes(w io.Writer) error {
	var b strings.Builder
	b.WriteString("\nLineage, with the commands in --json and in the cards\n")
	for _, c := range l.Models {
		fmt.Fprintf(&b, "  %s:\n", c.Name)
		for _, step := range c.Lineage {
			what, _, _ := strings.Cut(step, ": evopose ")
			fmt.Fprintf(&b, "    %s\n", what)
		}
	}
	if len(l.Broken) > 0 {
		b.WriteString("\nCannot be loaded\n")
	}
	for _, name := range slices.Sorted(maps.Keys(l.Broken)) {
		fmt.Fprintf(&b, "  %s: %s\n", name, l.Broken[name])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// thousands writes 2531199 as 2,531,199.
func thousands(n int64) string { return message.NewPrinter(language.English).Sprintf("%d", n) }

// giga writes 1064085440 as 1.064 G.
func giga(n int64) string {
	if n >= 10e9 {
		return fmt.Sprintf("%.2f G", float64(n)/1e9)
	}
	return fmt.Sprintf("%.3f G", float64(n)/1e9)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// accuracy writes the figures in the order of their names, "-" for none.
func accuracy(figures map[string]float64) string {
	if len(figures) == 0 {
		return "-"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		parts = append(parts, name+" "+strconv.FormatFloat(figures[name], 'g', 4, 64))
	}
	return strings.Join(parts, ", ")
}
