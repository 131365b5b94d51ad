package search

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDominates(t *testing.T) {
	p := Point{2, 2}
	for _, tt := range []struct {
		q    Point
		want bool
	}{
		{Point{3, 3}, true}, {Point{2, 3}, true}, {Point{3, 2}, true}, {Point{2, 2}, false},
		{Point{1, 3}, false}, {Point{3, 1}, false}, {Point{1, 1}, false}, {Point{nan, 3}, false}, {Point{3, nan}, false},
	} {
		if got := p.Dominates(tt.q); got != tt.want {
			t.Errorf("%v dominates %v: %v", p, tt.q, got)
		}
	}
	if (Point{nan, 0}).Dominates(p) || (Point{0, nan}).Dominates(p) {
		t.Error("NaN wins")
	}
}

func TestFronts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		points []Point
		want   [][]int
	}{
		{"none", nil, nil},
		{"one", []Point{{1, 1}}, [][]int{{0}}},
		{"a chain", []Point{{3, 3}, {1, 1}, {2, 2}}, [][]int{{1}, {2}, {0}}},
		{"a front", []Point{{3, 1}, {1, 3}, {2, 2}}, [][]int{{0, 1, 2}}},
		{"twins", []Point{{1, 1}, {2, 2}, {1, 1}}, [][]int{{0, 2}, {1}}},
		{"same loss", []Point{{1, 3}, {1, 2}, {1, 1}}, [][]int{{2}, {1}, {0}}},
		{"two fronts", []Point{{1, 4}, {2, 5}, {4, 1}, {5, 2}, {3, 3}}, [][]int{{0, 2, 4}, {1, 3}}},
		{"NaN is last", []Point{{nan, 1}, {1, 1}, {1, nan}}, [][]int{{1}, {0, 2}}},
	} {
		if diff := cmp.Diff(tt.want, Fronts(tt.points)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// Against the definition, on points of which many tie.
func TestFrontsOfRandomPoints(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		points := make([]Point, rng.IntN(60))
		for i := range points {
			points[i] = Point{float64(rng.IntN(8)), float64(rng.IntN(8))}
		}
		if diff := cmp.Diff(plainFronts(points), Fronts(points)); diff != "" {
			t.Fatalf("%v: %s", points, diff)
		}
	}
}

// plainFronts takes the points that nobody left dominates, again and again.
func plainFronts(points []Point) (fronts [][]int) {
	left := map[int]bool{}
	for i := range points {
		left[i] = true
	}
	for len(left) > 0 {
		var front []int
		for i := range left {
			free := true
			for j := range left {
				free = free && !points[j].Dominates(points[i])
			}
			if free {
				front = append(front, i)
			}
		}
		for _, i := range front {
			delete(left, i)
		}
		slices.Sort(front)
		fronts = append(fronts, front)
	}
	return fronts
}

func TestCrowding(t *testing.T) {
	for _, tt := range []struct {
		name   string
		points []Point
		want   []float64
	}{
		{"none", nil, []float64{}},
		{"one", []Point{{1, 1}}, []float64{inf}},
		{"two", []Point{{1, 2}, {2, 1}}, []float64{inf, inf}},
		// Loss 0..8, cost 0..16: (4-0)/8 + (16-4)/16 and (8-2)/8 + (8-0)/16.
		{"four", []Point{{0, 16}, {2, 8}, {4, 4}, {8, 0}}, []float64{inf, 1.25, 1.25, inf}},
		{"all the same", []Point{{1, 1}, {1, 1}, {1, 1}}, []float64{inf, 0, inf}},
	} {
		if diff := cmp.Diff(tt.want, Crowding(tt.points)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestParetoOrder(t *testing.T) {
	points := []Point{{0, 10}, {1, 6}, {4, 2}, {10, 0}, {11, 11}, {2, 9}}
	if diff := cmp.Diff([]int{0, 3, 2, 1, 5, 4}, ParetoOrder(points)); diff != "" {
		t.Error(diff)
	}
	if got := ParetoOrder(nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
