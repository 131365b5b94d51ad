package coco

import "testing"

// A loader made again is a new one of its seed, and decodes no picture twice.
func TestLoaderAgain(t *testing.T) {
	options := LoaderOptions{Sets: []Set{{pictureSet(t, 1, 9), 1}}, Batch: 3, Seed: 7, Augment: everything}
	first := newTestLoader(t, options)
	again, err := first.Again(8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	options.Seed = 8
	fresh := newTestLoader(t, options)
	for _, l := range []*Loader{first, again, fresh} {
		l.Start(t.Context(), 0, 0) // all at the same time
	}
	same := true
	for i := range 5 {
		a, b, c := next(t, first), next(t, again), next(t, fresh)
		if !sameBatch(b, c) {
			t.Errorf("batch %d is not that of a new loader", i)
		}
		same = same && sameBatch(a, b)
	}
	if same {
		t.Error("the seed makes no difference")
	}
	spoil(t, options.Sets[0].Data, 0, 1, 2, 3)
	third, err := first.Again(9)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(third.Close)
	third.Start(t.Context(), 0, 0)
	for range 3 {
		next(t, third)
	}
	if broken := third.Broken(); broken != nil {
		t.Errorf("pictures were read again: %v", broken)
	}
}
