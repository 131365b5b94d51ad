package postprocess

import (
	"math"
	"math/rand/v2"

	"github.com/evopose/evopose/model"
)

// The heatmaps of XS, S, M and L: sigma 2, 4, 6 and 8.
var sizes = []model.Size{{H: 64, W: 48}, {H: 128, W: 96}, {H: 192, W: 144}, {H: 256, W: 192}}

var sizeS = sizes[1]

func newRand() *rand.Rand { return rand.New(rand.NewPCG(3, 4)) }

// add adds a Gaussian centred at (x, y) to a map.
func add(m []float32, size model.Size, x, y, sigmaX, sigmaY, amplitude float64) {
	row := make([]float64, size.W)
	for u := range row {
		d := (float64(u) - x) / sigmaX
		row[u] = amplitude * math.Exp(-d*d/2)
	}
	for v := range size.H {
		d := (float64(v) - y) / sigmaY
		w := math.Exp(-d * d / 2)
		for u := range row {
			m[v*size.W+u] += float32(w * row[u])
		}
	}
}

// target returns a perfect map of a keypoint at (x, y).
func target(size model.Size, x, y float64) []float32 {
	m := make([]float32, size.Area())
	sigma := model.Sigma(size)
	add(m, size, x, y, sigma, sigma, model.Amplitude)
	return m
}

// tilted adds a Gaussian with another width and height, turned by 30 degrees.
func tilted(m []float32, size model.Size, x, y, long, short float64) {
	sin, cos := math.Sincos(math.Pi / 6)
	for v := range size.H {
		for u := range size.W {
			dx, dy := float64(u)-x, float64(v)-y
			a, b := (cos*dx+sin*dy)/long, (cos*dy-sin*dx)/short
			m[v*size.W+u] += float32(model.Amplitude * math.Exp(-(a*a+b*b)/2))
		}
	}
}

// whiteNoise adds to every pixel independently; deviation is a share of the
// amplitude.
func whiteNoise(rng *rand.Rand, m []float32, deviation float64) {
	for i := range m {
		m[i] += float32(deviation * model.Amplitude * rng.NormFloat64())
	}
}

// smoothNoise adds random Gaussians of the targets' own width everywhere, as a
// network's errors are smooth.
func smoothNoise(rng *rand.Rand, m []float32, size model.Size, deviation float64) {
	sigma := model.Sigma(size)
	for range 60 {
		add(m, size, rng.Float64()*float64(size.W), rng.Float64()*float64(size.H), sigma, sigma,
			deviation*model.Amplitude*rng.NormFloat64())
	}
}

// peakOf decodes one map.
func peakOf(m []float32, size model.Size, d Decode) Peak {
	var p [1]Peak
	Peaks(p[:], m, size, d)
	return p[0]
}
