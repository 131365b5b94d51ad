package main

import (
	"context"
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot/plotter"

	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/experiments/internal/chart"
	"github.com/evopose/evopose/search/experiments/internal/stats"
)

// sigmas are the spreads of evaluation times that are compared.
var sigmas = []float64{0, 0.25, 0.5}

// windows are the ways to search that are compared: 0 is by generations.
func (o options) windows() []int {
	list := []int{0, o.workers, o.workers * 3 / 2, o.children, o.workers * 8}
	slices.Sort(list)
	return slices.Compact(list)
}

func wayName(window int) string {
	if window == 0 {
		return "generations"
	}
	return fmt.Sprintf("steady, window %d", window)
}

// steady compares the steady state with generations: time on a real broker,
// then what is found on the surrogate.
func steady(ctx context.Context, o options) error {
	busy, err := o.onRealBroker(ctx)
	if err != nil {
		return err
	}
	races, err := o.races(ctx)
	if err != nil {
		return err
	}
	o.printRaces(races)
	return o.drawSteady(busy, races[len(sigmas)-1])
}

// onRealBroker prints how long each way takes, and returns the share of its
// time in which workers work, by window and sigma.
func (o options) onRealBroker(ctx context.Context) (map[int]plotter.XYs, error) {
	fmt.Printf("%d workers, %d generations of %d after the ancestor, on the engine of search/jobs; an evaluation of the ancestor takes %v s:\n\n",
		o.workers, o.generations, o.children, o.second)
	fmt.Println("| sigma | way | seconds | without the engine's share | workers at work |\n|---|---|---|---|---|")
	busy := map[int]plotter.XYs{}
	for _, sigma := range sigmas {
		for _, window := range o.windows() {
			s := plan(1, o.generations, o.children, window)
			entries, took, err := onBroker(ctx, s, o.workers, surrogate{second: o.second, sigma: sigma, sleeps: true})
			if err != nil {
				return nil, err
			}
			ideal := slices.Max(schedule(s, entries, o.workers)) - entries[0].Result.Seconds
			share := floats.Sum(seconds(entries[1:])) / float64(o.workers) / took
			fmt.Printf("| %v | %s | %.1f | %.1f | %.0f %% |\n", sigma, wayName(window), took, ideal, 100*share)
			busy[window] = append(busy[window], plotter.XY{X: sigma, Y: share})
		}
	}
	fmt.Println()
	return busy, nil
}

func seconds(entries []search.Entry) []float64 {
	var list []float64
	for _, e := range entries {
		list = append(list, e.Result.Seconds)
	}
	return list
}

// run is a search on the surrogate at a sigma. It goes on for twice as long as
// is compared, so that a faster way can fill the time of generations.
type run struct {
	settings search.Settings
	entries  []search.Entry
	ends     []float64 // by entry
}

// race are the runs from each seed, by window.
type race map[int][]run

// races returns a race for each sigma. Sigma changes times, never what is found.
func (o options) races(ctx context.Context) ([]race, error) {
	races := make([]race, len(sigmas))
	for i := range races {
		races[i] = race{}
	}
	for _, window := range o.windows() {
		for seed := range o.seeds {
			s := plan(uint64(seed+1), 2*o.generations, o.children, window)
			entries, err := evolve(ctx, s, atOnce{surrogate{}}, search.Silent{})
			if err != nil {
				return nil, err
			}
			for i, sigma := range sigmas {
				races[i][window] = append(races[i][window], run{s, entries, schedule(s, timed(entries, sigma), o.workers)})
			}
		}
	}
	return races, nil
}

// timed returns the entries with the times of a sigma; the ancestor takes about
// 1.
func timed(entries []search.Entry, sigma float64) []search.Entry {
	list := slices.Clone(entries)
	for i := range list {
		list[i].Result.Seconds = surrogate{second: 1, sigma: sigma}.seconds(list[i].Job, list[i].Result)
	}
	return list
}

// time is until so many evaluations are there.
func (r run) time(evaluations int) float64 { return slices.Max(r.ends[:evaluations]) }

// foundBy is the fitness of what is found at a time.
func (r run) foundBy(time float64) float64 {
	there := by(r.entries, r.ends, time)
	if len(there) == 0 {
		there = r.entries[:1]
	}
	return trueFitness(r.settings, there)
}

// printRaces prints what each way finds after the same number of evaluations
// and after the same time.
func (o options) printRaces(races []race) {
	fmt.Printf("What is found on the surrogate, %d seeds, fitness without noise, lower is better; differences are to generations, with their 95 %% confidence interval by paired t. The time is in evaluations of the ancestor.\n\n", o.seeds)
	fmt.Println("| sigma | way | time for all | fitness | difference | difference after the time of generations |\n|---|---|---|---|---|---|")
	total := 1 + o.generations*o.children
	for i, sigma := range sigmas {
		for _, window := range o.windows() {
			var times, found, less, lessInTime []float64
			for seed, r := range races[i][window] {
				base := races[i][0][seed]
				times, found = append(times, r.time(total)), append(found, trueFitness(r.settings, r.entries[:total]))
				less = append(less, found[seed]-trueFitness(base.settings, base.entries[:total]))
				lessInTime = append(lessInTime, r.foundBy(base.time(total))-base.foundBy(base.time(total)))
			}
			fmt.Printf("| %v | %s | %.1f | %.2f | %s | %s |\n", sigma, wayName(window), stat.Mean(times, nil), stat.Mean(found, nil), interval(less), interval(lessInTime))
		}
	}
	fmt.Println()
}

// interval writes the mean of differences and its confidence interval.
func interval(differences []float64) string { return intervalOf(differences, 2) }

func intervalOf(differences []float64, digits int) string {
	mean, low, high := stats.MeanInterval(differences, 0.95)
	return fmt.Sprintf("%+.*f (%+.*f to %+.*f)", digits, mean, digits, low, digits, high)
}

var wayColours = []color.NRGBA{chart.Vermilion, chart.Green, chart.Purple, chart.Blue, chart.Black}

// drawSteady draws the workers' share and what is found over time.
func (o options) drawSteady(busy map[int]plotter.XYs, r race) error {
	left := chart.Panel(fmt.Sprintf("Broker, %d workers, generations of %d", o.workers, o.children), "sigma of evaluation times", "share of time at work")
	right := chart.Panel(fmt.Sprintf("Surrogate, sigma %v, mean of %d", sigmas[len(sigmas)-1], o.seeds), "time, in evaluations of the ancestor", "fitness of the best")
	for i, window := range o.windows() {
		line := chart.Line{Name: wayName(window), Colour: wayColours[i], Width: 2}
		if err := line.Draw(left, busy[window]); err != nil {
			return err
		}
		if err := line.Draw(right, o.meanCurve(r[window])); err != nil {
			return err
		}
	}
	left.Y.Min, left.Y.Max = 0, 1.4
	return chart.Write(o.figure("steady.png"), left, right)
}

// curveSteps is at how many times a curve shows a mean.
const curveSteps = 40

// meanCurve is the mean over seeds of what is found, by time.
func (o options) meanCurve(runs []run) plotter.XYs {
	var xys plotter.XYs
	longest := 0.0
	for _, r := range runs {
		longest = max(longest, r.time(1+o.generations*o.children))
	}
	for i := range curveSteps {
		at, sum := longest*float64(i+1)/curveSteps, 0.0
		for _, r := range runs {
			sum += r.foundBy(at) / float64(len(runs))
		}
		xys = append(xys, plotter.XY{X: at, Y: sum})
	}
	return xys
}
