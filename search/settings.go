package search

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/evopose/evopose/model"
)

// Selection is how parents are chosen.
type Selection string

// The ways to choose parents. The paper's is SelectFitness.
const (
	SelectFitness Selection = "fitness" // the lowest Fitness
	SelectPareto  Selection = "pareto"  // loss and cost as two objectives, ParetoOrder
)

// Settings say what is searched and how. Two searches with the same settings
// and the same evaluations are the same search.
type Settings struct {
	Seed uint64 `json:"seed"`
	// Ancestor is the genotype of generation 0.
	Ancestor model.Genotype `json:"ancestor"`
	// Native is the size that widths and depths are scaled for, and of the
	// costs; Size that of the crops to train on.
	Native model.Size `json:"native"`
	Size   model.Size `json:"size"`
	// Generations after generation 0. It may grow when a search goes on.
	Generations int `json:"generations"`
	// Children is the paper's lambda, the evaluations of a generation; Parents
	// its mu.
	Children int `json:"children"`
	Parents  int `json:"parents"`
	// AncestorEpochs is how long the ancestor is trained, Epochs how long each
	// child is.
	AncestorEpochs int `json:"ancestor_epochs"`
	Epochs         int `json:"epochs"`
	// From is the hex SHA-256 of the weights that the ancestor starts from,
	// which the engine has; empty: initial ones.
	From string `json:"from,omitempty"`
	// FromScratch leaves weight transfer to children out.
	FromScratch bool      `json:"from_scratch,omitempty"`
	Cost        Cost      `json:"cost"`
	Selection   Selection `json:"selection"`
	// StopFactor ends a child early whose loss after an epoch is more than
	// this many times the median of its generation's parents after theirs; 0:
	// none is. The ancestor, trained for another time, is left out.
	StopFactor float64 `json:"stop_factor,omitempty"`
	// Window, if it is not 0, drops the barrier between generations (a steady
	// state): child i is made as soon as all results up to i-Window are there,
	// and knows no other ones. So the search does not depend on the order in
	// which results arrive, and up to Window evaluations run at a time.
	Window int `json:"window,omitempty"`
}

// Validate names the first value that cannot be.
func (s *Settings) Validate() error {
	switch {
	case s.Generations < 0:
		return fmt.Errorf("generations %d: want 0 or more", s.Generations)
	case s.Children < 1:
		return fmt.Errorf("children %d: want 1 or more", s.Children)
	case s.Parents < 1 || s.Parents > s.Children:
		return fmt.Errorf("parents %d: want 1 up to the number of children, %d", s.Parents, s.Children)
	case s.AncestorEpochs < 1:
		return fmt.Errorf("epochs of generation 0 %d: want 1 or more", s.AncestorEpochs)
	case s.Epochs < 1:
		return fmt.Errorf("epochs %d: want 1 or more", s.Epochs)
	case s.StopFactor != 0 && !(s.StopFactor >= 1 && finite(s.StopFactor)):
		return fmt.Errorf("stop factor %v: want 0 (none) or 1 and more", s.StopFactor)
	case s.Window < 0:
		return fmt.Errorf("window %d: want 0 (generations) or more", s.Window)
	case s.Selection != SelectFitness && s.Selection != SelectPareto:
		return fmt.Errorf("selection %q: want %s or %s", s.Selection, SelectFitness, SelectPareto)
	}
	if _, err := ParseCost(string(s.Cost)); err != nil {
		return fmt.Errorf("cost %w", err)
	}
	return s.checkSizes()
}

// checkSizes refuses sizes that not every genotype of the space fits.
func (s *Settings) checkSizes() error {
	if err := s.Ancestor.Validate(); err != nil {
		return fmt.Errorf("ancestor: %w", err)
	}
	// The default genotype has the space's largest stride.
	for _, size := range []model.Size{s.Size, s.Native} {
		if _, err := model.NewScaledNetwork(model.GenotypeDefault, s.Native, size); err != nil {
			return err
		}
	}
	return nil
}

// Total is the number of evaluations of the whole search.
func (s *Settings) Total() int { return 1 + s.Generations*s.Children }

// Generation returns the generation of an ID; in a steady state that to which
// it would belong.
func (s *Settings) Generation(id int) int { return (id + s.Children - 1) / s.Children }

// visible is the last ID whose result the making of child id may depend on.
func (s *Settings) visible(id int) int {
	if s.Window > 0 {
		return max(0, id-s.Window)
	}
	return max(0, (s.Generation(id)-1)*s.Children)
}

// random returns the generator of an evaluation.
func (s *Settings) random(id int) *rand.Rand { return rand.New(rand.NewPCG(s.Seed, uint64(id))) }

// ancestor is the job of generation 0.
func (s *Settings) ancestor() Job {
	return Job{ID: 0, Parent: -1, Genotype: s.Ancestor, Seed: s.random(0).Uint64(), Epochs: s.AncestorEpochs, ParentWeights: s.From}
}

// child makes the job of a child, given the best of the entries that it may
// depend on, at least one. seen are the genotypes of all jobs before it.
func (s *Settings) child(id int, parents []Entry, seen map[model.Genotype]bool) Job {
	parent, rng := s.parentOf(id, parents), s.random(id)
	j := Job{ID: id, Generation: s.Generation(id), Parent: parent.Job.ID, Seed: rng.Uint64(), Epochs: s.Epochs}
	j.Genotype = Mutate(parent.Job.Genotype, func(g model.Genotype) bool { return seen[g] }, rng)
	for _, m := range Mutations(parent.Job.Genotype, j.Genotype) {
		j.Mutations = append(j.Mutations, m.String())
	}
	if !s.FromScratch {
		j.ParentWeights = parent.Result.Weights
	}
	j.StopAbove = s.bounds(parents)
	return j
}

// parentOf gives each parent its equal share of the children of a generation,
// the best parent the first of them.
func (s *Settings) parentOf(id int, parents []Entry) Entry {
	if s.Window > 0 {
		return parents[id%len(parents)]
	}
	return parents[(id-1)%s.Children*len(parents)/s.Children]
}

// Best returns up to Parents entries that may be parents, the best first. Ties
// go to the earlier ID.
func (s *Settings) Best(entries []Entry) []Entry {
	ranked := s.Rank(entries)
	return ranked[:min(len(ranked), s.Parents)]
}

// Rank returns the entries that may be parents, the best first.
func (s *Settings) Rank(entries []Entry) []Entry {
	var able []Entry
	for _, e := range entries {
		if finite(Fitness(s.Cost, e.Result)) {
			able = append(able, e)
		}
	}
	slices.SortFunc(able, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(Fitness(s.Cost, a.Result), Fitness(s.Cost, b.Result)), cmp.Compare(a.Job.ID, b.Job.ID))
	})
	if s.Selection != SelectPareto {
		return able
	}
	points := make([]Point, len(able))
	for i, e := range able {
		points[i] = Point{e.Result.Loss, s.Cost.Of(e.Result)}
	}
	ranked := make([]Entry, len(able))
	for k, i := range ParetoOrder(points) {
		ranked[k] = able[i]
	}
	return ranked
}

// bounds returns, for each epoch but the last, the loss above which a child is
// hopeless.
func (s *Settings) bounds(parents []Entry) []float64 {
	if s.StopFactor == 0 {
		return nil
	}
	var bounds []float64
	for epoch := range s.Epochs - 1 {
		var losses []float64
		for _, p := range parents {
			if p.Job.ID != 0 && epoch < len(p.Result.Losses) {
				losses = append(losses, p.Result.Losses[epoch])
			}
		}
		if len(losses) == 0 {
			return bounds
		}
		bounds = append(bounds, s.StopFactor*median(losses))
	}
	return bounds
}

// median sorts values, of which there is at least one.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// Hopeless reports whether an evaluation is to end after an epoch, counted from
// 1, with a loss.
func (j *Job) Hopeless(epoch int, loss float64) bool {
	if epoch > len(j.StopAbove) || epoch >= j.Epochs {
		return false
	}
	bound := j.StopAbove[epoch-1]
	return bound > 0 && !(loss <= bound)
}
