// Package stats has the few statistics that the experiments report.
package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// MeanInterval returns the mean of at least two values and its confidence
// interval at the given level, such as 0.95, by Student's t. Of differences it
// is the paired t interval.
func MeanInterval(values []float64, level float64) (mean, low, high float64) {
	mean = stat.Mean(values, nil)
	n := float64(len(values))
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile((1 + level) / 2)
	half := t * stat.StdDev(values, nil) / math.Sqrt(n)
	return mean, mean - half, mean + half
}

// SignTest returns how many differences are below and above zero, and the
// two-sided p of the exact sign test; zeros do not count. Without any other it
// is 1.
func SignTest(differences []float64) (below, above int, p float64) {
	for _, d := range differences {
		switch {
		case d < 0:
			below++
		case d > 0:
			above++
		}
	}
	fewer := distuv.Binomial{N: float64(below + above), P: 0.5}.CDF(float64(min(below, above)))
	return below, above, min(1, 2*fewer)
}

// Spearman returns the rank correlation of two lists of the same length: that
// of their ranks, ties sharing the mean of theirs. It is NaN where one of them
// has a single value.
func Spearman(x, y []float64) float64 {
	return stat.Correlation(ranks(x), ranks(y), nil)
}

// ranks returns the place of each value in their order, from 1.
func ranks(values []float64) []float64 {
	order := slices.Sorted(slices.Values(values))
	ranks := make([]float64, len(values))
	for i, v := range values {
		first, _ := slices.BinarySearch(order, v)
		after := first
		for after < len(order) && order[after] == v {
			after++
		}
		ranks[i] = float64(first+1+after) / 2
	}
	return ranks
}

// Median returns the median of at least one value; of an even number the mean
// of the two in the middle, which is +Inf if one of them is.
func Median(values []float64) float64 {
	order := slices.Sorted(slices.Values(values))
	n := len(order)
	return (order[(n-1)/2] + order[n/2]) / 2
}

// StandardError returns the standard error of the mean of at least two values.
func StandardError(values []float64) float64 {
	return stat.StdErr(stat.StdDev(values, nil), float64(len(values)))
}
