package search

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// Point is what multi-objective selection knows of a network; lower is better
// in each.
type Point struct{ Loss, Cost float64 }

// Dominates reports whether p is better than q in one objective and no worse in
// the other. A point with a NaN dominates nothing.
func (p Point) Dominates(q Point) bool {
	return p.Loss <= q.Loss && p.Cost <= q.Cost && (p.Loss < q.Loss || p.Cost < q.Cost)
}

// Fronts sorts points by domination: those that no other dominates, then those
// that only points of the first front dominate, and so on (Deb et al.,
// "NSGA-II", IEEE TEC 2002). It returns indices, in each front in their order.
// NaN counts as +Inf.
func Fronts(points []Point) [][]int {
	points = withoutNaN(points)
	order := ordered(len(points), func(i, j int) int {
		return cmp.Or(cmp.Compare(points[i].Loss, points[j].Loss), cmp.Compare(points[i].Cost, points[j].Cost))
	})
	// In this order only earlier points dominate, and of a front's points so
	// far the last has the lowest cost: it decides for the whole front.
	var fronts [][]int
	for _, i := range order {
		f := sort.Search(len(fronts), func(f int) bool { return !points[fronts[f][len(fronts[f])-1]].Dominates(points[i]) })
		if f == len(fronts) {
			fronts = append(fronts, nil)
		}
		fronts[f] = append(fronts[f], i)
	}
	for _, front := range fronts {
		slices.Sort(front)
	}
	return fronts
}

func withoutNaN(points []Point) []Point {
	points = slices.Clone(points)
	for i := range points {
		for _, v := range []*float64{&points[i].Loss, &points[i].Cost} {
			if math.IsNaN(*v) {
				*v = math.Inf(1)
			}
		}
	}
	return points
}

// ordered returns 0..n-1 in the order that compare gives them.
func ordered(n int, compare func(i, j int) int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, compare)
	return order
}

// Crowding returns how far apart each point of a front stands from its
// neighbours: the sum over the objectives of the gap between the neighbours, as
// a share of the front's range; +Inf for the ends (the same paper, III-B).
func Crowding(front []Point) []float64 {
	distance := make([]float64, len(front))
	for _, of := range []func(Point) float64{func(p Point) float64 { return p.Loss }, func(p Point) float64 { return p.Cost }} {
		addGaps(distance, front, of)
	}
	return distance
}

// addGaps adds each point's gap in one objective.
func addGaps(distance []float64, front []Point, of func(Point) float64) {
	order := ordered(len(front), func(i, j int) int { return cmp.Compare(of(front[i]), of(front[j])) })
	last := len(order) - 1
	if last < 0 {
		return
	}
	span := of(front[order[last]]) - of(front[order[0]])
	for k, i := range order {
		switch {
		case k == 0 || k == last:
			distance[i] = math.Inf(1)
		case span > 0:
			distance[i] += (of(front[order[k+1]]) - of(front[order[k-1]])) / span
		}
	}
}

// ParetoOrder returns the indices of points, the first to be chosen first:
// front by front, within a front the most remote first, else in their order.
func ParetoOrder(points []Point) []int {
	var order []int
	for _, front := range Fronts(points) {
		members := make([]Point, len(front))
		for k, i := range front {
			members[k] = points[i]
		}
		distance := map[int]float64{}
		for k, d := range Crowding(members) {
			distance[front[k]] = d
		}
		slices.SortStableFunc(front, func(i, j int) int { return cmp.Compare(distance[j], distance[i]) })
		order = append(order, front...)
	}
	return order
}
