package train

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

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

// report writes the report of the best epoch.
func (r *run) report(all []Validation) error {
	report := Report{Config: r.config, Epochs: r.best.Epoch, Steps: r.best.Step, Loss: r.best.Loss, Lineage: r.card().Lineage}
	for _, v := range all {
		report.Results = append(report.Results, SetResult{v.Name, v.Loss, v.Report})
	}
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	if err := maybe.WriteFile(filepath.Join(r.options.Dir, ReportFile), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// card describes the network as it is now, at its native size.
func (r *run) card() model.Card {
	card := r.config.card(append(slices.Clone(r.start.Lineage), r.config.trained(r.step/r.stepsPerEpoch(), 0)))
	card.Heatmap = r.native.Heatmap
	return card
}

// card describes the run's network, which came to be so.
func (c *Config) card(lineage []string) model.Card {
	card := model.Card{Name: c.Name, Genotype: c.Genotype, Input: c.Native, Trained: true,
		Seed: c.Seed, Data: c.About, Licence: c.Licence, Lineage: lineage}
	if card.Data == "" {
		card.Data = c.dataNames()
	}
	if card.Licence == "" {
		card.Licence = "that of the training data, see data"
	}
	return card
}
