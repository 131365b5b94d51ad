package coco

import (
	"math"
	"slices"
	"testing"

	"github.com/evopose/evopose/preprocess"
)

// people returns a data set of n persons with a keypoint, none with a picture.
func people(n int) *Dataset {
	d := &Dataset{Images: []Image{{ID: 1}}}
	for i := range n {
		a := Annotation{ID: int64(i), ImageID: 1, Box: preprocess.Box{W: 10, H: 10}}
		a.Keypoints[0].V = 2
		d.Annotations = append(d.Annotations, a)
	}
	return d
}

func mustSampler(t *testing.T, seed uint64, sets ...Set) *sampler {
	t.Helper()
	s, err := newSampler(sets, 0, seed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// counts returns how often each person of d is in the samples.
func counts(d *Dataset, all []sample) []int {
	n := make([]int, len(d.Annotations))
	for _, s := range all {
		if s.data == d {
			n[s.annotation]++
		}
	}
	return n
}

func TestSamplesLeavesOut(t *testing.T) {
	d := people(6)
	d.Images = []Image{{ID: 5}, {ID: 1}}
	d.Annotations[0].Crowd = true
	d.Annotations[1].Keypoints[0].V = 0
	d.Annotations[2].Box.W = 0
	d.Annotations[3].Box.H = 0.5
	d.Annotations[4].Keypoints[0].V = 1
	want := []sample{{d, 1, 4}, {d, 1, 5}}
	if got := d.samples(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if n := d.Unusable(); n != 2 {
		t.Errorf("%d unusable, want 2", n)
	}
}

// TestOrderOnePass checks that with weight 1 each sample comes once an epoch,
// in another order.
func TestOrderOnePass(t *testing.T) {
	a, b := people(30), people(17)
	s := mustSampler(t, 1, Set{a, 1}, Set{b, 1})
	for epoch := range 3 {
		order := s.order(epoch)
		for _, n := range slices.Concat(counts(a, order), counts(b, order)) {
			if n != 1 {
				t.Fatalf("epoch %d has a sample %d times", epoch, n)
			}
		}
	}
	if slices.Equal(s.order(0), s.order(1)) {
		t.Error("two epochs have the same order")
	}
	if slices.Equal(s.order(0), mustSampler(t, 2, Set{a, 1}, Set{b, 1}).order(0)) {
		t.Error("two seeds give the same order")
	}
	if !slices.Equal(s.order(2), mustSampler(t, 1, Set{a, 1}, Set{b, 1}).order(2)) {
		t.Error("the order is not a function of seed and epoch")
	}
}

// TestOrderMixes checks that the sets are shuffled together: their mean place
// is the middle, within four standard deviations.
func TestOrderMixes(t *testing.T) {
	a, b := people(1000), people(1000)
	sum := 0.0
	for i, s := range mustSampler(t, 3, Set{a, 1}, Set{b, 1}).order(0) {
		if s.data == a {
			sum += float64(i)
		}
	}
	const deviation = 2000 / 3.4641 / 44.7 // uniform, of the mean of 2000/2 draws without replacement
	if mean := sum / 1000; math.Abs(mean-999.5) > 4*deviation {
		t.Errorf("mean place %v of 0..1999", mean)
	}
}

// TestOrderWeights checks shares, and that sets are dealt evenly over epochs.
func TestOrderWeights(t *testing.T) {
	a, b := people(30), people(10)
	s := mustSampler(t, 1, Set{a, 1}, Set{b, 3})
	// 30*1 : 10*3, of 40
	if want := []int{20, 20}; !slices.Equal(s.quotas, want) {
		t.Fatalf("quotas %v, want %v", s.quotas, want)
	}
	order := s.order(4)
	if n := counts(b, order); slices.Min(n) != 2 || slices.Max(n) != 2 {
		t.Errorf("b is seen %v times, want 2", n)
	}
	var three []sample
	for epoch := range 3 {
		if n := counts(a, s.order(epoch)); slices.Max(n) > 2 {
			t.Errorf("epoch %d sees a sample of a %d times", epoch, slices.Max(n))
		}
		three = append(three, s.order(epoch)...)
	}
	if n := counts(a, three); slices.Min(n) != 2 || slices.Max(n) != 2 {
		t.Errorf("in three epochs a is seen %v times, want 2", n)
	}
}

// Short epochs deal the same rows in smaller portions.
func TestOrderOfShortEpochs(t *testing.T) {
	a, b := people(30), people(10)
	s, err := newSampler([]Set{{a, 1}, {b, 3}}, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	if s.total != 10 || s.all != 40 || !slices.Equal(s.quotas, []int{5, 5}) {
		t.Fatalf("%d of %d samples, %v", s.total, s.all, s.quotas)
	}
	var all []sample
	for epoch := range 6 {
		order := s.order(epoch)
		if len(order) != 10 {
			t.Fatalf("epoch %d has %d samples", epoch, len(order))
		}
		all = append(all, order...)
	}
	if n := counts(a, all); slices.Min(n) != 1 || slices.Max(n) != 1 {
		t.Errorf("in six epochs a is seen %v times, want 1", n)
	}
	if n := counts(b, all); slices.Min(n) != 3 || slices.Max(n) != 3 {
		t.Errorf("in six epochs b is seen %v times, want 3", n)
	}
}

func TestApportion(t *testing.T) {
	for _, tt := range []struct {
		total   int
		weights []float64
		want    []int
	}{
		{10, []float64{1}, []int{10}},
		{10, []float64{1, 1, 1}, []int{4, 3, 3}},
		{7, []float64{1e-9, 1}, []int{0, 7}},
		{100, []float64{1, 2.5, 6.5}, []int{10, 25, 65}},
		{5, []float64{0.3, 0.3, 0.4}, []int{2, 1, 2}},
		{3, []float64{1e300, 1e300, 1e300}, []int{1, 1, 1}},
	} {
		if got := apportion(tt.total, tt.weights); !slices.Equal(got, tt.want) {
			t.Errorf("%d by %v: %v, want %v", tt.total, tt.weights, got, tt.want)
		}
	}
}

// TestStreamSeed checks that neighbouring keys have no seed in common.
func TestStreamSeed(t *testing.T) {
	seen := map[uint64]bool{}
	for seed := range uint64(20) {
		for epoch := range uint64(20) {
			for position := range uint64(50) {
				h, _ := streamSeed(seed, augmentation, epoch, position)
				if seen[h] {
					t.Fatalf("%d, %d, %d has the seed of another", seed, epoch, position)
				}
				seen[h] = true
			}
		}
	}
}
