package main

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/experiments/internal/chart"
)

// readTrained reads the searches of -out by way and seed. A seed of which a way
// is not complete is left out, and why is printed.
func (o options) readTrained() (map[string][]run, error) {
	found := map[string][]run{}
	var left error
	for seed := range o.seeds {
		runs, err := o.readSeed(seed)
		if err != nil {
			fmt.Printf("Seed %d is left out: %v.\n\n", seed+1, err)
			left = err
			continue
		}
		for i, w := range ways {
			found[w.name] = append(found[w.name], runs[i])
		}
	}
	if len(found[ways[0].name]) < 2 {
		return nil, fmt.Errorf("%s: want complete searches of 2 seeds or more: %w", o.training.out, left)
	}
	return found, nil
}

// readSeed reads a seed's searches, in the order of ways.
func (o options) readSeed(seed int) ([]run, error) {
	var runs []run
	for _, w := range ways {
		dir := o.training.dir(seed, w)
		h, entries, err := search.ReadJournal(dir)
		if err != nil {
			return nil, err
		}
		if total := h.Settings.Total(); len(entries) < total {
			return nil, fmt.Errorf("%s has %d of %d evaluations", dir, len(entries), total)
		}
		runs = append(runs, run{settings: h.Settings, entries: entries})
	}
	return runs, nil
}

// bestFitness is the fitness of the fittest of the first evaluations.
func (r run) bestFitness(evaluations int) float64 {
	best := math.Inf(1)
	for _, e := range r.entries[:evaluations] {
		if e.Result.Failed == "" {
			best = min(best, search.Fitness(r.settings.Cost, e.Result))
		}
	}
	return best
}

// trainedFront is the front of what has a loss.
func (r run) trainedFront() []search.Point {
	entries := slices.DeleteFunc(slices.Clone(r.entries), func(e search.Entry) bool { return e.Result.Failed != "" })
	return frontOf(entries, r.settings.Cost)
}

// rectangle spans from the lowest loss of all searches and no parameters to the
// ancestors' mean loss and 1.2 times their parameters.
func rectangle(found map[string][]run) (ideal, reference search.Point) {
	ideal.Loss = math.Inf(1)
	for _, w := range ways {
		runs := found[w.name]
		for _, r := range runs {
			for _, p := range r.trainedFront() {
				ideal.Loss = min(ideal.Loss, p.Loss)
			}
			reference.Loss += r.entries[0].Result.Loss / float64(len(runs)*len(found))
			reference.Cost = 1.2 * r.settings.Cost.Of(r.entries[0].Result)
		}
	}
	return ideal, reference
}

// measures are what a way found, by seed.
type measures struct {
	fitness, volume, size []float64
	time                  []float64 // on as many workers as a generation has children, in seconds
}

func measure(runs []run, ideal, reference search.Point) (m measures) {
	for _, r := range runs {
		front := r.trainedFront()
		m.fitness = append(m.fitness, r.bestFitness(len(r.entries)))
		m.volume = append(m.volume, hypervolume(front, ideal, reference))
		m.size = append(m.size, float64(len(front)))
		m.time = append(m.time, slices.Max(schedule(r.settings, r.entries, r.settings.Children))-r.entries[0].Result.Seconds)
	}
	return m
}

// reportTrained prints a table and draws the figure.
func (o options) reportTrained(found map[string][]run) error {
	ideal, reference := rectangle(found)
	base := measure(found[ways[0].name], ideal, reference)
	s := found[ways[0].name][0].settings
	fmt.Printf("%d generations of %d, each network really trained at %v, %d seeds; differences are to generations, with their 95 %% confidence interval by paired t. ",
		s.Generations, s.Children, s.Size, len(base.fitness))
	fmt.Printf("The ancestor's fitness is %.2f. The time is on %d workers, from the times of the evaluations, without the ancestor's.\n\n", stat.Mean(ancestors(found), nil), s.Children)
	fmt.Println("| way | best fitness | difference | hypervolume of the front | difference | networks in it | time |\n|---|---|---|---|---|---|---|")
	for _, w := range ways {
		m := measure(found[w.name], ideal, reference)
		fitness, volume := "", ""
		if w.name != ways[0].name {
			fitness, volume = interval(differences(m.fitness, base.fitness)), intervalOf(differences(m.volume, base.volume), 3)
		}
		fmt.Printf("| %s | %.2f | %s | %.3f | %s | %.1f | %.2f |\n", w.name, stat.Mean(m.fitness, nil), fitness,
			stat.Mean(m.volume, nil), volume, stat.Mean(m.size, nil), stat.Mean(m.time, nil)/stat.Mean(base.time, nil))
	}
	return o.drawTrained(found)
}

func ancestors(found map[string][]run) []float64 {
	var list []float64
	for _, r := range found[ways[0].name] {
		list = append(list, r.bestFitness(1))
	}
	return list
}

// drawTrained draws the best fitness by evaluations, and the fronts.
func (o options) drawTrained(found map[string][]run) error {
	left := chart.Panel(fmt.Sprintf("Trained, mean of %d searches", len(found[ways[0].name])), "evaluations", "fitness of the best")
	right := chart.Panel("Trained, fronts of all", "parameters, M", "validation loss")
	for i, w := range ways {
		colour := []color.NRGBA{chart.Vermilion, chart.Green, chart.Blue}[i]
		if err := (chart.Line{Name: w.name, Colour: colour, Width: 2}).Draw(left, meanBest(found[w.name])); err != nil {
			return err
		}
		if err := drawFronts(right, w.name, colour, found[w.name]); err != nil {
			return err
		}
	}
	return chart.Write(o.figure("trained.png"), left, right)
}

// drawFronts draws a way's fronts, the first of them in the legend.
func drawFronts(p *plot.Plot, name string, colour color.NRGBA, runs []run) error {
	for i, r := range runs {
		line := chart.Line{Colour: chart.Faint(colour), Width: 1.5}
		if i == 0 {
			line.Name = name
			line.Colour = colour
		}
		if err := line.Draw(p, millions(r.trainedFront())); err != nil {
			return err
		}
	}
	return nil
}

// meanBest is the mean over seeds of the best fitness, by evaluations.
func meanBest(runs []run) plotter.XYs {
	var xys plotter.XYs
	for n := 1; n <= len(runs[0].entries); n++ {
		sum := 0.0
		for _, r := range runs {
			sum += r.bestFitness(n) / float64(len(runs))
		}
		xys = append(xys, plotter.XY{X: float64(n), Y: sum})
	}
	return xys
}
