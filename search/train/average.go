package train

import "github.com/evopose/evopose/model"

// average is the exponential moving average of a network's weights (Polyak,
// Juditsky 1992), moving statistics included: what is measured and shipped.
type average struct {
	decay           float64 // 0: none, the average is the weights
	weights, moving []float32
	updates         int
}

// start sets the average to the weights as they are.
func (a *average) start(s state) {
	a.weights = append(a.weights[:0], s.weights...)
	a.moving = append(a.moving[:0], s.moving...)
}

// update moves the average towards the weights:
//
//	average = d average + (1-d) weights, d = min(decay, (1+n)/(10+n))
//
// in update n from 1. So the first updates move it further, as the weights
// move fast then.
func (a *average) update(s state) {
	a.updates++
	if a.decay == 0 {
		a.start(s)
		return
	}
	n := float64(a.updates)
	share := float32(1 - min(a.decay, (1+n)/(10+n)))
	towards(a.weights, s.weights, share)
	towards(a.moving, s.moving, share)
}

// towards moves each value of a by a share of the way to b's.
func towards(a, b []float32, share float32) {
	parallel(len(a), func(from, to int) {
		a, b := a[from:to], b[from:to]
		for i := range a {
			a[i] += share * (b[i] - a[i])
		}
	})
}

// asWeights returns a copy of the average.
func (a *average) asWeights(l *layout) model.Weights {
	w := model.Weights{}
	l.trainable.unpack(w, a.weights)
	l.moving.unpack(w, a.moving)
	return w
}
