package search

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var nan, inf = math.NaN(), math.Inf(1)

func TestFitness(t *testing.T) {
	for _, tt := range []struct {
		name string
		cost Cost
		r    Result
		want float64
	}{
		{"at the reference", CostParameters, Result{Loss: 12, Parameters: 5e6}, 12},
		// (5e6/2.5e6)^-0.07 = 2^-0.07
		{"half the parameters", CostParameters, Result{Loss: 12, Parameters: 25e5}, 12 * 0.952637998},
		{"ten times", CostParameters, Result{Loss: 1, Parameters: 5e7}, 1.174897555},
		{"multiply-adds", CostMultiplyAdds, Result{Loss: 3, MultiplyAdds: 5e8, Parameters: 1}, 3 * 0.952637998},
		{"latency", CostLatency, Result{Loss: 3, Latency: 0.05}, 3 / 0.952637998},
		{"no loss at all", CostParameters, Result{Loss: 0, Parameters: 5e6}, 0},
		{"NaN", CostParameters, Result{Loss: nan, Parameters: 5e6}, inf},
		{"infinite", CostParameters, Result{Loss: inf, Parameters: 5e6}, inf},
		{"negative", CostParameters, Result{Loss: -1, Parameters: 5e6}, inf},
		{"failed", CostParameters, Result{Loss: 1, Parameters: 5e6, Failed: "out of memory"}, inf},
		{"stopped", CostParameters, Result{Loss: 1, Parameters: 5e6, Stopped: true}, inf},
		{"latency not measured", CostLatency, Result{Loss: 1, Parameters: 5e6}, inf},
		{"latency is NaN", CostLatency, Result{Loss: 1, Latency: nan}, inf},
		{"unknown cost", "weight", Result{Loss: 1, Parameters: 5e6}, inf},
	} {
		got := Fitness(tt.cost, tt.r)
		if got != tt.want && !(math.Abs(got-tt.want) <= 1e-8*tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The reference of a cost changes no comparison.
func TestReferenceChangesNoOrder(t *testing.T) {
	for _, c := range costs {
		if c.cost.Reference() != c.reference || !(c.reference > 0) {
			t.Errorf("%v", c)
		}
		a, b := Result{Loss: 10, Parameters: 4e6, MultiplyAdds: 4e6, Latency: 4}, Result{Loss: 9.9, Parameters: 6e6, MultiplyAdds: 6e6, Latency: 6}
		ratio := Fitness(c.cost, a) / Fitness(c.cost, b)
		if want := 10 / 9.9 * math.Pow(4.0/6, 0.07); math.Abs(ratio-want) > 1e-12 {
			t.Errorf("%v: ratio %v, want %v", c.cost, ratio, want)
		}
	}
}

func TestParseCost(t *testing.T) {
	for _, c := range costs {
		if got, err := ParseCost(string(c.cost)); err != nil || got != c.cost {
			t.Errorf("%v %v", got, err)
		}
	}
	if _, err := ParseCost("flops"); err == nil || err.Error() != `"flops": want parameters, multiply-adds, latency` {
		t.Errorf("error %v", err)
	}
}

func TestChecked(t *testing.T) {
	for _, tt := range []struct {
		name      string
		got, want Result
	}{
		{"good", Result{Loss: 1, Losses: []float64{2, 1}, Weights: "ab", Latency: 1}, Result{Loss: 1, Losses: []float64{2, 1}, Weights: "ab", Latency: 1}},
		{"NaN", Result{Loss: nan, Losses: []float64{2, nan, 1}, Weights: "ab"}, Result{Losses: []float64{2}, Failed: "the validation loss is NaN"}},
		{"infinite", Result{Loss: inf, Losses: []float64{inf}}, Result{Losses: []float64{}, Failed: "the validation loss is +Inf"}},
		{"failed", Result{Failed: "out of memory", Loss: nan, Weights: "ab"}, Result{Failed: "out of memory"}},
		{"clock", Result{Loss: 1, Seconds: nan, Latency: inf}, Result{Loss: 1}},
	} {
		got := tt.got.Checked()
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
