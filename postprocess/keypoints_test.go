package postprocess

import (
	"math"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/preprocess"
)

// Places of the picture go through the crop's affine and the network's stride,
// and come back: to the precision of the decoding when the target lies anywhere,
// and on average when it is rounded to a pixel as in training. Half a heatmap
// pixel too much or too little would show as a bias of one input pixel.
func TestKeypointsComeBack(t *testing.T) {
	boxes := []preprocess.Box{{X: 100, Y: 50, W: 150, H: 200}, {X: -30.5, Y: 12.25, W: 300, H: 120}}
	for _, input := range []model.Size{{H: 256, W: 192}, {H: 384, W: 288}} {
		for _, box := range boxes {
			exact := func(h float64) float64 { return h }
			rounded := func(h float64) float64 { return math.Floor(h + 0.5) }
			scale := preprocess.NewAffine(box, input).Scale
			if _, worst := comeBack(t, input, box, exact); worst > 0.05 {
				t.Errorf("%v, %v: worst keypoint %.3f pixels away", input, box, worst)
			}
			mean, worst := comeBack(t, input, box, rounded)
			if math.Hypot(mean[0], mean[1]) > 0.2*scale || worst > 1.5*scale {
				t.Errorf("%v, %v: rounded targets: mean error %.3f, worst %.3f, scale %.3f", input, box, mean, worst, scale)
			}
		}
	}
}

// comeBack decodes targets of random places of a box, centred on heatmap places
// after centre, and returns the mean and the longest error in picture pixels.
func comeBack(t *testing.T, input model.Size, box preprocess.Box, centre func(float64) float64) (mean [2]float64, worst float64) {
	t.Helper()
	rng := newRand()
	size := model.Size{H: input.H / 2, W: input.W / 2}
	a := preprocess.NewAffine(box, input)
	const times = 5
	for range times {
		var places [17][2]float64
		maps := make([]float32, 0, 17*size.Area())
		for k := range places {
			places[k] = [2]float64{box.X + box.W*rng.Float64(), box.Y + box.H*rng.Float64()}
			u, v := a.ToInput(places[k][0], places[k][1])
			maps = append(maps, target(size, centre(u/2), centre(v/2))...)
		}
		for k, p := range Keypoints(maps, size, a, DARK) {
			dx, dy := p.X-places[k][0], p.Y-places[k][1]
			mean[0], mean[1] = mean[0]+dx/(17*times), mean[1]+dy/(17*times)
			worst = max(worst, math.Hypot(dx, dy))
			if p.Name != model.KeypointNames[k] || p.Score < 0.95 || p.Score > 1 {
				t.Errorf("keypoint %d is %+v", k, p)
			}
		}
	}
	return mean, worst
}

// By the formula: scale = 1.25*200/256, input = 2 * heatmap pixels.
func TestKeypointsByHand(t *testing.T) {
	a := preprocess.NewAffine(preprocess.Box{X: 100, Y: 50, W: 150, H: 200}, model.Size{H: 256, W: 192})
	maps := make([]float32, 17*sizeS.Area())
	maps[3*sizeS.Area()+70*sizeS.W+30] = 51 // left ear at heatmap pixel (30, 70)
	got := Keypoints(maps, sizeS, a, Argmax)[3]
	const scale = 1.25 * 200 / 256
	want := Keypoint{Name: "left_ear", X: 175 - scale*96 + scale*60, Y: 150 - scale*128 + scale*140, Score: 0.2}
	if math.Abs(got.X-want.X) > 1e-9 || math.Abs(got.Y-want.Y) > 1e-9 || got.Name != want.Name || got.Score != want.Score {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestScoresAreClamped(t *testing.T) {
	a := preprocess.NewAffine(preprocess.Box{W: 10, H: 10}, model.Size{H: 256, W: 192})
	for value, want := range map[float32]float64{
		-5: 0, 0: 0, 51: 0.2, 255: 1, 300: 1, math.MaxFloat32: 1,
		float32(math.NaN()): 0, float32(math.Inf(1)): 0, float32(math.Inf(-1)): 0,
	} {
		maps := make([]float32, 17*sizeS.Area())
		for i := range maps {
			maps[i] = value
		}
		for _, d := range []Decode{Argmax, Quarter, DARK} {
			for _, p := range Keypoints(maps, sizeS, a, d) {
				if p.Score != want || math.IsNaN(p.X) || math.IsNaN(p.Y) {
					t.Errorf("%v of a map full of %v: %+v, want score %v", d, value, p, want)
				}
			}
		}
	}
}

func TestPersonScore(t *testing.T) {
	points := []Keypoint{{Score: 0.9}, {Score: 0.5}, {Score: 0.2}, {Score: 0.1}}
	for name, tt := range map[string]struct {
		points     []Keypoint
		box, score float64
	}{
		"mean of those above 0.2": {points, 0.5, 0.35}, // (0.9+0.5)/2 * 0.5
		"the box counts as 1":     {points, 1, 0.7},
		"0.2 itself is too low":   {points[2:], 1, 0},
		"nobody":                  {nil, 1, 0},
		"NaN is too low":          {[]Keypoint{{Score: math.NaN()}, {Score: 0.4}}, 1, 0.4},
	} {
		if got := PersonScore(tt.points, tt.box); math.Abs(got-tt.score) > 1e-12 {
			t.Errorf("%s: %v, want %v", name, got, tt.score)
		}
	}
}

// person returns somebody in a box of 100 x 100 with a stretched skeleton.
func person(x, y, score float64) Person {
	p := Person{Box: [4]float64{x, y, 100, 100}, Score: score}
	for i := range 17 {
		p.Keypoints = append(p.Keypoints, Keypoint{Name: model.KeypointNames[i], X: x + 5*float64(i), Y: y + 3*float64(i), Score: score})
	}
	return p
}
