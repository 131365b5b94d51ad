package coco

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Set is a data set in a mixture. Its share of an epoch is proportional to
// Weight times its number of samples; Weight must be above 0, and 1 for every
// set gives each sample once an epoch of as many as there are.
type Set struct {
	Data   *Dataset
	Weight float64
}

// sample is a person to train on: places in data.Images and data.Annotations.
type sample struct {
	data              *Dataset
	image, annotation int
}

// trainable reports whether a crop of the person can be made and teaches
// something: not a crowd, at least one labelled keypoint, a box of at least a
// pixel.
func trainable(a *Annotation) bool {
	return !a.Crowd && a.Labelled() > 0 && a.Box.W >= 1 && a.Box.H >= 1
}

// Unusable returns how many persons with labelled keypoints are left out of
// training because their box is smaller than a pixel.
func (d *Dataset) Unusable() int {
	n := 0
	for i := range d.Annotations {
		a := &d.Annotations[i]
		if !a.Crowd && a.Labelled() > 0 && !trainable(a) {
			n++
		}
	}
	return n
}

// samples returns the persons to train on, in the file's order.
func (d *Dataset) samples() (all []sample) {
	byID := d.ImagesByID()
	for i := range d.Annotations {
		if a := &d.Annotations[i]; trainable(a) {
			all = append(all, sample{data: d, image: byID[a.ImageID], annotation: i})
		}
	}
	return all
}

// sampler orders the samples of a mixture of sets. Its orders are functions of
// seed and epoch alone, so that a resumed run goes on as it would have.
type sampler struct {
	seed   uint64
	sets   [][]sample
	quotas []int // samples of each set in an epoch
	total  int   // their sum
	all    int   // samples of all sets
}

// newSampler orders total samples an epoch, 0: as many as the sets have. It
// reports a mixture that gives no samples.
func newSampler(sets []Set, total int, seed uint64) (*sampler, error) {
	if len(sets) == 0 {
		return nil, errors.New("no data sets to train on")
	}
	s := &sampler{seed: seed, total: total}
	weights := make([]float64, len(sets))
	for i, set := range sets {
		if !(set.Weight > 0) || math.IsInf(set.Weight, 0) {
			return nil, fmt.Errorf("%s: weight %v: must be above 0", set.Data.Path, set.Weight)
		}
		all := set.Data.samples()
		if len(all) == 0 {
			return nil, fmt.Errorf("%s: no person has a labelled keypoint and a box of at least a pixel", set.Data.Path)
		}
		s.sets = append(s.sets, all)
		s.all += len(all)
		weights[i] = set.Weight * float64(len(all))
	}
	if s.total == 0 {
		s.total = s.all
	}
	s.quotas = apportion(s.total, weights)
	return s, nil
}

// apportion splits total in proportion to the weights, by largest remainder;
// of equal remainders the first gains.
func apportion(total int, weights []float64) []int {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	parts, left := make([]int, len(weights)), total
	remainder, order := make([]float64, len(weights)), make([]int, len(weights))
	for i, w := range weights {
		// A sum of products may round above the total.
		exact := w / sum * float64(total)
		parts[i] = min(int(exact), left)
		left -= parts[i]
		remainder[i], order[i] = exact-float64(parts[i]), i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(remainder[b], remainder[a]) })
	for i := range left {
		parts[order[i%len(order)]]++
	}
	return parts
}

// order returns an epoch's samples. Each set is dealt from an endless row of
// its permutations, so that a set of weight 1/2 is seen once in two epochs and
// one of weight 2 twice in each; then all are shuffled.
func (s *sampler) order(epoch int) []sample {
	all := make([]sample, 0, s.total)
	for i, set := range s.sets {
		from := epoch * s.quotas[i]
		var permutation []int
		for n := from; n < from+s.quotas[i]; n++ {
			if n == from || n%len(set) == 0 {
				permutation = s.random(orderOfSet, uint64(i), uint64(n/len(set))).Perm(len(set))
			}
			all = append(all, set[permutation[n%len(set)]])
		}
	}
	s.random(orderOfEpoch, uint64(epoch)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// What a stream of random numbers is for: streams never share their seed.
const (
	orderOfSet = iota + 1
	orderOfEpoch
	augmentation
)

// random returns the random numbers of a purpose and place.
func (s *sampler) random(key ...uint64) *rand.Rand {
	return rand.New(rand.NewPCG(streamSeed(s.seed, key...)))
}

// streamSeed hashes seed and key, so that neighbouring keys give unrelated
// streams.
func streamSeed(seed uint64, key ...uint64) (uint64, uint64) {
	h := mix64(seed)
	for _, k := range key {
		h = mix64(h ^ k)
	}
	return h, mix64(h)
}

// mix64 is the step of Steele, Lea and Flood's SplitMix64 generator (OOPSLA
// 2014): a bijection that changes about half of the bits for one bit changed.
func mix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
