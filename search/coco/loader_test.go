package coco

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/preprocess"
)

// writePicture writes a PNG.
func writePicture(t testing.TB, path string, img *image.NRGBA) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
}

// pictureSet returns a set of n pictures of noise with a person each, whose
// keypoints are labelled but for the first.
func pictureSet(t testing.TB, seed uint64, n int) *Dataset {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, seed))
	d := &Dataset{Path: fmt.Sprintf("set%d.json", seed), Dir: t.TempDir()}
	for i := range n {
		id := int64(100*seed) + int64(i)
		name := fmt.Sprintf("%d.png", id)
		writePicture(t, filepath.Join(d.Dir, name), noise(rng, 40, 50))
		d.Images = append(d.Images, Image{ID: id, FileName: name, Width: 40, Height: 50})
		a := Annotation{ID: id, ImageID: id, Box: preprocess.Box{X: 5, Y: 5, W: 20, H: 30}}
		for k := 1; k < model.Keypoints; k++ {
			a.Keypoints[k] = Keypoint{X: 5 + 20*rng.Float64(), Y: 5 + 30*rng.Float64(), V: 2}
		}
		d.Annotations = append(d.Annotations, a)
	}
	return d
}

var testInput = model.Size{H: 32, W: 24}

func newTestLoader(t testing.TB, o LoaderOptions) *Loader {
	t.Helper()
	if o.Input.H == 0 {
		o.Input = testInput
	}
	l, err := NewLoader(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// next returns a copy of the next batch and releases it.
func next(t testing.TB, l *Loader) Batch {
	t.Helper()
	b, err := l.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release(b)
	c := *b
	c.Crops, c.Keypoints = slices.Clone(b.Crops), slices.Clone(b.Keypoints)
	return c
}

func sameBatch(a, b Batch) bool {
	return a.Epoch == b.Epoch && a.Step == b.Step && slices.Equal(a.Crops, b.Crops) && slices.Equal(a.Keypoints, b.Keypoints)
}

// everything is an augmentation that uses all fields.
var everything = Augment{
	Scale: 0.3, Rotation: 40, RotationProbability: 0.6, Mirror: 0.5, HalfBody: 0.3, Head: 0.2, Translate: 0.1,
	Brightness: 0.2, Contrast: 0.2, Saturation: 0.2, Erase: 0.3,
}

// TestLoaderDeterministic compares loaders of different workers, caches and
// starting points.
func TestLoaderDeterministic(t *testing.T) {
	defer goleak.VerifyNone(t)
	sets := []Set{{pictureSet(t, 1, 11), 1}, {pictureSet(t, 2, 6), 2}}
	options := LoaderOptions{Sets: sets, Batch: 4, Seed: 7, Augment: everything, Pyramid: true}
	first := newTestLoader(t, options)
	defer first.Close()
	first.Start(t.Context(), 0, 0)
	if first.StepsPerEpoch() != 4 || first.Samples() != 17 {
		t.Fatalf("%d steps, %d samples", first.StepsPerEpoch(), first.Samples())
	}
	var want []Batch
	for i := range 13 {
		b := next(t, first)
		if b.Epoch != i/4 || b.Step != i%4 {
			t.Fatalf("batch %d is step %d of epoch %d", i, b.Step, b.Epoch)
		}
		want = append(want, b)
	}
	options.Workers, options.Ahead, options.CacheBytes = 3, 2, 20000
	second := newTestLoader(t, options)
	defer second.Close()
	for _, start := range []int{0, 5, 11} {
		second.Start(t.Context(), 0, start)
		for i := start; i < len(want); i++ {
			if !sameBatch(next(t, second), want[i]) {
				t.Fatalf("started at %d: batch %d differs", start, i)
			}
		}
	}
	if sameBatch(want[0], want[4]) {
		t.Error("two epochs begin alike")
	}
}

// TestLoaderPlain compares crops without augmentation with serving's.
func TestLoaderPlain(t *testing.T) {
	d := pictureSet(t, 3, 5)
	l := newTestLoader(t, LoaderOptions{Sets: []Set{{d, 1}}, Batch: 5})
	l.Start(t.Context(), 0, 0)
	b := next(t, l)
	n := 3 * testInput.Area()
	want := make([]float32, n)
	for i, s := range l.sampler.order(0) {
		a := d.Annotations[s.annotation]
		fit := preprocess.NewAffine(a.Box, testInput)
		data, err := os.ReadFile(s.path())
		if err != nil {
			t.Fatal(err)
		}
		img, err := preprocess.Decode(data, preprocess.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		preprocess.Crop(want, img, fit)
		if worst := maxDifference(b.Crops[i*n:][:n], want); !(worst <= 1e-5) {
			t.Errorf("crop %d differs by %v", i, worst)
		}
		for k, p := range a.Keypoints {
			u, v := fit.ToInput(p.X, p.Y)
			wantPoint := []float32{float32(u), float32(v), 1}
			if p.V == 0 {
				wantPoint = []float32{0, 0, 0}
			}
			if got := b.Keypoints[(i*model.Keypoints+k)*3:][:3]; maxDifference(got, wantPoint) > 1e-5 {
				t.Errorf("sample %d keypoint %d: %v, want %v", i, k, got, wantPoint)
			}
		}
	}
}

// spoil overwrites the pictures with something else.
func spoil(t *testing.T, d *Dataset, images ...int) {
	t.Helper()
	for _, i := range images {
		if err := os.WriteFile(filepath.Join(d.Dir, d.Images[i].FileName), []byte("no picture"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLoaderReplacesBroken checks that the next good sample takes the place,
// with the place's own variation, and that each picture is reported once.
func TestLoaderReplacesBroken(t *testing.T) {
	d := pictureSet(t, 4, 8)
	spoil(t, d, 2, 5)
	if err := os.Remove(filepath.Join(d.Dir, d.Images[6].FileName)); err != nil {
		t.Fatal(err)
	}
	d.Images[7].Width = 41
	var calls []error
	l := newTestLoader(t, LoaderOptions{Sets: []Set{{d, 1}}, Batch: 8, OnBroken: func(err error) { calls = append(calls, err) }})
	l.Start(t.Context(), 0, 0)
	order := l.sampler.order(0)
	for range 3 {
		b := next(t, l)
		if b.Epoch > 0 {
			continue
		}
		for i := range order {
			j := i
			for slices.Contains([]int{2, 5, 6, 7}, order[j%8].image) {
				j++
			}
			fit := preprocess.NewAffine(d.Annotations[order[j%8].annotation].Box, testInput)
			p := d.Annotations[order[j%8].annotation].Keypoints[3]
			u, v := fit.ToInput(p.X, p.Y)
			if got := b.Keypoints[(i*model.Keypoints+3)*3:][:3]; maxDifference(got, []float32{float32(u), float32(v), 1}) > 1e-5 {
				t.Errorf("place %d holds another sample than %d", i, j%8)
			}
		}
	}
	l.Close()
	if len(calls) != 4 || len(l.Broken()) != 4 {
		t.Fatalf("reported %v and %v, want 4 each", calls, l.Broken())
	}
	text := errors.Join(calls...).Error()
	for _, want := range []string{
		"402.png (annotation 402): not a readable picture", "406.png (annotation 406): no such file",
		"407.png (annotation 407): is 40x50 upright, but set4.json says 41x50",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

func TestLoaderTooManyBroken(t *testing.T) {
	d := pictureSet(t, 5, 30)
	spoil(t, d, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	l := newTestLoader(t, LoaderOptions{Sets: []Set{{d, 1}}, Batch: 30})
	l.Start(t.Context(), 0, 0)
	for range 2 { // for good
		_, err := l.Next(t.Context())
		if err == nil || !strings.Contains(err.Error(), "10 of 30 pictures cannot be used") || strings.Count(err.Error(), ".png") != 3 {
			t.Fatalf("error %v", err)
		}
	}
}

func TestLoaderAllBroken(t *testing.T) {
	d := pictureSet(t, 6, 3)
	spoil(t, d, 0, 1, 2)
	l := newTestLoader(t, LoaderOptions{Sets: []Set{{d, 1}}, Batch: 2})
	l.Start(t.Context(), 0, 0)
	if _, err := l.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "none of the 3 pictures") {
		t.Fatalf("error %v", err)
	}
}

func TestLoaderCancel(t *testing.T) {
	defer goleak.VerifyNone(t)
	l := newTestLoader(t, LoaderOptions{Sets: []Set{{pictureSet(t, 7, 4), 1}}, Batch: 2, Workers: 2})
	defer l.Close()
	if _, err := l.Next(t.Context()); err == nil {
		t.Error("Next before Start gave no error")
	}
	cause := errors.New("the user has had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	l.Start(ctx, 0, 0)
	next(t, l)
	cancel(cause)
	for {
		b, err := l.Next(t.Context())
		if err != nil {
			if !errors.Is(err, cause) {
				t.Errorf("error %v, want %v", err, cause)
			}
			break
		}
		l.Release(b)
	}
	l.Start(t.Context(), 3, 1)
	ended, end := context.WithCancel(t.Context())
	end()
	next(t, l)
	for range 20 { // batches that are ready stay where they are
		if _, err := l.Next(ended); err == nil {
			t.Fatal("a batch although the context has ended")
		}
	}
	l.Close()
	l.Close()
	if _, err := l.Next(t.Context()); err == nil {
		t.Error("Next after Close gave no error")
	}
}

// TestLoaderKeepsBatchOfCancelledNext checks that a Next given up loses
// nothing.
func TestLoaderKeepsBatchOfCancelledNext(t *testing.T) {
	l := newTestLoader(t, LoaderOptions{Sets: []Set{{pictureSet(t, 8, 4), 1}}, Batch: 1})
	l.Start(t.Context(), 0, 0)
	step := 0
	for i := range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*20*time.Microsecond)
		b, err := l.Next(ctx)
		cancel()
		if err == nil {
			if got := b.Epoch*4 + b.Step; got != step {
				t.Fatalf("batch %d, want %d", got, step)
			}
			step++
			l.Release(b)
		}
	}
	if b := next(t, l); b.Epoch*4+b.Step != step {
		t.Errorf("batch %d, want %d", b.Epoch*4+b.Step, step)
	}
}

func TestLoaderOptions(t *testing.T) {
	good := LoaderOptions{Sets: []Set{{pictureSet(t, 9, 4), 1}}, Batch: 2, Input: testInput}
	tests := []struct {
		change func(*LoaderOptions)
		want   string
	}{
		{func(o *LoaderOptions) { o.Sets = nil }, "no data sets"},
		{func(o *LoaderOptions) { o.Sets = []Set{{o.Sets[0].Data, 0}} }, "set9.json: weight 0: must be above 0"},
		{func(o *LoaderOptions) { o.Sets = []Set{{&Dataset{Path: "empty.json"}, 1}} }, "empty.json: no person"},
		{func(o *LoaderOptions) { o.Batch = 0 }, "batch of 0: must be 1 to 4"},
		{func(o *LoaderOptions) { o.Batch = 5 }, "batch of 5: must be 1 to 4"},
		{func(o *LoaderOptions) { o.Input.W = 0 }, "input size 32x0"},
		{func(o *LoaderOptions) { o.Augment.Mirror = 1.5 }, "mirror 1.5: must be 0 to 1"},
	}
	for _, tt := range tests {
		o := good
		tt.change(&o)
		if _, err := NewLoader(o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

// TestLoaderBalance compares the weights of the same batch with and without:
// places stay, and at 1 those of a person sum to 17, however few are labelled.
func TestLoaderBalance(t *testing.T) {
	set := pictureSet(t, 1, 8)
	for i := range set.Annotations {
		for k := i + 2; k < model.Keypoints; k++ {
			set.Annotations[i].Keypoints[k] = Keypoint{}
		}
	}
	load := func(balance float64) []float32 {
		l := newTestLoader(t, LoaderOptions{Sets: []Set{{set, 1}}, Batch: 8, Balance: balance})
		l.Start(t.Context(), 0, 0)
		return next(t, l).Keypoints
	}
	plain := load(0)
	for _, balance := range []float64{0.5, 1} {
		got := load(balance)
		for person := range 8 {
			p, q := plain[person*3*model.Keypoints:][:3*model.Keypoints], got[person*3*model.Keypoints:][:3*model.Keypoints]
			n, sum := 0.0, 0.0
			for k := range model.Keypoints {
				if p[3*k] != q[3*k] || p[3*k+1] != q[3*k+1] || (p[3*k+2] > 0) != (q[3*k+2] > 0) {
					t.Fatalf("keypoint %d is %v, want the place of %v", k, q[3*k:][:3], p[3*k:][:3])
				}
				n, sum = n+float64(p[3*k+2]), sum+float64(q[3*k+2])
			}
			if want := n * math.Pow(17/n, balance); n == 0 || math.Abs(sum-want) > 1e-4 {
				t.Errorf("balance %v: %v keypoints weigh %v, want %v", balance, n, sum, want)
			}
		}
	}
	if _, err := NewLoader(LoaderOptions{Sets: []Set{{set, 1}}, Input: testInput, Batch: 8, Balance: 1.5}); err == nil || !strings.Contains(err.Error(), "balance 1.5: must be 0 to 1") {
		t.Errorf("balance 1.5: %v", err)
	}
}
