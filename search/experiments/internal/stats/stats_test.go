package stats

import (
	"math"
	"testing"
)

func near(t *testing.T, name string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-3*math.Max(1, math.Abs(want))) {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

func TestMeanInterval(t *testing.T) {
	// Standard deviation 1.5811, error 0.7071, and t of 4 degrees 2.7764.
	mean, low, high := MeanInterval([]float64{1, 2, 3, 4, 5}, 0.95)
	near(t, "mean", mean, 3)
	near(t, "low", low, 3-2.7764*0.70711)
	near(t, "high", high, 3+2.7764*0.70711)
	near(t, "standard error", StandardError([]float64{1, 2, 3, 4, 5}), 0.70711)
}

func TestSignTest(t *testing.T) {
	for _, c := range []struct {
		values       []float64
		below, above int
		p            float64
	}{
		{[]float64{-1, -1, -1, -1, -1, -1, -1, -1}, 8, 0, 2.0 / 256},
		{[]float64{-1, -1, -1, -1, -1, -1, -1, 2, 0}, 7, 1, 2 * 9.0 / 256},
		{[]float64{-1, 1}, 1, 1, 1},
		{[]float64{0, 0}, 0, 0, 1},
	} {
		below, above, p := SignTest(c.values)
		if below != c.below || above != c.above {
			t.Errorf("%v: %d below, %d above", c.values, below, above)
		}
		near(t, "p", p, c.p)
	}
}

func TestSpearman(t *testing.T) {
	near(t, "a rising relation", Spearman([]float64{1, 2, 3, 4}, []float64{1, 10, 100, 1000}), 1)
	near(t, "a falling one", Spearman([]float64{1, 2, 3}, []float64{9, 4, 1}), -1)
	// Differences of ranks 1, 1, 0, 1, 1: 1 - 6*4/(5*24).
	near(t, "five", Spearman([]float64{1, 2, 3, 4, 5}, []float64{20, 10, 30, 50, 40}), 0.8)
	// Ranks 1.5, 1.5, 3 and 1, 2, 3.
	near(t, "ties", Spearman([]float64{7, 7, 9}, []float64{1, 2, 3}), math.Sqrt(3)/2)
	if got := Spearman([]float64{1, 1}, []float64{1, 2}); !math.IsNaN(got) {
		t.Errorf("a constant: %v", got)
	}
}

func TestMedian(t *testing.T) {
	near(t, "odd", Median([]float64{5, 1, 3}), 3)
	near(t, "even", Median([]float64{4, 1, 3, 2}), 2.5)
	if got := Median([]float64{1, math.Inf(1)}); !math.IsInf(got, 1) {
		t.Errorf("half never: %v", got)
	}
}
