package postprocess

import (
	"encoding/json"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/preprocess"
)

// gaussian draws the target of a keypoint at (x, y) with additive noise.
func gaussian(size model.Size, x, y, sigma, noise float64, rng *rand.Rand) []float32 {
	m := make([]float32, size.Area())
	for v := range size.H {
		for u := range size.W {
			d := (float64(u)-x)*(float64(u)-x) + (float64(v)-y)*(float64(v)-y)
			m[v*size.W+u] = float32(model.Amplitude*math.Exp(-d/(2*sigma*sigma)) + noise*rng.NormFloat64())
		}
	}
	return m
}

// meanError decodes many Gaussians at random sub-pixel places, anywhere from
// margin pixels inside the map.
func meanError(size model.Size, d Decode, margin, noise float64) float64 {
	rng := rand.New(rand.NewPCG(3, uint64(size.H)))
	const n = 100
	var sum float64
	for range n {
		x := margin + rng.Float64()*(float64(size.W)-1-2*margin)
		y := margin + rng.Float64()*(float64(size.H)-1-2*margin)
		var p [1]Peak
		Peaks(p[:], gaussian(size, x, y, model.Sigma(size), noise, rng), size, d)
		sum += math.Hypot(p[0].X-x, p[0].Y-y)
	}
	return sum / n
}

// The heatmaps of XS, S, M and L: sigma 2, 4, 6 and 8.
var sizes = []model.Size{{H: 64, W: 48}, {H: 128, W: 96}, {H: 192, W: 144}, {H: 256, W: 192}}

func TestDARKOnCleanGaussians(t *testing.T) {
	for _, size := range sizes {
		inner := meanError(size, DARK, 4*model.Sigma(size), 0)
		anywhere := meanError(size, DARK, 1, 0)
		t.Logf("sigma %v: mean error %.4f px inside, %.4f px anywhere; quarter %.3f, argmax %.3f",
			model.Sigma(size), inner, anywhere, meanError(size, Quarter, 4*model.Sigma(size), 0), meanError(size, Argmax, 4*model.Sigma(size), 0))
		if inner >= 0.05 || anywhere >= 0.05 {
			t.Errorf("sigma %v: mean error %.4f px inside and %.4f anywhere, want under 0.05", model.Sigma(size), inner, anywhere)
		}
	}
}

func TestDARKBeatsTheOthersInNoise(t *testing.T) {
	for _, size := range sizes {
		for _, noise := range []float64{1, 4, 12} {
			margin := 4 * model.Sigma(size)
			dark, quarter, argmax := meanError(size, DARK, margin, noise), meanError(size, Quarter, margin, noise), meanError(size, Argmax, margin, noise)
			t.Logf("sigma %v, noise %v of 255: dark %.3f, quarter %.3f, argmax %.3f px", model.Sigma(size), noise, dark, quarter, argmax)
			if !(dark < quarter && dark < argmax) {
				t.Errorf("sigma %v, noise %v: dark %.3f, quarter %.3f, argmax %.3f px", model.Sigma(size), noise, dark, quarter, argmax)
			}
		}
	}
}

// spike is a 5x4 map with the given values at places.
func spike(values map[[2]int]float32) []float32 {
	m := make([]float32, 20)
	for at, v := range values {
		m[at[1]*5+at[0]] = v
	}
	return m
}

func fill(v float32) []float32 {
	m := make([]float32, 20)
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
		"zero":                       {fill(0), DARK, Peak{}},
		"negative":                   {fill(-3), DARK, Peak{}},
		"NaN":                        {fill(nan), DARK, Peak{}},
		"infinite":                   {fill(inf), DARK, Peak{}},
		"flat: the first":            {fill(7), Argmax, Peak{0, 0, 7}},
		"flat, quarter":              {fill(7), Quarter, Peak{0, 0, 7}},
		"flat, dark":                 {fill(7), DARK, Peak{0, 0, 7}},
		"tie: the first":             {spike(map[[2]int]float32{{3, 1}: 5, {2, 2}: 5}), Argmax, Peak{3, 1, 5}},
		"NaN beside the peak":        {spike(map[[2]int]float32{{2, 2}: 5, {1, 2}: nan}), DARK, Peak{2, 2, 5}},
		"infinity is no peak":        {spike(map[[2]int]float32{{2, 2}: 5, {0, 0}: inf}), Argmax, Peak{2, 2, 5}},
		"quarter to the right, down": {spike(map[[2]int]float32{{2, 2}: 9, {3, 2}: 2, {2, 3}: 1}), Quarter, Peak{2.25, 2.25, 9}},
		"quarter to the left, up":    {spike(map[[2]int]float32{{2, 2}: 9, {1, 2}: 2, {2, 1}: 1}), Quarter, Peak{1.75, 1.75, 9}},
		"quarter: equal neighbours":  {spike(map[[2]int]float32{{2, 2}: 9, {1, 2}: 2, {3, 2}: 2}), Quarter, Peak{2, 2, 9}},
		"quarter stops at x = 1":     {spike(map[[2]int]float32{{1, 2}: 9, {2, 2}: 2}), Quarter, Peak{1, 2, 9}},
		"quarter stops at x = W-1":   {spike(map[[2]int]float32{{4, 2}: 9, {3, 2}: 2}), Quarter, Peak{4, 2, 9}},
		"quarter stops at y = 1":     {spike(map[[2]int]float32{{2, 1}: 9, {2, 2}: 2}), Quarter, Peak{2, 1, 9}},
		"a lone pixel, dark":         {spike(map[[2]int]float32{{2, 2}: 9}), DARK, Peak{2, 2, 9}},
		"a corner, dark":             {spike(map[[2]int]float32{{4, 3}: 9, {3, 3}: 2}), DARK, Peak{4, 3, 9}},
	} {
		var p [1]Peak
		Peaks(p[:], tt.data, model.Size{H: 4, W: 5}, tt.d)
		if p[0] != tt.want {
			t.Errorf("%s: peak %+v, want %+v", name, p[0], tt.want)
		}
	}
}

func TestPeaksAllocateNothing(t *testing.T) {
	size := sizes[1]
	maps := make([]float32, model.Keypoints*size.Area())
	copy(maps, gaussian(size, 40.3, 60.7, 4, 0, newRand()))
	var peaks [model.Keypoints]Peak
	if n := testing.AllocsPerRun(5, func() { Peaks(peaks[:], maps, size, DARK) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// newRand returns a generator for gaussian, which needs one even without noise.
func newRand() *rand.Rand { return rand.New(rand.NewPCG(0, 0)) }

// Keypoint 1 (left eye) and 2 (right eye) change places; rows are mirrored and
// moved right by one.
func TestMergeFlip(t *testing.T) {
	size := model.Size{H: 1, W: 4}
	maps, flipped := make([]float32, 17*4), make([]float32, 17*4)
	copy(maps[4:], []float32{0, 0, 8, 0})    // left eye
	copy(flipped[8:], []float32{2, 6, 0, 4}) // right eye of the mirror image: back, 4 0 6 2
	MergeFlip(maps, flipped, size)
	want := []float32{2, 2, 4, 3} // mean with 4 4 0 6
	if diff := cmp.Diff(want, maps[4:8]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(make([]float32, 4), maps[8:12]); diff != "" {
		t.Error("the right eye's map should stay zero", diff)
	}
}

// A mirrored picture's peak at the same body part merges to one sharp peak: in
// input pixels, mirroring sends u to W_in-1-u, in heatmap pixels of stride 2
// that is W-0.5-x, which the shift by one brings to within half a pixel.
func TestMergeFlipAligns(t *testing.T) {
	size := sizes[1]
	maps, flipped := make([]float32, 17*size.Area()), make([]float32, 17*size.Area())
	x, y := 40.0, 50.0
	copy(maps, gaussian(size, x, y, 4, 0, newRand()))
	copy(flipped, gaussian(size, float64(size.W)-0.5-x, y, 4, 0, newRand()))
	MergeFlip(maps, flipped, size)
	var p [1]Peak
	Peaks(p[:], maps, size, DARK)
	if math.Abs(p[0].X-x) > 0.26 || math.Abs(p[0].Y-y) > 0.01 || p[0].Max < 250 {
		t.Errorf("merged peak %+v, want about (%v, %v)", p[0], x, y)
	}
}

func TestKeypointsMapIntoThePicture(t *testing.T) {
	size, input := sizes[1], model.Size{H: 256, W: 192}
	a := preprocess.NewAffine(preprocess.Box{X: 100, Y: 50, W: 150, H: 200}, input)
	maps := make([]float32, 17*size.Area())
	for k := range 17 {
		copy(maps[k*size.Area():], gaussian(size, 30+float64(k), 70.25, 4, 0, newRand()))
	}
	got := Keypoints(maps, size, a, DARK)
	for k, p := range got {
		// By the formula: scale = 1.25*200/256, input = 2 * heatmap pixels.
		scale := 1.25 * 200 / 256
		x := 175 - scale*96 + scale*2*(30+float64(k))
		y := 150 - scale*128 + scale*2*70.25
		if math.Abs(p.X-x) > 0.1 || math.Abs(p.Y-y) > 0.1 || p.Name != model.KeypointNames[k] || p.Score < 0.98 || p.Score > 1 {
			t.Errorf("keypoint %d = %+v, want (%.2f, %.2f)", k, p, x, y)
		}
	}
	for i := range maps {
		maps[i] *= 3
	}
	if s := Keypoints(maps, size, a, Argmax)[0].Score; s != 1 {
		t.Errorf("score %v of a peak over the amplitude, want 1", s)
	}
}

func TestPersonScore(t *testing.T) {
	points := []Keypoint{{Score: 0.9}, {Score: 0.5}, {Score: 0.2}, {Score: 0.1}}
	if got := PersonScore(points, 0.5); math.Abs(got-0.35) > 1e-12 { // (0.9+0.5)/2 * 0.5
		t.Errorf("score %v, want 0.35", got)
	}
	if got := PersonScore(points[2:], 1); got != 0 {
		t.Errorf("score %v of keypoints that do not count, want 0", got)
	}
}

func person(x, y, score float64) Person {
	p := Person{Box: [4]float64{x, y, 100, 100}, Score: score}
	for i := range 17 {
		p.Keypoints = append(p.Keypoints, Keypoint{X: x + 5*float64(i), Y: y + 3*float64(i), Score: score})
	}
	return p
}

// Expected values are those of pycocotools' formula evaluated with numpy, see
// testdata/oks.py.
func TestOKS(t *testing.T) {
	a := person(0, 0, 1)
	for shift, want := range map[float64]float64{0: 1, 5: 0.871155, 20: 0.331114, 1000: 0} {
		if got := OKS(a.Keypoints, person(shift, 0, 1).Keypoints, 10000); math.Abs(got-want) > 1e-5 {
			t.Errorf("OKS at a shift of %v = %.6f, want %v", shift, got, want)
		}
	}
}

func TestSuppress(t *testing.T) {
	people := []Person{person(0, 0, 0.5), person(1, 0, 0.9), person(300, 0, 0.1), person(2, 1, 0.9)}
	if diff := cmp.Diff([]int{1, 2}, Suppress(people, 0.9)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{0, 1, 2, 3}, Suppress(people, 1)); diff != "" {
		t.Error("nothing exceeds 1", diff)
	}
	if got := Suppress(nil, 0.5); len(got) != 0 {
		t.Error(got)
	}
}

func TestJSONAndCOCO(t *testing.T) {
	p := Person{Box: [4]float64{12, 30.5, 200, 400}, Score: 0.81, Keypoints: []Keypoint{{"nose", 101.2, 60.9, 0.93}}}
	text, err := json.Marshal(p)
	const want = `{"box":[12,30.5,200,400],"score":0.81,"keypoints":[{"name":"nose","x":101.2,"y":60.9,"score":0.93}]}`
	if err != nil || string(text) != want {
		t.Errorf("%s %v", text, err)
	}
	coco := []COCOResult{{ImageID: 7, CategoryID: 1, Keypoints: []float64{101.2, 60.9, 0.93}, Score: 0.81}}
	if diff := cmp.Diff(coco, COCO([]Person{p}, 7), cmpopts.EquateApprox(0, 1e-12)); diff != "" {
		t.Error(diff)
	}
}

func TestParseDecode(t *testing.T) {
	for _, d := range []Decode{Argmax, Quarter, DARK} {
		if got, err := ParseDecode(d.String()); err != nil || got != d {
			t.Errorf("ParseDecode(%q) = %v, %v", d, got, err)
		}
	}
	if _, err := ParseDecode("best"); err == nil {
		t.Error("an unknown name was accepted")
	}
}

func TestDraw(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 120, 100))
	grey := color.NRGBA{90, 90, 90, 255}
	for i := range img.Pix {
		img.Pix[i] = []uint8{90, 90, 90, 255}[i%4]
	}
	p := Person{Box: [4]float64{0, 0, 100, 100}}
	for i := range 17 {
		p.Keypoints = append(p.Keypoints, Keypoint{X: 1e30, Y: math.NaN(), Score: 1})
		if i == 5 || i == 7 { // left shoulder and elbow
			p.Keypoints[i] = Keypoint{X: 20 + 10*float64(i-5), Y: 50, Score: 1}
		}
		if i == 6 {
			p.Keypoints[i] = Keypoint{X: 100, Y: 80, Score: 0.1}
		}
	}
	Draw(img, []Person{p}, 0.2)
	if got := img.NRGBAAt(30, 50); got != leftColour {
		t.Errorf("in the middle of the left upper arm the picture is %v, want %v", got, leftColour)
	}
	for _, at := range [][2]int{{100, 80}, {60, 65}, {110, 5}} {
		if got := img.NRGBAAt(at[0], at[1]); got != grey {
			t.Errorf("at %v something was drawn: %v", at, got)
		}
	}
	for i := 3; i < len(img.Pix); i += 4 {
		if img.Pix[i] != 255 {
			t.Fatal("the picture is no longer opaque")
		}
	}
}

func FuzzPeaks(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3}, uint8(0))
	f.Add([]byte{255, 255, 127, 127, 0, 0, 0, 0}, uint8(2))
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
		var p [1]Peak
		Peaks(p[:], m, size, Decode(d%3))
		if !(p[0].X >= -1 && p[0].X <= 16 && p[0].Y >= -1 && p[0].Y <= 24 && p[0].Max >= 0) {
			t.Fatalf("peak %+v", p[0])
		}
	})
}

func benchmarkPeaks(b *testing.B, d Decode) {
	size := sizes[1]
	maps := make([]float32, 0, model.Keypoints*size.Area())
	for k := range model.Keypoints {
		maps = append(maps, gaussian(size, 20+3*float64(k), 60.3, 4, 1, newRand())...)
	}
	var peaks [model.Keypoints]Peak
	for b.Loop() {
		Peaks(peaks[:], maps, size, d)
	}
}

func BenchmarkPeaksArgmax(b *testing.B)  { benchmarkPeaks(b, Argmax) }
func BenchmarkPeaksQuarter(b *testing.B) { benchmarkPeaks(b, Quarter) }
func BenchmarkPeaksDARK(b *testing.B)    { benchmarkPeaks(b, DARK) }

func BenchmarkDraw(b *testing.B) {
	img := image.NewNRGBA(image.Rect(0, 0, 640, 480))
	people := []Person{person(100, 100, 1), person(300, 200, 1)}
	for b.Loop() {
		Draw(img, people, 0)
	}
}
