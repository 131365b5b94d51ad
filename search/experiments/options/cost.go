package main

import (
	"context"
	"fmt"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/experiments/internal/chart"
	"github.com/evopose/evopose/search/experiments/internal/stats"
)

var allCosts = []search.Cost{search.CostParameters, search.CostMultiplyAdds, search.CostLatency}

// cost measures the latency of a real search's networks, and tells how far the
// costs agree and which network wins under each.
func cost(ctx context.Context, o options) error {
	header, entries, err := search.ReadJournal(o.journal)
	if err != nil {
		return err
	}
	s := header.Settings
	entries = s.Rank(entries)
	if len(entries) < 3 {
		return fmt.Errorf("%s has %d evaluations with a loss: want 3 or more", o.journal, len(entries))
	}
	if _, err := ort.Init(ctx, ort.LibraryOptions{Path: o.libraryPath, Install: true, Progress: os.Stderr}); err != nil {
		return err
	}
	searched, err := measured(ctx, entries, s.Native)
	if err != nil {
		return err
	}
	random, err := measured(ctx, untrained(o.random), s.Native)
	if err != nil {
		return err
	}
	printCosts(s, searched, random)
	return drawCosts(o.figure("costs.png"), searched, random)
}

// untrained are entries of random genotypes.
func untrained(n int) []search.Entry {
	var list []search.Entry
	for _, g := range randomGenotypes(n) {
		list = append(list, search.Entry{Job: search.Job{Genotype: g}})
	}
	return list
}

// measured returns the entries with all costs of their networks.
func measured(ctx context.Context, entries []search.Entry, native model.Size) ([]search.Entry, error) {
	var networks []*model.Network
	for _, e := range entries {
		n, err := model.NewNetwork(e.Job.Genotype, native)
		if err != nil {
			return nil, err
		}
		networks = append(networks, n)
	}
	times, agreement, err := latencies(ctx, networks)
	if err != nil {
		return nil, err
	}
	fmt.Printf("The latencies of %d networks by every other round and by the rest agree with a rank correlation of %.2f.\n", len(networks), agreement)
	list := append([]search.Entry(nil), entries...)
	for i, n := range networks {
		r := &list[i].Result
		r.Parameters, _ = n.Parameters()
		r.MultiplyAdds, r.Latency = n.MultiplyAdds(), times[i]
	}
	return list, nil
}

// values returns a cost of each entry.
func values(entries []search.Entry, c search.Cost) []float64 {
	var list []float64
	for _, e := range entries {
		list = append(list, c.Of(e.Result))
	}
	return list
}

func printCosts(s search.Settings, searched, random []search.Entry) {
	fmt.Printf("\nRank correlations (Spearman) of the costs of the %d networks of a search, and of %d networks of random genotypes:\n\n", len(searched), len(random))
	fmt.Println("| costs | searched | random |\n|---|---|---|")
	for i, a := range allCosts {
		for _, b := range allCosts[i+1:] {
			fmt.Printf("| %s, %s | %.2f | %.2f |\n", a, b, stats.Spearman(values(searched, a), values(searched, b)), stats.Spearman(values(random, a), values(random, b)))
		}
	}
	fmt.Printf("\nThe winner under each, of all that were evaluated:\n\n")
	fmt.Println("| fitness on | winner | loss | M parameters | G multiply-adds | ms a crop | place by parameters |\n|---|---|---|---|---|---|---|")
	places := map[int]int{}
	s.Selection, s.Cost = search.SelectFitness, search.CostParameters // the paper's
	for place, e := range s.Rank(searched) {
		places[e.Job.ID] = place + 1
	}
	for _, s.Cost = range allCosts {
		best := s.Rank(searched)[0]
		r := best.Result
		fmt.Printf("| %s | evaluation %d: %v | %.2f | %.2f | %.3f | %.1f | %d |\n", s.Cost, best.Job.ID, best.Job.Genotype,
			r.Loss, float64(r.Parameters)/1e6, float64(r.MultiplyAdds)/1e9, 1e3*r.Latency, places[best.Job.ID])
	}
	fmt.Println()
}

// drawCosts draws latency against the other two costs.
func drawCosts(path string, searched, random []search.Entry) error {
	var panels []*plot.Plot
	for _, c := range []struct {
		cost  search.Cost
		label string
		unit  float64
	}{{search.CostMultiplyAdds, "multiply-adds, G", 1e9}, {search.CostParameters, "parameters, M", 1e6}} {
		p := chart.Panel("", c.label, "latency, ms a crop, one thread")
		p.Legend.Left = true
		if err := chart.Dots(p, "random", chart.Vermilion, scatter(random, c.cost, c.unit)); err != nil {
			return err
		}
		if err := chart.Dots(p, "searched", chart.Blue, scatter(searched, c.cost, c.unit)); err != nil {
			return err
		}
		p.X.Min, p.Y.Min = 0, 0
		panels = append(panels, p)
	}
	return chart.Write(path, panels...)
}

func scatter(entries []search.Entry, c search.Cost, unit float64) plotter.XYs {
	var points plotter.XYs
	for _, e := range entries {
		points = append(points, plotter.XY{X: c.Of(e.Result) / unit, Y: 1e3 * e.Result.Latency})
	}
	return points
}
