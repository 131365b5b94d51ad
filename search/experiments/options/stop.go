package main

import (
	"context"
	"fmt"
	"slices"

	"gonum.org/v1/plot/plotter"

	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/experiments/internal/chart"
	"github.com/evopose/evopose/search/experiments/internal/pairs"
	"github.com/evopose/evopose/search/experiments/internal/stats"
)

// factors are the stop factors that are compared.
var factors = []float64{1.005, 1.01, 1.02, 1.03, 1.05, 1.1, 1.2, 1.3}

// stop tells, from curves of real trainings, what early stopping would have
// saved and lost, and how well an early loss tells the last one.
func stop(_ context.Context, o options) error {
	e, err := pairs.Read(o.transfer)
	if err != nil {
		return err
	}
	groups := []group{{name: "with transfer"}, {name: "from scratch"}}
	for _, p := range e.Pairs {
		if p.Failed == "" {
			groups[0].curves, groups[1].curves = append(groups[0].curves, p.Transfer), append(groups[1].curves, p.Scratch)
		}
	}
	if len(groups[0].curves) < 3 || e.Settings.AncestorEpochs < 2 {
		return fmt.Errorf("%s has %d pairs of %d epochs: want 3 pairs or more of 2 epochs or more", o.transfer, len(groups[0].curves), e.Settings.AncestorEpochs)
	}
	for _, g := range groups {
		g.print()
	}
	return drawStop(o.figure("stopping.png"), groups)
}

// group is trainings that are compared, each its losses by epoch.
type group struct {
	name   string
	curves [][]float64
}

// at returns every training's loss after an epoch, counted from 1.
func (g group) at(epoch int) []float64 {
	var list []float64
	for _, c := range g.curves {
		list = append(list, c[epoch-1])
	}
	return list
}

func (g group) epochs() int { return len(g.curves[0]) }

// best returns the trainings with the lowest final losses, a quarter of all and
// at least one, the best first.
func (g group) best() []int {
	last := g.at(g.epochs())
	order := make([]int, len(last))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		if last[i] < last[j] {
			return -1
		}
		return 1
	})
	return order[:max(1, len(order)/4)]
}

// stopped returns the epoch after which each training is ended by a factor. The
// search compares with the median of the generation's parents; here the best
// quarter stands for them.
func (g group) stopped(factor float64) []int {
	job := search.Job{Epochs: g.epochs()}
	for epoch := 1; epoch < job.Epochs; epoch++ {
		var parents []float64
		for _, i := range g.best() {
			parents = append(parents, g.curves[i][epoch-1])
		}
		job.StopAbove = append(job.StopAbove, factor*stats.Median(parents))
	}
	var ends []int
	for _, c := range g.curves {
		end := 1
		for end < job.Epochs && !job.Hopeless(end, c[end-1]) {
			end++
		}
		ends = append(ends, end)
	}
	return ends
}

// saved is the share of epochs that a factor saves.
func (g group) saved(factor float64) float64 {
	run := 0
	for _, end := range g.stopped(factor) {
		run += end
	}
	return 1 - float64(run)/float64(len(g.curves)*g.epochs())
}

// lost counts the best trainings that a factor ends.
func (g group) lost(factor float64) (n int) {
	ends := g.stopped(factor)
	for _, i := range g.best() {
		if ends[i] < g.epochs() {
			n++
		}
	}
	return n
}

func (g group) print() {
	fmt.Printf("%d trainings %s of %d epochs. Rank correlation of the loss after an epoch with the last one:", len(g.curves), g.name, g.epochs())
	for epoch := 1; epoch < g.epochs(); epoch++ {
		fmt.Printf(" %.2f after %d", stats.Spearman(g.at(epoch), g.at(g.epochs())), epoch)
	}
	fmt.Printf(".\n\n| factor | epochs saved | ended of %d | the best ended | the best quarter (%d) ended |\n|---|---|---|---|---|\n", len(g.curves), len(g.best()))
	for _, factor := range factors {
		ends, early, first := g.stopped(factor), 0, "no"
		for _, end := range ends {
			if end < g.epochs() {
				early++
			}
		}
		if ends[g.best()[0]] < g.epochs() {
			first = "yes"
		}
		fmt.Printf("| %v | %.0f %% | %d | %s | %d |\n", factor, 100*g.saved(factor), early, first, g.lost(factor))
	}
	fmt.Println()
}

// drawStop draws the rank correlations and the savings.
func drawStop(path string, groups []group) error {
	left := chart.Panel("", "epoch", "rank correlation with the last loss")
	right := chart.Panel("", "stop factor", "epochs saved, share")
	for i, g := range groups {
		line := chart.Line{Name: g.name, Width: 2, Colour: chart.Blue}
		if i > 0 {
			line.Colour = chart.Vermilion
		}
		var correlation, saved plotter.XYs
		for epoch := 1; epoch <= g.epochs(); epoch++ {
			correlation = append(correlation, plotter.XY{X: float64(epoch), Y: stats.Spearman(g.at(epoch), g.at(g.epochs()))})
		}
		for _, factor := range factors {
			saved = append(saved, plotter.XY{X: factor, Y: g.saved(factor)})
		}
		if err := line.Draw(left, correlation); err != nil {
			return err
		}
		if err := line.Draw(right, saved); err != nil {
			return err
		}
	}
	left.Legend.Top = false
	return chart.Write(path, left, right)
}
