package search

import (
	"fmt"
	"math"
	"strings"
)

// Cost is what a network costs beside its loss.
type Cost string

// The costs. The paper's is Parameters.
const (
	CostParameters   Cost = "parameters"
	CostMultiplyAdds Cost = "multiply-adds"
	CostLatency      Cost = "latency" // of the serving runtime, seconds a crop
)

// costs are the costs with their reference: that at which the fitness is the
// loss. It scales all fitnesses alike and so changes no choice. The paper's
// generation 0 has 5.2 million parameters and 1.0 G multiply-adds at 256x192; a
// CPU of 2021 takes about 25 ms for it.
var costs = []struct {
	cost      Cost
	reference float64
	of        func(Result) float64
}{
	{CostParameters, 5e6, func(r Result) float64 { return float64(r.Parameters) }},
	{CostMultiplyAdds, 1e9, func(r Result) float64 { return float64(r.MultiplyAdds) }},
	{CostLatency, 0.025, func(r Result) float64 { return r.Latency }},
}

// costExponent is the paper's exponent: halving the cost is worth 4.7 % of the
// loss.
const costExponent = 0.07

// ParseCost reads the name of a cost.
func ParseCost(text string) (Cost, error) {
	var names []string
	for _, c := range costs {
		if string(c.cost) == text {
			return c.cost, nil
		}
		names = append(names, string(c.cost))
	}
	return "", fmt.Errorf("%q: want %s", text, strings.Join(names, ", "))
}

// Of returns the cost of a result's network; 0 if it was not measured.
func (c Cost) Of(r Result) float64 {
	for _, known := range costs {
		if known.cost == c {
			return known.of(r)
		}
	}
	return 0
}

// Reference returns the cost at which the fitness equals the loss.
func (c Cost) Reference() float64 {
	for _, known := range costs {
		if known.cost == c {
			return known.reference
		}
	}
	return 0
}

// Fitness rates a result, lower being better, by the formula of the paper
// (section III-C) with any of the costs:
//
//	loss * (reference / cost)^(-0.07)
//
// It is +Inf, which never wins, for a result that failed, was stopped early,
// has no loss or whose cost was not measured.
func Fitness(c Cost, r Result) float64 {
	cost := c.Of(r)
	if !r.eligible() || !(cost > 0) {
		return math.Inf(1)
	}
	return r.Loss * math.Pow(c.Reference()/cost, -costExponent)
}

// eligible reports whether the result can be a parent's.
func (r Result) eligible() bool {
	return r.Failed == "" && !r.Stopped && finite(r.Loss) && r.Loss >= 0
}

// Checked returns the result in the form that JSON and selection need: one
// without a finite loss has failed, and Losses end before the first that is
// no finite number.
func (r Result) Checked() Result {
	for i, loss := range r.Losses {
		if !finite(loss) {
			r.Losses = r.Losses[:i:i]
			break
		}
	}
	if !finite(r.Loss) || r.Loss < 0 {
		if r.Failed == "" {
			r.Failed = fmt.Sprintf("the validation loss is %v", r.Loss)
		}
		r.Loss = 0
	}
	for _, v := range []*float64{&r.Latency, &r.Seconds} {
		if !finite(*v) {
			*v = 0
		}
	}
	if r.Failed != "" {
		r.Weights = ""
	}
	return r
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
