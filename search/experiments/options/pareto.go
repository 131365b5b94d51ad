package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/experiments/internal/chart"
	"github.com/evopose/evopose/search/experiments/internal/stats"
)

// hypervolume is the area that points dominate (Zitzler and Thiele, PPSN 1998)
// within the rectangle from an ideal point to a reference, as a share of it.
func hypervolume(points []search.Point, ideal, reference search.Point) float64 {
	order := slices.SortedFunc(slices.Values(points), func(a, b search.Point) int { return cmp.Compare(a.Cost, b.Cost) })
	area, lowest := 0.0, reference.Loss
	for _, p := range order {
		if p.Cost < reference.Cost && p.Loss < lowest {
			area += (reference.Cost - max(p.Cost, ideal.Cost)) * (lowest - max(p.Loss, ideal.Loss))
			lowest = max(p.Loss, ideal.Loss)
		}
	}
	return area / ((reference.Cost - ideal.Cost) * (reference.Loss - ideal.Loss))
}

// pareto compares the two selections on the surrogate, and shows the front of a
// real search.
func pareto(ctx context.Context, o options) error {
	selections := []search.Selection{search.SelectFitness, search.SelectPareto}
	found := map[search.Selection]findings{}
	for _, selection := range selections {
		for seed := range o.seeds {
			s := plan(uint64(seed+1), o.generations, o.children, 0)
			s.Selection = selection
			entries, err := evolve(ctx, s, atOnce{surrogate{}}, search.Silent{})
			if err != nil {
				return err
			}
			found[selection] = found[selection].with(s, entries)
		}
	}
	printSelections(o, selections, found)
	left, err := surrogateFronts(found)
	if err != nil {
		return err
	}
	right, err := realFront(o.journal)
	if err != nil {
		return err
	}
	return chart.Write(o.figure("pareto.png"), left, right)
}

// findings are those of searches with one selection, by seed. All are without
// noise.
type findings struct {
	fronts        [][]search.Point
	volume        []float64
	fitness, size []float64 // of the best, and of the front
}

// with adds a search's.
func (f findings) with(s search.Settings, entries []search.Entry) findings {
	f.fitness = append(f.fitness, trueFitness(s, entries))
	for i := range entries {
		entries[i].Result.Loss = trueLoss(entries[i].Job.Genotype)
	}
	front := frontOf(entries, s.Cost)
	ideal := search.Point{Loss: lossFloor}
	reference := search.Point{Loss: trueLoss(model.GenotypeDefault) * 1.2, Cost: 1.2 * s.Cost.Of(entries[0].Result)}
	f.fronts = append(f.fronts, front)
	f.volume = append(f.volume, hypervolume(front, ideal, reference))
	f.size = append(f.size, float64(len(front)))
	return f
}

// frontOf returns the entries that no other dominates, by cost.
func frontOf(entries []search.Entry, c search.Cost) []search.Point {
	var points, front []search.Point
	for _, e := range entries {
		points = append(points, search.Point{Loss: e.Result.Loss, Cost: c.Of(e.Result)})
	}
	for _, i := range search.Fronts(points)[0] {
		front = append(front, points[i])
	}
	slices.SortFunc(front, func(a, b search.Point) int { return cmp.Compare(a.Cost, b.Cost) })
	return front
}

func printSelections(o options, selections []search.Selection, found map[search.Selection]findings) {
	fmt.Printf("%d generations of %d on the surrogate, %d seeds, losses without noise; mean and standard error:\n\n", o.generations, o.children, o.seeds)
	fmt.Println("| selection | hypervolume of the front | networks in it | best fitness |\n|---|---|---|---|")
	for _, s := range selections {
		f := found[s]
		fmt.Printf("| %s | %s | %s | %s |\n", s, meanError(f.volume, 4), meanError(f.size, 1), meanError(f.fitness, 2))
	}
	a, b := found[selections[0]], found[selections[1]]
	volume, fitness := differences(b.volume, a.volume), differences(b.fitness, a.fitness)
	fmt.Printf("\nPareto less fitness, with 95 %% confidence interval by paired t: hypervolume %s, best fitness %s.\n\n", intervalOf(volume, 4), interval(fitness))
}

func differences(a, b []float64) []float64 {
	var list []float64
	for i := range a {
		list = append(list, a[i]-b[i])
	}
	return list
}

func meanError(values []float64, digits int) string {
	return fmt.Sprintf("%.*f +- %.*f", digits, stat.Mean(values, nil), digits, stats.StandardError(values))
}

// shown is of how many seeds fronts are drawn.
const shown = 12

// surrogateFronts draws the fronts of the first seeds.
func surrogateFronts(found map[search.Selection]findings) (*plot.Plot, error) {
	p := chart.Panel("Surrogate, fronts of some seeds", "parameters, M", "loss")
	for _, s := range []struct {
		selection search.Selection
		line      chart.Line
	}{{search.SelectFitness, chart.Line{Colour: chart.Vermilion}}, {search.SelectPareto, chart.Line{Colour: chart.Blue}}} {
		fronts := found[s.selection].fronts
		for i, front := range fronts[:min(shown, len(fronts))] {
			line := s.line
			line.Colour, line.Width = chart.Faint(line.Colour), 1
			if i == 0 {
				line = chart.Line{Name: string(s.selection), Colour: s.line.Colour, Width: 1.5}
			}
			if err := line.Draw(p, millions(front)); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// millions places points by their cost in millions.
func millions(points []search.Point) plotter.XYs {
	var xys plotter.XYs
	for _, p := range points {
		xys = append(xys, plotter.XY{X: p.Cost / 1e6, Y: p.Loss})
	}
	return xys
}

// realFront prints and draws the front of a real search.
func realFront(dir string) (*plot.Plot, error) {
	header, entries, err := search.ReadJournal(dir)
	if err != nil {
		return nil, err
	}
	s := header.Settings
	s.Selection = search.SelectFitness
	entries = s.Rank(entries)
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s has no evaluation with a loss", dir)
	}
	front, all := frontOf(entries, search.CostParameters), []search.Point{}
	fmt.Printf("The front of the real search, %d of %d networks (* the fittest):\n\n| M parameters | loss | fitness |\n|---|---|---|\n", len(front), len(entries))
	best := search.Fitness(search.CostParameters, entries[0].Result)
	for _, f := range front {
		fitness := search.Fitness(search.CostParameters, search.Result{Loss: f.Loss, Parameters: int64(f.Cost)})
		mark := ""
		if math.Abs(fitness-best) < 1e-9 {
			mark = " *"
		}
		fmt.Printf("| %.2f | %.2f | %.2f%s |\n", f.Cost/1e6, f.Loss, fitness, mark)
	}
	for _, e := range entries {
		all = append(all, search.Point{Loss: e.Result.Loss, Cost: search.CostParameters.Of(e.Result)})
	}
	p := chart.Panel(fmt.Sprintf("Real search, %d networks", len(all)), "parameters, M", "validation loss")
	line := chart.Line{Name: "front", Colour: chart.Blue, Width: 1.5}
	return p, errors.Join(chart.Dots(p, "evaluated", chart.Black, millions(all)), line.Draw(p, millions(front)))
}
