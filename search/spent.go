package search

import (
	"cmp"
	"maps"
	"slices"
)

// Spent returns the results whose trained weights are of no use any more, by
// ID. Of use are those
//
//   - of entries that may yet be parents, whatever comes and however many
//     generations are added;
//   - that a job without a result starts from;
//   - of the fittest, which is the winner if no better one comes.
//
// jobs are all that were made, by ID, and results those that are there.
//
// Parents are the best of ever more results, of which none changes. So an entry
// is out for ever once as many as there are parents come before it for ever. By
// fitness these are all that are better. With two objectives they are those
// that dominate it, which are in an earlier front whatever comes. Others do not
// count: an entry that is crowded out of its front comes back when a new one
// dominates its neighbours.
func (s *Settings) Spent(jobs []Job, results map[int]Result) []Result {
	needed := map[string]bool{s.From: true}
	for _, j := range jobs {
		if _, ok := results[j.ID]; !ok {
			needed[j.ParentWeights] = true
		}
	}
	rated := s.rate(results)
	known := s.visible(len(jobs)) + 1
	for _, r := range rated {
		if !s.FromScratch && !s.out(r, rated, known) {
			needed[r.Weights] = true
		}
	}
	if len(rated) > 0 {
		needed[slices.MinFunc(rated, byFitness).Weights] = true
	}
	var spent []Result
	for _, id := range slices.Sorted(maps.Keys(results)) {
		if r := results[id]; r.Weights != "" && !needed[r.Weights] {
			spent = append(spent, r)
		}
	}
	return spent
}

// rated is a result that may be a parent's.
type rated struct {
	Result
	fitness float64
	point   Point
}

func byFitness(a, b rated) int {
	return cmp.Or(cmp.Compare(a.fitness, b.fitness), cmp.Compare(a.ID, b.ID))
}

func (s *Settings) rate(results map[int]Result) []rated {
	var list []rated
	for _, r := range results {
		if f := Fitness(s.Cost, r); finite(f) {
			list = append(list, rated{r, f, Point{r.Loss, s.Cost.Of(r)}})
		}
	}
	return list
}

// out reports whether a result can no longer be among the parents. Every later
// job knows the first so many results, or more.
func (s *Settings) out(r rated, all []rated, known int) bool {
	ahead := 0
	for _, other := range all {
		// Who knows r knows all before it.
		if other.ID < max(r.ID, known) && s.ahead(other, r) {
			ahead++
		}
	}
	return ahead >= s.Parents
}

// ahead reports whether a comes before b in every set that has both.
func (s *Settings) ahead(a, b rated) bool {
	if s.Selection == SelectPareto {
		return a.point.Dominates(b.point)
	}
	return byFitness(a, b) < 0
}
