package report

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
)

func settings(generations, children int) search.Settings {
	size := model.Size{H: 256, W: 192}
	return search.Settings{Seed: 7, Ancestor: model.GenotypeDefault, Native: size, Size: size, Generations: generations, Children: children, Parents: min(4, children),
		AncestorEpochs: 30, Epochs: 5, Cost: search.CostParameters, Selection: search.SelectFitness}
}

// fake carries a search out whose losses are made up: larger networks have lower
// ones, a network that is like its trained parent too. Some fail, are stopped or
// diverge.
func fake(s search.Settings) []search.Entry {
	rng := rand.New(rand.NewPCG(s.Seed, 1))
	seen := map[model.Genotype]bool{}
	entries := []search.Entry{evaluated(s, search.Job{Parent: -1, Genotype: s.Ancestor, Epochs: s.AncestorEpochs, Seed: 1}, 0, rng)}
	var parents []search.Entry
	for id := 1; id < s.Total(); id++ {
		g := s.Generation(id)
		if s.Window > 0 {
			parents = s.Best(entries[:max(1, id-s.Window+1)])
		} else if (id-1)%s.Children == 0 {
			parents = s.Best(entries)
		}
		parent := parents[id%len(parents)]
		j := search.Job{ID: id, Generation: g, Parent: parent.Job.ID, Epochs: s.Epochs, Seed: uint64(id)}
		j.Genotype = search.Mutate(parent.Job.Genotype, func(g model.Genotype) bool { return seen[g] }, rng)
		seen[j.Genotype] = true
		for _, m := range search.Mutations(parent.Job.Genotype, j.Genotype) {
			j.Mutations = append(j.Mutations, m.String())
		}
		entries = append(entries, evaluated(s, j, g, rng))
	}
	return entries
}

// costs are about those of the genotype's network, which takes longer to build.
func costs(g model.Genotype) (parameters, multiplyAdds int64) {
	in, area := int64(32), int64(256*192/4)
	for i, s := range g {
		out := int64(8 * s.Filters)
		for n := range s.Repeats {
			if n == 0 {
				area /= int64(s.Stride * s.Stride)
			}
			wide := in * int64(model.Expand[i])
			weights := wide * (in + int64(s.Kernel*s.Kernel) + out)
			parameters, multiplyAdds, in = parameters+weights+wide*in/2, multiplyAdds+weights*area, out
		}
	}
	head := 9 * 128 * (in + 256)
	return parameters + head, multiplyAdds + head*area*7
}

func evaluated(s search.Settings, j search.Job, generation int, rng *rand.Rand) search.Entry {
	r := search.Result{ID: j.ID, Seconds: 400 + 300*rng.Float64(), Worker: fmt.Sprintf("worker-%d", rng.IntN(16)+1)}
	r.Parameters, r.MultiplyAdds = costs(j.Genotype)
	if s.Cost == search.CostLatency {
		r.Latency = 0.012 + 0.02*float64(r.MultiplyAdds)/1e9 + 0.002*rng.Float64()
	}
	p, m := float64(r.Parameters)/5e6, float64(r.MultiplyAdds)/1e9
	r.Loss = (100 + 12*math.Pow(p, -0.4) + 20*math.Pow(m, -0.4)) * (1 + 0.015*rng.NormFloat64()) * (0.85 + 0.3*math.Exp(-float64(generation)/4))
	for epoch := range j.Epochs {
		r.Losses = append(r.Losses, r.Loss*(1+0.4*math.Exp(-float64(epoch)))/(1+0.4*math.Exp(-float64(j.Epochs-1))))
	}
	if j.ID > 0 {
		r.Transfer = "292 tensors: 286 copied, 6 partial, 0 extended, 0 initial; 98.7 % of the values are the parent's"
		spoil(&r, rng.IntN(100))
	}
	return search.Entry{Job: j, Result: r}
}

// spoil makes of every hundred evaluations two failed, three stopped and one
// diverged.
func spoil(r *search.Result, chance int) {
	switch {
	case chance < 2:
		r.Failed, r.Loss, r.Losses = "worker-3: signal: killed (out of memory?)", 0, r.Losses[:0]
	case chance < 5 && len(r.Losses) > 2:
		r.Losses = r.Losses[:2]
		r.Losses[0], r.Losses[1] = 1.5*r.Losses[0], 1.5*r.Losses[1]
		r.Loss, r.Stopped = r.Losses[1], true
	case chance < 6:
		for i := range r.Losses {
			r.Losses[i] *= 9
		}
		r.Loss *= 9
	}
}

func header(s search.Settings) search.Header {
	return search.Header{Settings: s, Evaluation: map[string]string{"batch": "16", "data 1": search.SumOf([]byte("labels")), "l2": "1e-05", "rate": "0.001"},
		Command: "evopose search --data train.json --images train --val val.json --val-images val --out runs/search"}
}
