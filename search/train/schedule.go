package train

import "math"

// Schedule is the learning rate over a run: a linear warm-up, then a cosine to
// zero.
type Schedule struct {
	Rate        float64 // at the end of the warm-up
	WarmupFrom  float64 // the fraction of Rate at step 0
	WarmupSteps int     // how many steps the warm-up takes; may be 0
	Steps       int     // of the whole run
}

// At returns the learning rate of a step, counted from 0. From step Steps on it
// is 0.
func (s Schedule) At(step int) float64 {
	switch {
	case step >= s.Steps:
		return 0
	case step < s.WarmupSteps:
		done := float64(step) / float64(s.WarmupSteps)
		return s.Rate * (s.WarmupFrom + (1-s.WarmupFrom)*done)
	}
	done := float64(step-s.WarmupSteps) / float64(s.Steps-s.WarmupSteps)
	return s.Rate * (1 + math.Cos(math.Pi*done)) / 2
}

// The recipe's learning rate.
const (
	recipeRate    = 2.5e-4
	recipeBatch   = 32
	warmupEpochs  = 5
	warmupPortion = 4 // at most one fourth of the steps
)

// Recipe returns the schedule of the paper's recipe: 2.5e-4*batch/32, reached
// from 32/batch of it over the first five epochs. It departs from it for small
// runs only: a batch under 32 starts at its own rate, not above it, and the
// warm-up of a short run takes a quarter of it.
func Recipe(batch, stepsPerEpoch, epochs int) Schedule {
	steps := stepsPerEpoch * epochs
	return Schedule{
		Rate:        recipeRate * float64(batch) / recipeBatch,
		WarmupFrom:  min(1, recipeBatch/float64(batch)),
		WarmupSteps: min(warmupEpochs*stepsPerEpoch, steps/warmupPortion),
		Steps:       steps,
	}
}
