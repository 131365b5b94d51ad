package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/evopose/evopose/search"
)

// family is the evaluations with what they are to each other.
type family struct {
	settings search.Settings
	entries  []search.Entry // by ID
	byID     map[int]search.Entry
	ranked   []search.Entry // those with a fitness, the best first
	parents  map[int]bool   // who has children or would have the next
	line     []search.Entry // from the ancestor to the best
	onLine   map[int]bool
}

func newFamily(s search.Settings, entries []search.Entry) (*family, error) {
	f := &family{settings: s, byID: map[int]search.Entry{}, parents: map[int]bool{}, onLine: map[int]bool{}}
	for _, e := range entries {
		if e.Job.ID < 0 || e.Job.Parent >= e.Job.ID {
			return nil, fmt.Errorf("evaluation %d has the parent %d: want IDs from 0, each higher than its parent's", e.Job.ID, e.Job.Parent)
		}
		f.byID[e.Job.ID] = e
	}
	for _, e := range f.byID {
		f.entries = append(f.entries, e)
	}
	slices.SortFunc(f.entries, func(a, b search.Entry) int { return cmp.Compare(a.Job.ID, b.Job.ID) })
	if n := len(f.entries); n > 0 && s.Children > 0 { // it may have had more generations than are asked for now
		f.settings.Generations = max(s.Generations, s.Generation(f.entries[n-1].Job.ID))
	}
	if err := f.settings.Validate(); err != nil {
		return nil, err
	}
	f.relate()
	return f, nil
}

// relate finds the parents, the best and where it comes from.
func (f *family) relate() {
	for _, e := range f.entries {
		if _, ok := f.byID[e.Job.Parent]; ok {
			f.parents[e.Job.Parent] = true
		}
	}
	for _, e := range f.settings.Best(f.entries) {
		f.parents[e.Job.ID] = true
	}
	// Whatever parents are chosen by, the winner is the fittest.
	byFitness := f.settings
	byFitness.Selection = search.SelectFitness
	if f.ranked = byFitness.Rank(f.entries); len(f.ranked) == 0 {
		return
	}
	for e, ok := f.ranked[0], true; ok; e, ok = f.byID[e.Job.Parent] {
		f.line = append(f.line, e)
		f.onLine[e.Job.ID] = true
	}
	slices.Reverse(f.line)
}

func (f *family) generation(e search.Entry) int { return f.settings.Generation(e.Job.ID) }

// last is the last generation that has an evaluation.
func (f *family) last() int {
	if len(f.entries) == 0 {
		return 0
	}
	return f.generation(f.entries[len(f.entries)-1])
}

// complete is the number of generations without a gap; that of the ancestor
// counts.
func (f *family) complete() int {
	n := 0
	for n < len(f.entries) && f.entries[n].Job.ID == n {
		n++
	}
	if n == 0 {
		return 0
	}
	return 1 + (n-1)/f.settings.Children
}

// fitness is +Inf for an evaluation that has none.
func (f *family) fitness(e search.Entry) float64 { return search.Fitness(f.settings.Cost, e.Result) }

// shade is how late a generation is, in steps from 0 to 5.
func (f *family) shade(e search.Entry) string {
	return fmt.Sprintf("g%d", 5*f.generation(e)/max(1, f.last()))
}

// cost is a cost in the unit that it is shown in.
type cost struct {
	search.Cost
	label string
	unit  string
	scale float64 // of the unit
}

// costs are those that some evaluation has.
func (f *family) costs() []cost {
	native := f.settings.Native.String()
	all := []cost{{search.CostParameters, "parameters (M)", "M", 1e6},
		{search.CostMultiplyAdds, "multiply-adds at " + native + " (G)", "G", 1e9},
		{search.CostLatency, "latency at " + native + " (ms a crop)", "ms", 1e-3}}
	return slices.DeleteFunc(all, func(c cost) bool { return len(f.rated(c.Cost)) == 0 })
}

// rated are the evaluations that have a loss and this cost.
func (f *family) rated(c search.Cost) []search.Entry {
	var list []search.Entry
	for _, e := range f.entries {
		if !math.IsInf(search.Fitness(c, e.Result), 0) {
			list = append(list, e)
		}
	}
	return list
}

// front is the Pareto front of loss and a cost, the cheapest first.
func (f *family) front(c search.Cost) []search.Entry {
	list := f.rated(c)
	points := make([]search.Point, len(list))
	for i, e := range list {
		points[i] = search.Point{Loss: e.Result.Loss, Cost: c.Of(e.Result)}
	}
	var front []search.Entry
	if len(points) > 0 {
		for _, i := range search.Fronts(points)[0] {
			front = append(front, list[i])
		}
	}
	slices.SortStableFunc(front, func(a, b search.Entry) int { return cmp.Compare(c.Of(a.Result), c.Of(b.Result)) })
	return front
}

// fronts names, by evaluation, the costs on whose front it is.
func (f *family) fronts() map[int][]string {
	names := map[int][]string{}
	for _, c := range f.costs() {
		for _, e := range f.front(c.Cost) {
			names[e.Job.ID] = append(names[e.Job.ID], string(c.Cost))
		}
	}
	return names
}
