package train

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2/maybe"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search/coco"
)

// Report is what ReportFile holds: the run and its best network's figures.
type Report struct {
	Config  Config      `json:"config"`
	Epochs  int         `json:"epochs"` // until the best
	Steps   int         `json:"steps"`
	Loss    float64     `json:"loss"` // of training, in the best epoch
	Results []SetResult `json:"validation"`
	Lineage []string    `json:"lineage"`
}

// SetResult is what was measured on one set, at the size of training.
type SetResult struct {
	Name string  `json:"name"`
	Loss float64 `json:"loss"`
	coco.Report
}

func (r *run) report(all []Validation) error {
	report := Report{Config: r.config, Epochs: r.best.Epoch, Steps: r.best.Step, Loss: r.best.Loss, Lineage: r.card().Lineage}
	for _, v := range all {
		report.Results = append(report.Results, SetResult{v.Name, v.Loss, v.Report})
	}
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return maybe.WriteFile(filepath.Join(r.options.Dir, ReportFile), append(data, '\n'), 0o644)
}

// card describes the network as it is now, at its native size.
func (r *run) card() model.Card {
	c := r.config
	var names []string
	for _, d := range c.Data {
		names = append(names, d.name())
	}
	step := fmt.Sprintf("trained %d epochs at %v on %s", r.step/r.loader.StepsPerEpoch(), c.Size, strings.Join(names, " + "))
	if c.Command != "" {
		step += ": " + c.Command
	}
	about := c.About
	if about == "" {
		about = strings.Join(names, " + ")
	}
	licence := c.Licence
	if licence == "" {
		licence = "that of the training data, see data"
	}
	return model.Card{Name: c.Name, Genotype: c.Genotype, Input: c.Native, Heatmap: r.native.Heatmap, Trained: true,
		Seed: c.Seed, Data: about, Licence: licence, Lineage: append(append([]string(nil), r.start.Lineage...), step)}
}
