// Package pairs plans and reads the experiment on weight transfer: a parent,
// and mutants of it that are trained twice, from the parent's weights and from
// initial ones. Its trainings are kept in a search.Journal.
package pairs

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
)

// What a training of a pair is for; a job's ID tells its pair and this. The
// parent's ID is 0.
const (
	Start    = iota // measures the loss right after the transfer
	Transfer        // trains from the parent's weights
	Scratch         // trains from initial weights
	perPair
)

// ID returns the ID of a pair's job; pairs are counted from 1.
func ID(pair, purpose int) int { return (pair-1)*perPair + purpose + 1 }

// Of returns the pair and the purpose of a job other than the parent's.
func Of(id int) (pair, purpose int) { return (id-1)/perPair + 1, (id - 1) % perPair }

// Parent returns the parent's job. Settings.AncestorEpochs is the epochs of
// every training.
func Parent(s search.Settings) search.Job {
	return search.Job{Parent: -1, Genotype: s.Ancestor, Seed: seed(s, 0), Epochs: s.AncestorEpochs, ParentWeights: s.From}
}

// Jobs returns the jobs of as many pairs as Settings.Generations, given the sum
// of the parent's trained weights. The two trainings of a pair have the same
// seed: the same initial values and the same order of data.
func Jobs(s search.Settings, weights string) []search.Job {
	var jobs []search.Job
	for i, g := range mutants(s.Ancestor, s.Generations, rand.New(rand.NewPCG(s.Seed, 1))) {
		job := search.Job{Generation: i + 1, Genotype: g, Seed: seed(s, i+1), Epochs: s.AncestorEpochs}
		for _, m := range search.Mutations(s.Ancestor, g) {
			job.Mutations = append(job.Mutations, m.String())
		}
		for _, purpose := range []int{Transfer, Scratch, Start} { // the longer ones first
			j := job
			j.ID = ID(i+1, purpose)
			if purpose != Scratch {
				j.ParentWeights = weights
			}
			if purpose == Start {
				j.Epochs = 1
			}
			jobs = append(jobs, j)
		}
	}
	return jobs
}

func seed(s search.Settings, pair int) uint64 {
	return rand.New(rand.NewPCG(s.Seed, uint64(pair)<<8)).Uint64()
}

// patience is after how many mutants of other kinds of genes mutants takes one
// of them: the parent may have no more of the kind.
const patience = 1000

// mutants draws different mutants of one gene each, kernel, repeats, filters
// and stride in turn as long as there are such. The first n are the same
// whatever n is.
func mutants(parent model.Genotype, n int, rng *rand.Rand) []model.Genotype {
	var list []model.Genotype
	seen := map[model.Genotype]bool{}
	for i := range n {
		tries := 0
		g := search.Mutate(parent, func(g model.Genotype) bool {
			tries++
			return seen[g] || tries < patience && int(search.Mutations(parent, g)[0].Gene) != i%4
		}, rng)
		seen[g] = true
		list = append(list, g)
	}
	return list
}

// Pair is what came of a pair.
type Pair struct {
	Number int
	Gene   string // what was changed
	// Share is the share of the mutant's values that are the parent's, Start
	// its loss before training; NaN if not measured.
	Share, Start float64
	// Transfer and Scratch are the losses by epoch.
	Transfer, Scratch []float64
	// OtherGrid reports that the mutant's heatmaps have not the size of the
	// parent's, as after a change of stride: their losses do not compare.
	OtherGrid bool
	// Failed says why there is no comparison; empty if there is one.
	Failed string
}

// Kind is the kind of gene that was changed.
func (p Pair) Kind() string { return strings.Fields(p.Gene)[2] }

// Curve returns the losses with transfer from epoch 0 on.
func (p Pair) Curve() []float64 { return append([]float64{p.Start}, p.Transfer...) }

// Experiment is what the journal tells.
type Experiment struct {
	Settings search.Settings
	Parent   []float64 // losses by epoch
	Pairs    []Pair
	Missing  int // pairs whose trainings are not both done
}

// Read reads an experiment from its folder, which may be unfinished.
func Read(dir string) (Experiment, error) {
	header, entries, err := search.ReadJournal(dir)
	if err != nil {
		return Experiment{}, err
	}
	e := Experiment{Settings: header.Settings}
	byID := map[int]search.Entry{}
	for _, entry := range entries {
		byID[entry.Job.ID] = entry
	}
	parent, ok := byID[0]
	if !ok {
		return e, fmt.Errorf("%s: the parent is not trained yet", dir)
	}
	e.Parent = parent.Result.Losses
	for n := 1; n <= header.Settings.Generations || ID(n, 0) <= entries[len(entries)-1].Job.ID; n++ {
		if p, ok := pair(byID, n); ok {
			if p.OtherGrid, err = otherGrid(header.Settings, byID[ID(n, Transfer)].Job.Genotype); err != nil {
				return e, err
			}
			e.Pairs = append(e.Pairs, p)
		} else {
			e.Missing++
		}
	}
	return e, nil
}

func otherGrid(s search.Settings, g model.Genotype) (bool, error) {
	parent, err := model.NewScaledNetwork(s.Ancestor, s.Native, s.Size)
	if err != nil {
		return false, err
	}
	mutant, err := model.NewScaledNetwork(g, s.Native, s.Size)
	return err == nil && mutant.Heatmap != parent.Heatmap, err
}

// pair reads a pair; it is false if a training of it is missing.
func pair(byID map[int]search.Entry, n int) (Pair, bool) {
	transfer, ok := byID[ID(n, Transfer)]
	scratch, found := byID[ID(n, Scratch)]
	if !ok || !found {
		return Pair{}, false
	}
	p := Pair{Number: n, Gene: strings.Join(transfer.Job.Mutations, ", "), Share: share(transfer.Result.Transfer), Start: math.NaN(),
		Transfer: transfer.Result.Losses, Scratch: scratch.Result.Losses}
	if start, ok := byID[ID(n, Start)]; ok && start.Result.Failed == "" {
		p.Start = start.Result.Loss
	}
	for _, r := range []search.Result{transfer.Result, scratch.Result} {
		if r.Failed != "" {
			p.Failed = r.Failed
		}
	}
	return p, true
}

// share reads the share of transferred values from search.Summary's text.
func share(transfer string) float64 {
	_, text, _ := strings.Cut(transfer, "; ")
	var percent float64
	if _, err := fmt.Sscanf(text, "%f", &percent); err != nil {
		return math.NaN()
	}
	return percent / 100
}
