package main

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/evopose/evopose/search/experiments/internal/chart"
	"github.com/evopose/evopose/search/experiments/internal/pairs"
)

// figure draws each pair's curves thin, their means bold, the parent's dashed.
// Pairs whose loss does not compare with the parent's are left out.
func figure(path string, e pairs.Experiment) error {
	list := slices.DeleteFunc(compare(e), func(c comparison) bool { return c.OtherGrid })
	p := chart.Panel(fmt.Sprintf("%d mutants with heatmaps of the parent's size", len(list)), "epoch", "validation loss")
	var transfer, scratch [][]float64
	for _, c := range list {
		transfer, scratch = append(transfer, c.Curve()), append(scratch, c.Scratch)
	}
	if err := draws(p, "from scratch", scratch, 1, chart.Line{Colour: chart.Vermilion}); err != nil {
		return err
	}
	if err := draws(p, "with transfer", transfer, 0, chart.Line{Colour: chart.Blue}); err != nil {
		return err
	}
	parent := chart.Line{Name: "parent", Colour: chart.Black, Width: 1.5, Dashed: true}
	if err := parent.Draw(p, points(e.Parent, 1)); err != nil {
		return err
	}
	p.X.Min, p.X.Max = 0, float64(e.Settings.AncestorEpochs)
	p.Y.Max += 0.25 * (p.Y.Max - p.Y.Min) // for the legend
	p.X.Tick.Marker = plot.TickerFunc(epochTicks)
	return chart.Write(path, p)
}

// draws adds curves of the same length and their mean.
func draws(p *plot.Plot, name string, curves [][]float64, first int, line chart.Line) error {
	thin := line
	thin.Colour, thin.Width = chart.Faint(line.Colour), 1
	for _, c := range curves {
		if err := thin.Draw(p, points(c, first)); err != nil {
			return err
		}
	}
	line.Name, line.Width = name+", mean", 2.5
	return line.Draw(p, points(mean(curves), first))
}

// mean returns the curves' mean by epoch.
func mean(curves [][]float64) []float64 {
	var sum []float64
	for _, c := range curves {
		for i, v := range c {
			if i == len(sum) {
				sum = append(sum, 0)
			}
			sum[i] += v / float64(len(curves))
		}
	}
	return sum
}

// points places losses from an epoch on.
func points(losses []float64, first int) plotter.XYs {
	var xys plotter.XYs
	for i, loss := range losses {
		xys = append(xys, plotter.XY{X: float64(first + i), Y: loss})
	}
	return xys
}

// epochTicks labels whole epochs, about ten of them.
func epochTicks(low, high float64) []plot.Tick {
	step := max(1, math.Round((high-low)/10))
	var ticks []plot.Tick
	for v := low; v <= high; v += step {
		ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprint(v)})
	}
	return ticks
}
