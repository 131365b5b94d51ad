package coco

import (
	"image"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/evopose/evopose/preprocess"
)

// TestPicturesBudget checks that pictures are kept within the budget, and that
// those beyond are read anew.
func TestPicturesBudget(t *testing.T) {
	d := pictureSet(t, 21, 3)
	const bytes = 4 * 40 * 50
	p := newPictures(LoaderOptions{CacheBytes: 2*bytes + 100}, 3)
	all := d.samples()
	var first []pyramid
	for _, s := range all {
		levels, err := p.get(s)
		if err != nil {
			t.Fatal(err)
		}
		first = append(first, levels)
	}
	if p.budget != 100 {
		t.Errorf("%d bytes left, want 100", p.budget)
	}
	for i, s := range all {
		levels, err := p.get(s)
		if err != nil {
			t.Fatal(err)
		}
		if kept := levels[0] == first[i][0]; kept != (i < 2) {
			t.Errorf("picture %d: kept is %v", i, kept)
		}
	}
	if err := os.RemoveAll(d.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := p.get(all[1]); err != nil {
		t.Errorf("a kept picture was read again: %v", err)
	}
	if _, err := p.get(all[2]); err == nil {
		t.Error("a picture beyond the budget was kept")
	}
}

// TestPicturesShared checks that goroutines that want one picture at once get
// one copy.
func TestPicturesShared(t *testing.T) {
	d := pictureSet(t, 22, 1)
	p := newPictures(LoaderOptions{Pyramid: true}, 1)
	var (
		group sync.WaitGroup
		got   [8]pyramid
	)
	for i := range got {
		group.Go(func() {
			var err error
			if got[i], err = p.get(d.samples()[0]); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, levels := range got {
		if len(levels) != 2 || levels[0] != got[0][0] {
			t.Fatal("copies differ")
		}
	}
}

// TestPyramid checks sizes, and levels against the definition.
func TestPyramid(t *testing.T) {
	img := noise(rand.New(rand.NewPCG(1, 9)), 131, 70)
	p := newPyramid(img)
	want := []image.Point{{131, 70}, {65, 35}, {32, 17}}
	if len(p) != len(want) {
		t.Fatalf("%d levels, want %d", len(p), len(want))
	}
	n := 0
	for i, size := range want {
		if p[i].Rect.Size() != size {
			t.Errorf("level %d is %v, want %v", i, p[i].Rect.Size(), size)
		}
		n += 4 * size.X * size.Y
	}
	if p.bytes() != int64(n) {
		t.Errorf("%d bytes, want %d", p.bytes(), n)
	}
	for level := 1; level < len(p); level++ {
		for y := range want[level].Y {
			for x := range want[level].X {
				got, sum := p[level].NRGBAAt(x, y), 0
				for i := range 4 {
					sum += int(p[level-1].NRGBAAt(2*x+i%2, 2*y+i/2).G)
				}
				if int(got.G) != (sum+2)/4 || got.A != 255 {
					t.Fatalf("level %d (%d, %d): %v, want green %d", level, x, y, got, (sum+2)/4)
				}
			}
		}
	}
}

// TestPyramidCrop checks which level a crop samples, and that what it shows
// stays in place: on a gradient all levels agree.
func TestPyramidCrop(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 240, 240))
	for i := range 240 * 240 {
		copy(img.Pix[4*i:], []byte{byte(i % 240), byte(i / 240), byte((i%240 + i/240) / 2), 255})
	}
	p := newPyramid(img)
	n := 3 * testInput.Area()
	plain, coarse := make([]float32, n), make([]float32, n)
	for _, scale := range []float64{0.5, 1.9, 2, 3.9, 4.1} {
		w := newWarp(preprocess.Affine{CX: 120, CY: 120, Scale: scale, Input: testInput}, 0.5, true)
		w.crop(plain, img)
		p.crop(coarse, w)
		worst := maxDifference(plain, coarse)
		if worst > 0.05 { // of up to 4.6: rounding to bytes
			t.Errorf("scale %v: differs by %v", scale, worst)
		}
		if (worst == 0) != (scale < 2) {
			t.Errorf("scale %v samples the wrong level", scale)
		}
	}
}

func TestFreeMemory(t *testing.T) {
	root := t.TempDir() + "/"
	if n := freeMemory(root); n != unknownMemory {
		t.Errorf("nothing known: %d", n)
	}
	write := func(name, text string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		file, text string
		want       int64
	}{
		{"proc/meminfo", "MemTotal:  9 kB\nMemAvailable:    1000 kB\nSwap: 1 kB\n", 1024000},
		{"sys/fs/cgroup/memory.max", "max\n", 1024000},
		{"sys/fs/cgroup/memory.max", "500000\n", 500000},
		{"sys/fs/cgroup/memory.max", "5000000\n", 1024000},
		{"proc/meminfo", "MemTotal:  9 kB\n", 5000000},
	} {
		write(tt.file, tt.text)
		if n := freeMemory(root); n != tt.want {
			t.Errorf("%s %q: %d, want %d", tt.file, tt.text, n, tt.want)
		}
	}
}

// TestLoaderAllocatesNothingPerCrop counts allocations of a warm worker.
func TestLoaderAllocatesNothingPerCrop(t *testing.T) {
	l := newTestLoader(t, LoaderOptions{Sets: []Set{{pictureSet(t, 23, 4), 1}}, Batch: 4, Augment: everything, Pyramid: true})
	w, order := newWorker(l), l.sampler.order(0)
	j := &job{batch: l.buffer(), order: order}
	fill := func() {
		if err := w.fill(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	if n := testing.AllocsPerRun(20, fill); n > 0 {
		t.Errorf("%v allocations in a batch", n)
	}
}

func BenchmarkLoader(b *testing.B) {
	for _, size := range []string{"128x96", "256x192"} {
		b.Run(size, func(b *testing.B) {
			o := LoaderOptions{Sets: []Set{{pictureSet(b, 24, 64), 1}}, Batch: 32, Augment: RecipeAugment}
			if err := o.Input.UnmarshalText([]byte(size)); err != nil {
				b.Fatal(err)
			}
			l := newTestLoader(b, o)
			l.Start(b.Context(), 0, 0)
			for b.Loop() {
				batch, err := l.Next(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				l.Release(batch)
			}
			b.ReportMetric(float64(32*b.N)/b.Elapsed().Seconds(), "samples/s")
		})
	}
}
