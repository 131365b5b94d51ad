package postprocess

import (
	"math"
	"testing"

	"github.com/evopose/evopose/model"
)

var small = model.Size{H: 4, W: 5}

// spikes is a 5x4 map with the given values at places (x, y).
func spikes(values map[[2]int]float32) []float32 {
	m := make([]float32, small.Area())
	for at, v := range values {
		m[at[1]*small.W+at[0]] = v
	}
	return m
}

func filled(v float32) []float32 {
	m := make([]float32, small.Area())
	for i := range m {
		m[i] = v
	}
	return m
}

func TestPeaksTable(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, tt := range map[string]struct {
		data []float32
		d    Decode
		want Peak
	}{
		"zero":                       {filled(0), DARK, Peak{}},
		"negative":                   {filled(-3), DARK, Peak{}},
		"NaN":                        {filled(nan), DARK, Peak{}},
		"infinite":                   {filled(inf), DARK, Peak{}},
		"minus infinity":             {filled(-inf), DARK, Peak{}},
		"flat: the first":            {filled(7), Argmax, Peak{0, 0, 7}},
		"flat, quarter":              {filled(7), Quarter, Peak{0, 0, 7}},
		"flat, dark":                 {filled(7), DARK, Peak{0, 0, 7}},
		"flat, the greatest float":   {filled(math.MaxFloat32), DARK, Peak{0, 0, math.MaxFloat32}},
		"tie: the first":             {spikes(map[[2]int]float32{{3, 1}: 5, {2, 2}: 5}), Argmax, Peak{3, 1, 5}},
		"NaN beside the peak":        {spikes(map[[2]int]float32{{2, 2}: 5, {1, 2}: nan}), DARK, Peak{2, 2, 5}},
		"infinity is no peak":        {spikes(map[[2]int]float32{{2, 2}: 5, {0, 0}: inf}), Argmax, Peak{2, 2, 5}},
		"infinity far away, dark":    {spikes(map[[2]int]float32{{2, 2}: 5, {0, 0}: inf}), DARK, Peak{2, 2, 5}},
		"quarter to the right, down": {spikes(map[[2]int]float32{{2, 2}: 9, {3, 2}: 2, {2, 3}: 1}), Quarter, Peak{2.25, 2.25, 9}},
		"quarter to the left, up":    {spikes(map[[2]int]float32{{2, 2}: 9, {1, 2}: 2, {2, 1}: 1}), Quarter, Peak{1.75, 1.75, 9}},
		"quarter: equal neighbours":  {spikes(map[[2]int]float32{{2, 2}: 9, {1, 2}: 2, {3, 2}: 2}), Quarter, Peak{2, 2, 9}},
		"quarter: NaN neighbour":     {spikes(map[[2]int]float32{{2, 2}: 9, {1, 2}: nan, {2, 1}: 1}), Quarter, Peak{2, 1.75, 9}},
		"quarter stops at x = 1":     {spikes(map[[2]int]float32{{1, 2}: 9, {2, 2}: 2}), Quarter, Peak{1, 2, 9}},
		"quarter stops at x = W-1":   {spikes(map[[2]int]float32{{4, 2}: 9, {3, 2}: 2}), Quarter, Peak{4, 2, 9}},
		"quarter goes on to x = W-2": {spikes(map[[2]int]float32{{3, 2}: 9, {4, 2}: 2}), Quarter, Peak{3.25, 2, 9}},
		"quarter stops at y = 1":     {spikes(map[[2]int]float32{{2, 1}: 9, {2, 2}: 2}), Quarter, Peak{2, 1, 9}},
		"quarter stops at y = H-1":   {spikes(map[[2]int]float32{{2, 3}: 9, {2, 2}: 2}), Quarter, Peak{2, 3, 9}},
	} {
		if got := peakOf(tt.data, small, tt.d); got != tt.want {
			t.Errorf("%s: peak %+v, want %+v", name, got, tt.want)
		}
	}
}

// What is no peak for DARK gets the quarter pixel, or nothing at the border.
func TestDARKWithoutAPeak(t *testing.T) {
	size := sizeS
	plain := make([]float32, size.Area())
	ramp := make([]float32, size.Area())
	for i := range plain {
		plain[i] = 9
		ramp[i] = float32(1 + i%size.W)
	}
	bumpOnPlain := make([]float32, size.Area())
	copy(bumpOnPlain, plain)
	bumpOnPlain[50*size.W+40], bumpOnPlain[50*size.W+41] = 9.5, 9.25
	hole := target(size, 40, 50)
	hole[55*size.W+45] = float32(math.NaN())
	negative := make([]float32, size.Area())
	for i := range negative {
		negative[i] = -5
	}
	negative[50*size.W+40], negative[50*size.W+39] = 3, 1
	hot := target(size, 50, 60)
	hot[60*size.W+40] = 400 // 2.5 sigma beside the peak
	for name, tt := range map[string]struct {
		data []float32
		x, y float64
	}{
		"a hot pixel far away":       {hot, 50, 60},
		"plain":                      {plain, 0, 0},
		"ramp to the right":          {ramp, 95, 0},
		"a bump on a plain":          {bumpOnPlain, 40.25, 50},
		"NaN within the kernel":      {hole, 40, 50},
		"a negative sum around it":   {negative, 39.75, 50},
		"a spike on nothing: itself": {func() []float32 { m := make([]float32, size.Area()); m[50*size.W+40] = 9; return m }(), 40, 50},
	} {
		if got := peakOf(tt.data, size, DARK); got.X != tt.x || got.Y != tt.y {
			t.Errorf("%s: (%v, %v), want (%v, %v)", name, got.X, got.Y, tt.x, tt.y)
		}
	}
}

// A hot pixel beside the peak is not where the peak is found.
func TestDARKLeavesAHotPixel(t *testing.T) {
	m := target(sizeS, 50, 60)
	m[60*sizeS.W+45] = 270
	if p := peakOf(m, sizeS, DARK); math.Hypot(p.X-50, p.Y-60) > 0.3 || p.Max != 270 {
		t.Errorf("peak %+v, want about (50, 60)", p)
	}
}

// Of 17 maps each has its own peak; dst says how many are read.
func TestPeaksOfSeveralMaps(t *testing.T) {
	maps := append(target(sizeS, 20, 30), target(sizeS, 70.5, 99.25)...)
	var p [2]Peak
	Peaks(p[:], maps, sizeS, DARK)
	for i, want := range [][2]float64{{20, 30}, {70.5, 99.25}} {
		if math.Hypot(p[i].X-want[0], p[i].Y-want[1]) > 0.01 {
			t.Errorf("peak %d: %+v, want (%v, %v)", i, p[i], want[0], want[1])
		}
	}
}

func TestPeaksAllocateNothing(t *testing.T) {
	maps := seventeen()
	var peaks [model.Keypoints]Peak
	for _, d := range []Decode{Argmax, Quarter, DARK} {
		if n := testing.AllocsPerRun(5, func() { Peaks(peaks[:], maps, sizeS, d) }); n != 0 {
			t.Errorf("%v: %v allocations", d, n)
		}
	}
}

// A map of one row, one column or one pixel, whose sigma is next to nothing, and
// one so high that the kernel's radius is bounded, have their peaks like others.
func TestDARKOnOddSizes(t *testing.T) {
	for _, size := range []model.Size{{H: 1, W: 1}, {H: 1, W: 40}, {H: 200, W: 1}, {H: 2, W: 2}, {H: 800, W: 30}} {
		x, y := float64(size.W-1)*0.4, float64(size.H-1)*0.6
		p := peakOf(target(size, x, y), size, DARK)
		if e := math.Hypot(p.X-x, p.Y-y); !(e < 0.6) || !(p.Max > 0) {
			t.Errorf("%v: peak %+v, want (%v, %v)", size, p, x, y)
		}
	}
}

func TestParseDecode(t *testing.T) {
	for _, d := range []Decode{Argmax, Quarter, DARK} {
		if got, err := ParseDecode(d.String()); err != nil || got != d {
			t.Errorf("ParseDecode(%q) = %v, %v", d, got, err)
		}
	}
	for _, name := range []string{"best", "", "DARK", "dark "} {
		if d, err := ParseDecode(name); err == nil {
			t.Errorf("ParseDecode(%q) = %v, want an error", name, d)
		}
	}
}

// Whatever bits a map holds, the peak lies in it and its height is a number.
func FuzzPeaks(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3}, uint8(0))
	f.Add([]byte{255, 255, 127, 127, 0, 0, 0, 0}, uint8(2))
	f.Add([]byte{66, 200, 0, 0, 67, 0, 0, 0, 127, 127, 255, 255, 127, 192, 0, 0}, uint8(0))
	f.Fuzz(func(t *testing.T, raw []byte, d uint8) {
		size := model.Size{H: 24, W: 16}
		m := make([]float32, size.Area())
		for i := range m {
			var bits uint32
			for j := range 4 {
				if len(raw) > 0 {
					bits = bits<<8 | uint32(raw[(4*i+j)%len(raw)])
				}
			}
			m[i] = math.Float32frombits(bits)
		}
		p := peakOf(m, size, Decode(d%3))
		if !(p.X >= 0 && p.X <= 15 && p.Y >= 0 && p.Y <= 23 && p.Max >= 0 && p.Max <= math.MaxFloat32) {
			t.Fatalf("peak %+v", p)
		}
	})
}

// seventeen returns a person's noisy maps of EvoPose2D S.
func seventeen() []float32 {
	rng := newRand()
	var maps []float32
	for k := range model.Keypoints {
		m := target(sizeS, 20+3*float64(k), 60.3)
		whiteNoise(rng, m, 0.005)
		maps = append(maps, m...)
	}
	return maps
}

func benchmarkPeaks(b *testing.B, d Decode) {
	maps := seventeen()
	var peaks [model.Keypoints]Peak
	for b.Loop() {
		Peaks(peaks[:], maps, sizeS, d)
	}
}

func BenchmarkPeaksArgmax(b *testing.B)  { benchmarkPeaks(b, Argmax) }
func BenchmarkPeaksQuarter(b *testing.B) { benchmarkPeaks(b, Quarter) }
func BenchmarkPeaksDARK(b *testing.B)    { benchmarkPeaks(b, DARK) }
