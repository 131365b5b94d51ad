package postprocess

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
)

type spoiler func(rng *rand.Rand, m []float32, size model.Size, x, y float64)

// condition is a way in which a map differs from a perfect target.
type condition struct {
	name string
	edge float64 // how near, in sigmas, the peak may be to the left edge; others stay 3 away
	// spoil changes a perfect target at (x, y); nil: nothing.
	spoil spoiler
	// most is the greatest mean error of DARK in heatmap pixels; 0: only its
	// order among the others counts.
	most float64
	// worse: DARK need not beat quarter here; see kernelSigma.
	worse bool
}

var conditions = []condition{
	{name: "clean", edge: 3, most: 0.005},
	{name: "clean, at the left edge", edge: 0, most: 0.02},
	{name: "white noise 1%", edge: 3, spoil: noisy(0.01), most: 0.02},
	{name: "white noise 5%", edge: 3, spoil: noisy(0.05), most: 0.09},
	{name: "white noise 15%", edge: 3, spoil: noisy(0.15), most: 0.3},
	{name: "white noise 5%, at the edge", edge: 0, spoil: noisy(0.05), most: 0.12},
	{name: "smooth noise 2%", edge: 3, spoil: smooth(0.02)},
	{name: "smooth noise 5%", edge: 3, spoil: smooth(0.05)},
	{name: "background +10%", edge: 3, spoil: background(0.1), most: 0.02},
	{name: "background -5%, noise 5%", edge: 3, spoil: func(rng *rand.Rand, m []float32, s model.Size, x, y float64) {
		background(-0.05)(rng, m, s, x, y)
		noisy(0.05)(rng, m, s, x, y)
	}, most: 0.09},
	{name: "scaled to 20%, noise 2%", edge: 3, spoil: func(rng *rand.Rand, m []float32, s model.Size, x, y float64) {
		scale(m, 0.2)
		noisy(0.02)(rng, m, s, x, y)
	}, most: 0.2},
	{name: "1.3 times as wide", edge: 3, spoil: func(_ *rand.Rand, m []float32, s model.Size, x, y float64) {
		clear(m)
		w := 1.3 * model.Sigma(s)
		add(m, s, x, y, w, w, model.Amplitude)
	}, most: 0.03},
	{name: "elongated, turned", edge: 3, spoil: func(_ *rand.Rand, m []float32, s model.Size, x, y float64) {
		clear(m)
		tilted(m, s, x, y, 1.4*model.Sigma(s), 0.8*model.Sigma(s))
	}, most: 0.03},
	{name: "half a peak 4 sigma beside", edge: 3, spoil: beside(4)},
	{name: "half a peak 3 sigma beside", edge: 3, spoil: beside(3), worse: true},
}

func noisy(share float64) spoiler {
	return func(rng *rand.Rand, m []float32, _ model.Size, _, _ float64) { whiteNoise(rng, m, share) }
}

func smooth(share float64) spoiler {
	return func(rng *rand.Rand, m []float32, s model.Size, _, _ float64) { smoothNoise(rng, m, s, share) }
}

func background(share float32) spoiler {
	return func(_ *rand.Rand, m []float32, _ model.Size, _, _ float64) {
		for i := range m {
			m[i] += share * model.Amplitude
		}
	}
}

func beside(sigmas float64) spoiler {
	return func(_ *rand.Rand, m []float32, s model.Size, x, y float64) {
		sigma := model.Sigma(s)
		add(m, s, x+sigmas*sigma, y, sigma, sigma, model.Amplitude/2)
	}
}

func scale(m []float32, by float32) {
	for i := range m {
		m[i] *= by
	}
}

// meanErrors returns the mean distance, in heatmap pixels, between the peak and
// what each way to decode finds, over peaks at random sub-pixel places.
func meanErrors(c condition, size model.Size) (errs [3]float64) {
	rng := newRand()
	sigma := model.Sigma(size)
	const n = 60
	for range n {
		x := c.edge*sigma + rng.Float64()*(float64(size.W)-1-6*sigma)
		if c.edge == 0 {
			x = rng.Float64() * 2 * sigma
		}
		y := 3*sigma + rng.Float64()*(float64(size.H)-1-6*sigma)
		m := target(size, x, y)
		if c.spoil != nil {
			c.spoil(rng, m, size, x, y)
		}
		for i, d := range []Decode{Argmax, Quarter, DARK} {
			p := peakOf(m, size, d)
			errs[i] += math.Hypot(p.X-x, p.Y-y) / n
		}
	}
	return errs
}

// The table of errors that the constants in dark.go were chosen by; see it with
// go test -v -run TestErrorTable.
func TestErrorTable(t *testing.T) {
	var table strings.Builder
	for _, size := range sizes {
		fmt.Fprintf(&table, "\nsigma %v: mean error, heatmap pixels\n%-30s%8s%8s%8s\n", model.Sigma(size), "", "argmax", "quarter", "dark")
		for _, c := range conditions {
			e := meanErrors(c, size)
			fmt.Fprintf(&table, "%-30s%8.3f%8.3f%8.3f\n", c.name, e[0], e[1], e[2])
			if c.most > 0 && !(e[2] <= c.most) {
				t.Errorf("sigma %v, %s: dark's mean error %.4f, want at most %v", model.Sigma(size), c.name, e[2], c.most)
			}
			if !c.worse && !(e[2] < e[1] && e[2] < e[0]) {
				t.Errorf("sigma %v, %s: dark's mean error %.3f, want below quarter's %.3f and argmax's %.3f",
					model.Sigma(size), c.name, e[2], e[1], e[0])
			}
		}
	}
	t.Log(table.String())
}

// A clean target is found wherever it lies, in every corner and on every edge,
// to far less than the 0.05 pixels asked for.
func TestDARKHasNoBiasAtBorders(t *testing.T) {
	for _, size := range sizes {
		w, h := float64(size.W-1), float64(size.H-1)
		for _, at := range [][2]float64{
			{0, 0}, {w, 0}, {0, h}, {w, h}, {0.3, 0.4}, {w - 0.4, h - 0.3}, {1.2, h / 2}, {w - 0.7, h / 3},
			{w / 2, 0.45}, {w / 3, h - 1.6}, {2.5, 2.5}, {w - 2.49, 1.51}, {w / 2, h / 2},
		} {
			p := peakOf(target(size, at[0], at[1]), size, DARK)
			if e := math.Hypot(p.X-at[0], p.Y-at[1]); !(e < 0.03) {
				t.Errorf("%v: peak at (%.3f, %.3f) is %.4f px from (%.2f, %.2f)", size, p.X, p.Y, e, at[0], at[1])
			}
		}
	}
}

// Without amplitude in the formula, a scaled map gives the same place.
func TestDARKIsScaleInvariant(t *testing.T) {
	m := target(sizeS, 40.3, 60.7)
	want := peakOf(m, sizeS, DARK)
	scale(m, 1e-6)
	if got := peakOf(m, sizeS, DARK); math.Hypot(got.X-want.X, got.Y-want.Y) > 1e-5 {
		t.Errorf("scaled: %+v, want the place of %+v", got, want)
	}
}

// step's gradient is that of the log of the modulated map, and its curvature
// that gradient's derivative, both here by central differences of the plain
// formula over the same window.
func TestStepAgreesWithFiniteDifferences(t *testing.T) {
	rng := newRand()
	size, sigma := sizeS, model.Sigma(sizeS)
	k := kernelSigma * sigma
	m := target(size, 50.2, 60.1)
	smoothNoise(rng, m, size, 0.1)
	logModulated := func(px, py float64) float64 {
		const cx, cy, radius = 49, 61, 9 // ceil(kernelReach * 2.8)
		var sum float64
		for v := cy - radius; v <= cy+radius; v++ {
			for u := cx - radius; u <= cx+radius; u++ {
				d := (float64(u)-px)*(float64(u)-px) + (float64(v)-py)*(float64(v)-py)
				sum += float64(m[v*size.W+u]) * math.Exp(-d/(2*k*k))
			}
		}
		return math.Log(sum)
	}
	const px, py, e = 49.2, 60.8, 1e-3
	f := func(i, j float64) float64 { return logModulated(px+i*e, py+j*e) }
	gx, gy := (f(1, 0)-f(-1, 0))/(2*e), (f(0, 1)-f(0, -1))/(2*e)
	hxx := (f(1, 0) - 2*f(0, 0) + f(-1, 0)) / (e * e)
	hyy := (f(0, 1) - 2*f(0, 0) + f(0, -1)) / (e * e)
	hxy := (f(1, 1) - f(1, -1) - f(-1, 1) + f(-1, -1)) / (4 * e * e)
	det := hxx*hyy - hxy*hxy
	wantX, wantY := (hxy*gy-hyy*gx)/det, (hxy*gx-hxx*gy)/det

	var ax, ay axis
	ax.centre(px, size.W, sigma)
	ay.centre(py, size.H, sigma)
	// The plain formula knows no expected moments: no mean, and k^2/k^2.
	ax.mean, ay.mean, ax.shape, ay.shape = 0, 0, 1, 1
	dx, dy, ok := heatmap{m, size.W, size.H}.step(&ax, &ay)
	if !ok || math.Abs(dx-wantX) > 1e-4 || math.Abs(dy-wantY) > 1e-4 {
		t.Errorf("step (%.5f, %.5f, %v), want (%.5f, %.5f)", dx, dy, ok, wantX, wantY)
	}
}

// Against the expected moments under a cut: at a target's own place the step is
// 0, however the window is cut.
func TestStepIsZeroAtTheTarget(t *testing.T) {
	size, sigma := sizeS, model.Sigma(sizeS)
	for _, at := range [][2]float64{{0, 0}, {0.4, 126.8}, {3.3, 5.1}, {94.6, 2.2}, {47.7, 63.1}} {
		m := target(size, at[0], at[1])
		var ax, ay axis
		ax.centre(at[0], size.W, sigma)
		ay.centre(at[1], size.H, sigma)
		dx, dy, ok := heatmap{m, size.W, size.H}.step(&ax, &ay)
		if !ok || math.Hypot(dx, dy) > 1e-5 {
			t.Errorf("at %v: step (%g, %g, %v), want 0", at, dx, dy, ok)
		}
	}
}
