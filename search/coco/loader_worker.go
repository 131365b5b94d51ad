package coco

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/evopose/evopose/model"
)

// worker prepares batches; its source of random numbers is seeded anew for
// every sample.
type worker struct {
	*Loader
	source *rand.PCG
	rng    *rand.Rand
}

func newWorker(l *Loader) *worker {
	source := rand.NewPCG(0, 0)
	return &worker{Loader: l, source: source, rng: rand.New(source)}
}

// fill prepares the job's batch.
func (w *worker) fill(ctx context.Context, j *job) error {
	b := j.batch
	b.Epoch, b.Step = j.epoch, j.step
	crop, points := 3*w.o.Input.Area(), 3*model.Keypoints
	for i := range b.N {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		position := j.step*b.N + i
		s, levels, err := w.good(j.order, position)
		if err != nil {
			return err
		}
		w.source.Seed(streamSeed(w.o.Seed, augmentation, uint64(j.epoch), uint64(position)))
		w.sample(b.Crops[i*crop:][:crop], b.Keypoints[i*points:][:points], s, levels)
	}
	return nil
}

// sample writes one crop and its keypoints, varied by the worker's random
// numbers.
func (w *worker) sample(crop, points []float32, s sample, levels pyramid) {
	a := &s.data.Annotations[s.annotation]
	v := w.o.Augment.draw(w.rng)
	t := v.warp(a, w.o.Input)
	levels.crop(crop, t)
	v.keypoints(points, a, &t)
	balance(points, w.o.Balance)
	v.finish(crop, w.o.Augment, w.o.Input)
}

// balance makes the weights of a crop's n labelled keypoints (17/n)^power.
func balance(points []float32, power float64) {
	n := 0
	for i := 2; i < len(points); i += 3 {
		if points[i] > 0 {
			n++
		}
	}
	weight := float32(math.Pow(model.Keypoints/float64(max(n, 1)), power))
	for i := 2; i < len(points); i += 3 {
		if points[i] > 0 {
			points[i] = weight
		}
	}
}

// good returns the sample at the position or, if its picture is broken, the
// next that is good, past the end from the start on.
func (w *worker) good(order []sample, position int) (sample, pyramid, error) {
	for i := range order {
		s := order[(position+i)%len(order)]
		levels, err := w.pictures.get(s)
		if err == nil {
			return s, levels, nil
		}
		if err := w.pictures.tooManyBroken(); err != nil {
			return sample{}, nil, err
		}
	}
	return sample{}, nil, fmt.Errorf("none of the %d pictures can be used, for instance: %w",
		w.pictures.total, w.pictures.brokenSoFar()[0])
}
