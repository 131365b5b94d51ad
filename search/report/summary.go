package report

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
)

// progress tells how far the search is.
type progress struct {
	Done, Total int
	Facts       []fact
}

func (f *family) progress() progress {
	s := &f.settings
	p := progress{Done: len(f.entries), Total: s.Total()}
	failed, stopped, seconds, workers := 0, 0, 0.0, map[string]bool{}
	for _, e := range f.entries {
		r := e.Result
		if r.Failed != "" {
			failed++
		} else if r.Stopped {
			stopped++
		}
		if r.Seconds > 0 && plottable(r.Seconds) {
			seconds += r.Seconds
		}
		workers[r.Worker] = true
	}
	p.Facts = []fact{{"evaluations", fmt.Sprintf("%d of %d", p.Done, p.Total)},
		{"generations", fmt.Sprintf("%d of %d", max(0, f.complete()-1), s.Generations)},
		{"failed", fmt.Sprint(failed)}, {"stopped early", fmt.Sprint(stopped)},
		{"workers", fmt.Sprint(len(workers))}, {"work", duration(seconds)}}
	if p.Done > 0 {
		p.Facts = append(p.Facts, fact{"an evaluation", duration(seconds/float64(p.Done)) + " on average"})
	}
	return p
}

// duration writes seconds in a unit in which they are few.
func duration(seconds float64) string {
	for _, unit := range []struct {
		seconds float64
		name    string
	}{{1, "s"}, {60, "min"}, {3600, "h"}} {
		if v := seconds / unit.seconds; v < 99.5 {
			return number(v, 2) + " " + unit.name
		}
	}
	return number(seconds/86400, 2) + " days"
}

// best is the winner so far.
type best struct {
	ID, Generation int
	Figures        []figure
	Stages         []int
	Genes          []geneRow
	Line           []row
}

// figure is a value of the winner, beside the ancestor's.
type figure struct{ Name, Value, Unit, Ancestor, Change string }

// geneRow is a gene in all stages.
type geneRow struct {
	Name   string
	Values []genes
}

// winner returns nil while no evaluation has a fitness.
func (f *family) winner() *best {
	if len(f.ranked) == 0 {
		return nil
	}
	e, first := f.ranked[0], f.line[0]
	b := &best{ID: e.Job.ID, Generation: f.generation(e), Figures: f.figures(e, first), Genes: geneTable(first.Job.Genotype, e.Job.Genotype)}
	for i := range model.Stages {
		b.Stages = append(b.Stages, i+1)
	}
	for _, e := range f.line {
		b.Line = append(b.Line, f.row(e, nil))
	}
	return b
}

func (f *family) figures(e, first search.Entry) []figure {
	list := []figure{versus("fitness", "", f.fitness(e), f.fitness(first)), versus("validation loss", "", e.Result.Loss, first.Result.Loss)}
	for _, c := range f.costs() {
		list = append(list, versus(string(c.Cost), c.unit, c.Of(e.Result)/c.scale, c.Of(first.Result)/c.scale))
	}
	return list
}

func versus(name, unit string, v, ancestor float64) figure {
	f := figure{Name: name, Unit: unit, Value: number(v, 4), Ancestor: number(ancestor, 4)}
	if change := 100 * (v - ancestor) / ancestor; ancestor > 0 && !math.IsInf(ancestor, 0) && !math.IsNaN(change) && !math.IsInf(change, 0) {
		f.Change = signed(change)
	}
	return f
}

// signed writes a change in percent.
func signed(percent float64) string {
	switch text := fmt.Sprintf("%.1f", math.Abs(percent)); {
	case text == "0.0":
		return "±0 %"
	case percent < 0:
		return "−" + text + " %"
	default:
		return "+" + text + " %"
	}
}

// geneTable has the genes of a genotype by stage, those marked that are not the
// ancestor's.
func geneTable(ancestor, g model.Genotype) []geneRow {
	var rows []geneRow
	for k, gene := range [...]search.Gene{search.Kernel, search.Repeats, search.Filters, search.Stride} {
		r := geneRow{Name: gene.String()}
		for i := range g {
			v, was := values(g[i])[k], values(ancestor[i])[k]
			r.Values = append(r.Values, genes{fmt.Sprint(v), v != was, was})
		}
		rows = append(rows, r)
	}
	return rows
}

// settingFacts are the settings in words.
func settingFacts(s search.Settings) []fact {
	list := []fact{{"generations", fmt.Sprint(s.Generations)}, {"children of a generation", fmt.Sprint(s.Children)}, {"parents", fmt.Sprint(s.Parents)},
		{"parents chosen by", s.Criterion()}, {"epochs of the ancestor", fmt.Sprint(s.AncestorEpochs)}, {"epochs of a child", fmt.Sprint(s.Epochs)},
		{"size of the crops", s.Size.String()}, {"size of the network", s.Native.String()}, {"ancestor", s.Ancestor.String()},
		{"ancestor starts from", "initial weights"}, {"children start from", "their parent's weights"}, {"seed", fmt.Sprint(s.Seed)}}
	if s.From != "" {
		list[9].Value = "weights of SHA-256 " + clean(s.From, 64)
	}
	if s.FromScratch {
		list[10].Value = "initial weights"
	}
	if s.StopFactor > 0 {
		list = append(list, fact{"stopped early above", number(s.StopFactor, 4) + " times the parents' median loss"})
	}
	if s.Window > 0 {
		list = append(list, fact{"steady state, window", fmt.Sprint(s.Window)})
	}
	return list
}

// trainingFacts are what evaluations depend on beside the settings.
func trainingFacts(h search.Header) []fact {
	var list []fact
	for _, name := range slices.Sorted(maps.Keys(h.Evaluation)) {
		list = append(list, fact{clean(name, 60), clean(h.Evaluation[name], mostText)})
	}
	return list
}
