package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/experiments/internal/stats"
)

// Each network is run this often in each of so many rounds, so that what else
// the machine does meets all of them alike.
const (
	latencyRounds = 4
	latencyRuns   = 8
)

// latencies returns the seconds of processor time that a crop takes in the
// serving runtime on one thread, by network: the shortest of all runs but the
// first of a round. On an idle machine that is the latency; on a busy one the
// latency would tell of the others. The weights are initial ones, which take as
// long as any. agreement is the rank correlation of what every other round
// found with what the rest did.
func latencies(ctx context.Context, networks []*model.Network) (all []float64, agreement float64, err error) {
	var halves [2][]float64
	for round := range latencyRounds {
		half := &halves[round%2]
		for i, n := range networks {
			if ctx.Err() != nil {
				return nil, 0, context.Cause(ctx)
			}
			fmt.Fprintf(os.Stderr, "\rlatency: round %d of %d, network %d of %d ", round+1, latencyRounds, i+1, len(networks))
			took, err := latency(n)
			if err != nil {
				return nil, 0, err
			}
			if i == len(*half) {
				*half = append(*half, took)
			}
			(*half)[i] = min((*half)[i], took)
		}
	}
	fmt.Fprintln(os.Stderr)
	for i := range networks {
		all = append(all, min(halves[0][i], halves[1][i]))
	}
	return all, stats.Spearman(halves[0], halves[1]), nil
}

// latency runs a network on a crop.
func latency(n *model.Network) (shortest float64, err error) {
	card := model.Card{Name: "latency", Genotype: n.Genotype, Input: n.Input, Heatmap: n.Heatmap}
	file, err := onnx.Export(n, model.InitialWeights(n, 1), card, false)
	if err != nil {
		return 0, err
	}
	s, err := ort.Open(file, card, ort.Options{Provider: ort.CPU, Threads: 1, MaxBatch: 1})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	crop, heatmaps := make([]float32, 3*n.Input.Area()), make([]float32, model.Keypoints*n.Heatmap.Area())
	runtime.LockOSThread() // the runtime's only thread is the caller's
	defer runtime.UnlockOSThread()
	for i := range latencyRuns {
		began := threadTime()
		if err := s.Run(crop, heatmaps); err != nil {
			return 0, err
		}
		if took := (threadTime() - began).Seconds(); i == 1 || i > 1 && took < shortest {
			shortest = took
		}
	}
	return shortest, nil
}

// randomSteps is how many mutations a random genotype is from the default one.
const randomSteps = 30

// randomGenotypes wander from the default genotype through the whole space.
func randomGenotypes(n int) []model.Genotype {
	rng := rand.New(rand.NewPCG(1, 4))
	var list []model.Genotype
	for range n {
		g := model.GenotypeDefault
		for range randomSteps {
			g = search.Mutate(g, func(model.Genotype) bool { return false }, rng)
		}
		list = append(list, g)
	}
	return list
}
