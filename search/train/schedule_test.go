package train

import (
	"math"
	"testing"
)

// By hand: a rate of 4e-3 = 2.5e-4*512/32 warms up from 1/16 of it, 2.5e-4, by
// 3.75e-3/500 a step; then cos(0), cos(pi/3) = 1/2, cos(pi/2) = 0,
// cos(2 pi/3) = -1/2 and cos(pi) = -1 at 0, 1/3, 1/2, 2/3 and 1 of the way.
func TestScheduleByHand(t *testing.T) {
	s := Schedule{Rate: 4e-3, WarmupFrom: 1.0 / 16, WarmupSteps: 500, Steps: 20000}
	flat := Schedule{Rate: 1e-3, Steps: 12}
	for _, tt := range []struct {
		s    Schedule
		step int
		want float64
	}{
		{s, 0, 2.5e-4},
		{s, 1, 2.575e-4},
		{s, 100, 1e-3},
		{s, 499, 3.9925e-3},
		{s, 500, 4e-3},
		{s, 7000, 3e-3},
		{s, 10250, 2e-3},
		{s, 13500, 1e-3},
		{s, 20000, 0},
		{s, 30000, 0},
		{flat, 0, 1e-3},
		{flat, 4, 7.5e-4},
		{flat, 6, 5e-4},
		{flat, 8, 2.5e-4},
		{flat, 10, 6.698729810778065e-05}, // (1 - sqrt(3)/2)/2 * 1e-3
		{flat, 12, 0},
		{Schedule{Rate: 1, WarmupFrom: 0, WarmupSteps: 4, Steps: 8}, 0, 0},
		{Schedule{Rate: 1, WarmupFrom: 0, WarmupSteps: 4, Steps: 8}, 3, 0.75},
		{Schedule{Rate: 1, WarmupFrom: 0.5, WarmupSteps: 4, Steps: 4}, 3, 0.875},
		{Schedule{Rate: 1, WarmupFrom: 0.5, WarmupSteps: 4, Steps: 4}, 4, 0},
		{Schedule{}, 0, 0},
	} {
		if got := tt.s.At(tt.step); math.Abs(got-tt.want) > 1e-15 {
			t.Errorf("%+v at %d: %v, want %v", tt.s, tt.step, got, tt.want)
		}
	}
}

func TestRecipe(t *testing.T) {
	for _, tt := range []struct {
		batch, stepsPerEpoch, epochs int
		want                         Schedule
	}{
		{512, 100, 200, Schedule{Rate: 4e-3, WarmupFrom: 0.0625, WarmupSteps: 500, Steps: 20000}},
		{128, 10, 20, Schedule{Rate: 1e-3, WarmupFrom: 0.25, WarmupSteps: 50, Steps: 200}},
		{32, 10, 100, Schedule{Rate: 2.5e-4, WarmupFrom: 1, WarmupSteps: 50, Steps: 1000}},
		{16, 10, 100, Schedule{Rate: 1.25e-4, WarmupFrom: 1, WarmupSteps: 50, Steps: 1000}},
		{64, 10, 5, Schedule{Rate: 5e-4, WarmupFrom: 0.5, WarmupSteps: 12, Steps: 50}},
		{64, 3, 1, Schedule{Rate: 5e-4, WarmupFrom: 0.5, WarmupSteps: 0, Steps: 3}},
	} {
		if got := Recipe(tt.batch, tt.stepsPerEpoch, tt.epochs); got != tt.want {
			t.Errorf("batch %d, %d steps, %d epochs: %+v, want %+v", tt.batch, tt.stepsPerEpoch, tt.epochs, got, tt.want)
		}
	}
}

// Whatever the run, the rate rises to its peak at the end of the warm-up, falls
// from there on, and stays positive until the end.
func TestScheduleShape(t *testing.T) {
	for _, batch := range []int{8, 32, 48, 256} {
		for _, epochs := range []int{1, 3, 30} {
			s := Recipe(batch, 17, epochs)
			for step := 1; step < s.Steps; step++ {
				before, now := s.At(step-1), s.At(step)
				if rising := step <= s.WarmupSteps; rising && now < before || !rising && now >= before {
					t.Fatalf("%+v: %v then %v at step %d", s, before, now, step)
				}
				if now <= 0 || now > s.Rate {
					t.Fatalf("%+v: %v at step %d", s, now, step)
				}
			}
		}
	}
}
