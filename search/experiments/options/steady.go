package main

import (
	"context"
	"fmt"
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

var ways = map[bool]string{false: "generations", true: "steady state"}

// steady compares the steady state with generations: time on a real broker,
// then what is found on the surrogate.
func steady(ctx context.Context, o options) error {
	busy, err := o.onRealBroker(ctx)
	if err != nil {
		return err
	}
	curves, err := o.onSurrogate(ctx)
	if err != nil {
		return err
	}
	left := chart.Panel(fmt.Sprintf("Broker, %d workers, %d children", o.workers, o.children), "sigma of evaluation times", "workers at work, share")
	right := chart.Panel(fmt.Sprintf("Surrogate, sigma %v", sigmas[len(sigmas)-1]), "time, in evaluations of the ancestor", "mean fitness of the best")
	for way, colour := range map[bool]chart.Line{false: {Colour: chart.Vermilion}, true: {Colour: chart.Blue}} {
		line := colour
		line.Name, line.Width = ways[way], 2
		if err := line.Draw(left, busy[way]); err != nil {
			return err
		}
		if err := line.Draw(right, curves[way]); err != nil {
			return err
		}
	}
	left.Y.Min, left.Y.Max = 0, 1.2
	return chart.Write(o.figure("steady.png"), left, right)
}

// onRealBroker prints how long both ways take, and returns the share of their
// time in which workers work, by sigma.
func (o options) onRealBroker(ctx context.Context) (map[bool]plotter.XYs, error) {
	fmt.Printf("%d workers, %d generations of %d after the ancestor, on the engine of search/jobs; an evaluation of the ancestor takes %v s:\n\n",
		o.workers, o.generations, o.children, o.second)
	fmt.Println("| sigma | way | seconds | without the broker's share | workers at work |\n|---|---|---|---|---|")
	busy := map[bool]plotter.XYs{}
	for _, sigma := range sigmas {
		for _, way := range []bool{false, true} {
			s := plan(1, o.generations, o.children, way)
			entries, took, err := onBroker(ctx, s, o.workers, surrogate{second: o.second, sigma: sigma, sleeps: true})
			if err != nil {
				return nil, err
			}
			ideal := slices.Max(schedule(s, entries, o.workers)) - entries[0].Result.Seconds
			share := floats.Sum(seconds(entries[1:])) / float64(o.workers) / took
			fmt.Printf("| %v | %s | %.1f | %.1f | %.0f %% |\n", sigma, ways[way], took, ideal, 100*share)
			busy[way] = append(busy[way], plotter.XY{X: sigma, Y: share})
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

// onSurrogate prints what both ways find after the same number of evaluations
// and after the same time, and returns the mean of the best over time at the
// largest sigma.
func (o options) onSurrogate(ctx context.Context) (map[bool]plotter.XYs, error) {
	fmt.Printf("What is found on the surrogate, %d seeds, fitness without noise, lower is better; differences are steady state less generations, with their 95 %% confidence interval by paired t:\n\n", o.seeds)
	fmt.Println("| sigma | time for all: generations | steady state | fitness: generations | difference after as many evaluations | difference after the same time |\n|---|---|---|---|---|---|")
	var last []race
	for _, sigma := range sigmas {
		var races []race
		for seed := range o.seeds {
			r, err := o.race(ctx, uint64(seed+1), sigma)
			if err != nil {
				return nil, err
			}
			races = append(races, r)
		}
		column := func(of func(race) float64) (list []float64) {
			for _, r := range races {
				list = append(list, of(r))
			}
			return list
		}
		fmt.Printf("| %v | %.1f | %.1f | %.2f | %s | %s |\n", sigma,
			stat.Mean(column(func(r race) float64 { return r.times[false] }), nil), stat.Mean(column(func(r race) float64 { return r.times[true] }), nil),
			stat.Mean(column(func(r race) float64 { return r.generations }), nil),
			interval(column(func(r race) float64 { return r.sameEvaluations - r.generations })), interval(column(func(r race) float64 { return r.sameTime - r.generations })))
		last = races
	}
	fmt.Println()
	return o.meanCurves(last), nil
}

func interval(differences []float64) string {
	mean, low, high := stats.MeanInterval(differences, 0.95)
	return fmt.Sprintf("%+.2f (%+.2f to %+.2f)", mean, low, high)
}

// race is a search both ways from the same seed.
type race struct {
	times map[bool]float64 // until all evaluations are there
	// The fitness that generations find, and the steady state after as many
	// evaluations and after the same time.
	generations, sameEvaluations, sameTime float64
	curves                                 map[bool][]float64 // by time, in curveSteps
}

// curveSteps is how many times a curve shows.
const curveSteps = 40

func (o options) race(ctx context.Context, seed uint64, sigma float64) (race, error) {
	r := race{times: map[bool]float64{}, curves: map[bool][]float64{}}
	engine := atOnce{surrogate{second: 1, sigma: sigma}}
	for _, way := range []bool{false, true} {
		// The steady state goes on for longer, to fill the same time.
		long := plan(seed, 2*o.generations, o.children, way)
		entries, err := evolve(ctx, long, engine, search.Silent{})
		if err != nil {
			return r, err
		}
		ends, some := schedule(long, entries, o.workers), 1+o.generations*o.children
		r.times[way] = slices.Max(ends[:some])
		if way {
			r.sameEvaluations = trueFitness(long, entries[:some])
			r.sameTime = trueFitness(long, by(entries, ends, r.times[false]))
		} else {
			r.generations = trueFitness(long, entries[:some])
		}
		for i := range curveSteps {
			r.curves[way] = append(r.curves[way], bestBy(long, entries, ends, o.curveTime(i)))
		}
	}
	return r, nil
}

// curveTime is the time of a point of the curves.
func (o options) curveTime(i int) float64 {
	whole := float64(o.generations*o.children) / float64(o.workers)
	return 2 + whole*float64(i)/(curveSteps-1)
}

// bestBy is the fitness of what is found at a time.
func bestBy(s search.Settings, entries []search.Entry, ends []float64, time float64) float64 {
	there := by(entries, ends, time)
	if len(there) == 0 {
		there = entries[:1]
	}
	return trueFitness(s, there)
}

// meanCurves averages the curves of races.
func (o options) meanCurves(races []race) map[bool]plotter.XYs {
	means := map[bool]plotter.XYs{}
	for _, way := range []bool{false, true} {
		for i := range curveSteps {
			var sum float64
			for _, r := range races {
				sum += r.curves[way][i]
			}
			means[way] = append(means[way], plotter.XY{X: o.curveTime(i), Y: sum / float64(len(races))})
		}
	}
	return means
}
