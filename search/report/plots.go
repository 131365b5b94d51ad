package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/evopose/evopose/search"
)

// fitnessChart has a dot for each evaluation, in order, and the best so far.
func (f *family) fitnessChart() *chart {
	var drawn []search.Entry
	var values []float64
	for _, e := range f.entries {
		if v := f.fitness(e); plottable(v) {
			drawn, values = append(drawn, e), append(values, v)
		}
	}
	if len(drawn) == 0 {
		return nil
	}
	y := newAxis(values)
	c := newChart("Fitness by generation", 1200, 400, &y)
	c.XLabel, c.YLabel = "generation", "fitness (lower is better)"
	x := axis{low: 0, high: float64(f.last() + 1), from: c.Left, to: c.Right}
	c.XTicks = f.generationTicks(x)
	var best polyline
	lowest := math.Inf(1)
	for i, e := range drawn {
		px, _ := x.at(f.place(e))
		py, above := y.at(values[i])
		d := f.dotOf(e, px, py)
		if d.Class == "" && f.parents[e.Job.ID] {
			d.Class, d.R = "p", 4.5
		}
		c.add(d, above)
		if values[i] < lowest {
			lowest = values[i]
			best.step(px, py)
		}
	}
	at, _ := y.at(lowest)
	best.to(c.Right, at)
	c.Paths = []path{{Class: "median", D: f.medians(x, y)}, {Class: "best", D: best.String()}}
	c.Note = c.left()
	return c
}

// left tells of evaluations that the axis leaves out.
func (c *chart) left() string {
	if c.above == 0 {
		return ""
	}
	return fmt.Sprintf("%s above the axis, drawn at its end.", count(c.above, "evaluation"))
}

// place is where an evaluation is among the generations: generation g is from g
// to g+1.
func (f *family) place(e search.Entry) float64 {
	g := f.generation(e)
	if g == 0 {
		return 0.5
	}
	within := e.Job.ID - 1 - (g-1)*f.settings.Children
	return float64(g) + (float64(within)+0.5)/float64(f.settings.Children)
}

// generationTicks are in the middle of generations, at most about 25.
func (f *family) generationTicks(x axis) []tick {
	every := int(math.Ceil(roundStep(max(1, x.high/25))))
	var list []tick
	for g := 0; g <= f.last(); g += every {
		start, _ := x.at(float64(g))
		middle, _ := x.at(float64(g) + 0.5)
		list = append(list, tick{middle, start, fmt.Sprint(g)})
	}
	return list
}

// medians has a stroke for each generation.
func (f *family) medians(x, y axis) string {
	d := ""
	for _, group := range f.groups() {
		var values []float64
		for _, e := range group {
			if v := f.fitness(e); plottable(v) {
				values = append(values, v)
			}
		}
		g := float64(f.generation(group[0]))
		if len(values) == 0 || g == 0 {
			continue
		}
		slices.Sort(values)
		from, _ := x.at(g)
		to, _ := x.at(g + 1)
		at, _ := y.at((values[(len(values)-1)/2] + values[len(values)/2]) / 2)
		d += fmt.Sprintf("M%g %gH%g", from, at, to)
	}
	return d
}

// costCharts are the loss against each cost.
func (f *family) costCharts() []*chart {
	var list []*chart
	for _, k := range f.costs() {
		if c := f.costChart(k); c != nil {
			list = append(list, c)
		}
	}
	return list
}

func (f *family) costChart(k cost) *chart {
	var drawn []search.Entry
	var costs, losses []float64
	for _, e := range f.rated(k.Cost) {
		if v := k.Of(e.Result) / k.scale; plottable(v) && plottable(e.Result.Loss) {
			drawn, costs, losses = append(drawn, e), append(costs, v), append(losses, e.Result.Loss)
		}
	}
	if len(drawn) == 0 {
		return nil
	}
	y := newAxis(losses)
	c := newChart("Validation loss and "+string(k.Cost), 580, 420, &y)
	c.XLabel, c.YLabel = k.label, "validation loss"
	x := around(slices.Min(costs), slices.Max(costs)).on(c.Left, c.Right)
	c.XTicks = x.ticks()
	ofFront := map[int]bool{}
	var front polyline
	for _, e := range f.front(k.Cost) {
		ofFront[e.Job.ID] = true
		px, _ := x.at(k.Of(e.Result) / k.scale)
		py, _ := y.at(e.Result.Loss)
		front.step(px, py)
	}
	c.Paths = []path{{Class: "front", D: front.String()}}
	if k.Cost == f.settings.Cost {
		c.Paths = append(c.Paths, path{Class: "equal", D: f.equalFitness(k, x, y)})
	}
	for i, e := range drawn {
		px, _ := x.at(costs[i])
		py, above := y.at(losses[i])
		d := f.dotOf(e, px, py)
		if d.Class == "" {
			d.Class = f.shade(e)
		}
		if ofFront[e.Job.ID] {
			d.Class += " f"
		}
		c.add(d, above)
	}
	c.Note = c.left()
	return c
}

// equalFitness is the line of the networks that would be as fit as the best.
func (f *family) equalFitness(k cost, x, y axis) string {
	const steps = 48
	lowest := f.fitness(f.ranked[0])
	var line polyline
	for i := range steps + 1 {
		v := x.low + (x.high-x.low)*float64(i)/steps
		loss := lowest / search.Fitness(k.Cost, unitLoss(v*k.scale))
		if px, _ := x.at(v); loss > y.low && loss < y.high { // not where there is no cost, either
			py, _ := y.at(loss)
			line.to(px, py)
		}
	}
	return line.String()
}

// unitLoss is a result with the loss 1, whatever cost is looked at.
func unitLoss(cost float64) search.Result {
	return search.Result{Loss: 1, Parameters: int64(cost), MultiplyAdds: int64(cost), Latency: cost}
}

// curveCharts are the losses by epoch of the children and of the ancestor, which
// is trained for another time.
func (f *family) curveCharts() []*chart {
	var children, ancestor []search.Entry
	for _, e := range f.entries {
		switch {
		case len(curve(e)) < 2:
		case e.Job.ID == 0:
			ancestor = append(ancestor, e)
		default:
			children = append(children, e)
		}
	}
	var list []*chart
	if len(children) > 0 {
		list = append(list, f.curveChart("Children", children))
	}
	if len(ancestor) > 0 {
		list = append(list, f.curveChart("Ancestor", ancestor))
	}
	return list
}

// curve is the part of an evaluation's losses that can be drawn.
func curve(e search.Entry) []float64 {
	losses := e.Result.Losses
	if i := slices.IndexFunc(losses, func(v float64) bool { return !plottable(v) || v < 0 }); i >= 0 {
		return losses[:i]
	}
	return losses
}

func (f *family) curveChart(name string, entries []search.Entry) *chart {
	epochs, low, highest := 0, math.Inf(1), []float64(nil)
	for _, e := range entries {
		losses := curve(e)
		epochs, low = max(epochs, len(losses)), min(low, slices.Min(losses))
		highest = append(highest, slices.Max(losses))
	}
	y := curveAxis(low, highest)
	c := newChart(name, 580, 380, &y)
	c.XLabel, c.YLabel = "epoch", "validation loss"
	if y.log {
		c.YLabel += " (logarithmic)"
	}
	margin := 0.03 * float64(epochs-1)
	x := axis{low: 1 - margin, high: float64(epochs) + margin, from: c.Left, to: c.Right}
	c.XTicks = wholeTicks(x)
	for _, e := range entries {
		f.addCurve(c, e, x, y)
	}
	c.Note = c.left()
	slices.SortStableFunc(c.Paths, func(a, b path) int { return rankOf(a) - rankOf(b) })
	return c
}

// rankOf says which lines are drawn over which.
func rankOf(p path) int {
	if p.Class == "curve w" {
		return 1
	}
	return 0
}

// curveAxis is logarithmic where a linear one would show the first epoch only.
// highest are the highest losses of the curves.
func curveAxis(low float64, highest []float64) axis {
	_, high := inliers(highest)
	if high < 5*low || low <= 0 {
		return around(low, high)
	}
	return axis{low: 0.95 * low, high: min(1.05*high, 1e4*low), log: true}
}

// wholeTicks are whole numbers.
func wholeTicks(x axis) []tick {
	step := max(1, roundStep((x.high-x.low)/10))
	var list []tick
	for v := step * math.Ceil(x.low/step); v <= x.high; v += step {
		at, _ := x.at(v)
		list = append(list, tick{at, at, fmt.Sprint(v)})
	}
	return list
}

// addCurve draws the losses of an evaluation; a cross is where it was stopped.
func (f *family) addCurve(c *chart, e search.Entry, x, y axis) {
	var line polyline
	var px, py float64
	outside := false
	for i, v := range curve(e) {
		var above bool
		px, _ = x.at(float64(i + 1))
		py, above = y.at(v)
		line.to(px, py)
		outside = outside || above
	}
	if outside {
		c.above++
	}
	class := "curve " + f.shade(e)
	switch {
	case f.best(e):
		class = "curve w"
	case e.Job.ID == 0:
		class = "curve p"
	}
	c.Paths = append(c.Paths, path{Class: class, D: line.String(), Title: f.title(e), ID: e.Job.ID})
	if e.Result.Stopped || e.Result.Failed != "" {
		c.Dots = append(c.Dots, dot{X: px, Y: py, Class: "x", ID: e.Job.ID, Title: f.title(e), Path: cross(px, py)})
	}
}

func cross(x, y float64) string { return fmt.Sprintf("M%g %gl6 6m0-6l-6 6", pixel(x-3), pixel(y-3)) }
