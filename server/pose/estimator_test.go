package pose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/modeltest"
	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/preprocess"
	"github.com/evopose/evopose/server/batch"
	"github.com/google/go-cmp/cmp"
)

// picture returns an upright picture of smooth noise, another for each seed.
func picture(seed int) *image.NRGBA {
	rng := rand.New(rand.NewPCG(7, uint64(seed)))
	img := image.NewNRGBA(image.Rect(0, 0, 160+rng.IntN(40), 200+rng.IntN(40)))
	for i := range img.Pix {
		img.Pix[i] = byte(rng.IntN(256))
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return img
}

// direct is an Inferer that answers with f at once.
type direct func(i int, crop, heatmaps []float32)

func (f direct) InferPrepared(_ context.Context, n int, prepare func() (crops, heatmaps [][]float32)) (batch.Timing, error) {
	crops, heatmaps := prepare()
	if len(crops) != n || len(heatmaps) != n {
		return batch.Timing{}, fmt.Errorf("%d crops and %d heatmaps, want %d", len(crops), len(heatmaps), n)
	}
	for i := range crops {
		f(i, crops[i], heatmaps[i])
	}
	return batch.Timing{Queue: 1, Run: 2, Batch: len(crops)}, nil
}

// fakeNet is what modeltest computes, without a batcher.
func fakeNet(card model.Card) direct {
	return func(_ int, crop, heatmaps []float32) { modeltest.Fill(heatmaps, crop, card.Heatmap) }
}

// peak draws a Gaussian of the network's own shape at a sub-pixel place.
func peak(dst []float32, size model.Size, x, y, amplitude float64) {
	sigma := model.Sigma(size)
	for v := range size.H {
		for u := range size.W {
			d := (float64(u)-x)*(float64(u)-x) + (float64(v)-y)*(float64(v)-y)
			dst[v*size.W+u] = float32(amplitude * math.Exp(-d/(2*sigma*sigma)))
		}
	}
}

// Keypoints at known places of the picture come back at these places, for
// each box through its own crop, in the order of the boxes.
func TestEstimateFindsKnownPlaces(t *testing.T) {
	card := small("s")
	boxes := []preprocess.Box{{X: 10, Y: 20, W: 60, H: 120}, {X: 80, Y: 5, W: 90, H: 60}, {X: -20, Y: 100, W: 80, H: 150}}
	place := func(i, k int) (x, y float64) { // inside box i
		b := boxes[i]
		return b.X + b.W*(0.1+0.045*float64(k)), b.Y + b.H*(0.9-0.04*float64(k))
	}
	net := direct(func(i int, _, heatmaps []float32) {
		a := preprocess.NewAffine(boxes[i], card.Input)
		for k := range model.Keypoints {
			x, y := place(i, k)
			u, v := a.ToInput(x, y)
			peak(heatmaps[k*card.Heatmap.Area():][:card.Heatmap.Area()], card.Heatmap, u/2, v/2, model.Amplitude)
		}
	})
	people, timing, err := NewEstimator(net, card).Estimate(t.Context(), picture(1), boxes, Options{Decode: postprocess.DARK})
	if err != nil || len(people) != len(boxes) {
		t.Fatal(len(people), err)
	}
	if timing.Queue != 1 || timing.Infer != 2 || timing.Crop <= 0 || timing.Keypoints <= 0 {
		t.Errorf("timing %+v", timing)
	}
	for i, p := range people {
		// 0.05 heatmap pixel is what DARK is allowed; a heatmap pixel is two input pixels.
		tolerance := 0.05 * 2 * preprocess.NewAffine(boxes[i], card.Input).Scale
		if want := [4]float64{boxes[i].X, boxes[i].Y, boxes[i].W, boxes[i].H}; p.Box != want || len(p.Keypoints) != model.Keypoints {
			t.Fatalf("person %d: box %v, %d keypoints", i, p.Box, len(p.Keypoints))
		}
		for k, got := range p.Keypoints {
			x, y := place(i, k)
			if math.Hypot(got.X-x, got.Y-y) > tolerance || got.Name != model.KeypointNames[k] {
				t.Errorf("person %d, %s: (%.3f, %.3f), want (%.3f, %.3f) within %.3f", i, got.Name, got.X, got.Y, x, y, tolerance)
			}
		}
		if p.Score < 0.95 || p.Score > 1.01 {
			t.Errorf("person %d: score %v", i, p.Score)
		}
	}
}

func TestWithoutBoxesTheWholePictureIsOne(t *testing.T) {
	e := NewEstimator(fakeNet(small("s")), small("s"))
	img := picture(3)
	got, _, err := e.Estimate(t.Context(), img, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := e.Estimate(t.Context(), img, []preprocess.Box{WholePicture(img)}, Options{})
	if err != nil || len(want) != 1 || want[0].Box != [4]float64{0, 0, float64(img.Rect.Dx()), float64(img.Rect.Dy())} {
		t.Fatal(want, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// The flip test is the merge of each crop's heatmaps with those of its own
// mirrored crop.
func TestFlip(t *testing.T) {
	card := small("s")
	boxes := []preprocess.Box{{X: 10, Y: 20, W: 60, H: 120}, {X: 80, Y: 5, W: 90, H: 160}}
	img := picture(2)
	net := fakeNet(card)
	got, _, err := NewEstimator(net, card).Estimate(t.Context(), img, boxes, Options{Flip: true, Decode: postprocess.Quarter})
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range boxes {
		a := preprocess.NewAffine(b, card.Input)
		crop, mirrored := make([]float32, 3*card.Input.Area()), make([]float32, 3*card.Input.Area())
		preprocess.Crop(crop, img, a)
		preprocess.Mirror(mirrored, crop, card.Input)
		maps, flipped := make([]float32, 17*card.Heatmap.Area()), make([]float32, 17*card.Heatmap.Area())
		net(0, crop, maps)
		net(0, mirrored, flipped)
		postprocess.MergeFlip(maps, flipped, card.Heatmap)
		want := postprocess.Keypoints(maps, card.Heatmap, a, postprocess.Quarter)
		if d := cmp.Diff(want, got[i].Keypoints); d != "" {
			t.Errorf("person %d: %s", i, d)
		}
	}
}

// people with the given peak heights, each with its keypoints at the same
// place when boxes are the same.
func heights(h ...float64) direct {
	size := small("s").Heatmap
	return func(i int, _, heatmaps []float32) {
		for k := range model.Keypoints {
			peak(heatmaps[k*size.Area():][:size.Area()], size, 10+float64(k), 20+float64(2*k), h[i]*model.Amplitude)
		}
	}
}

func estimateHeights(t *testing.T, boxes []preprocess.Box, o Options, h ...float64) []string {
	t.Helper()
	people, _, err := NewEstimator(heights(h...), small("s")).Estimate(t.Context(), picture(1), boxes, o)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, p := range people {
		got = append(got, fmt.Sprintf("%v:%.1f", p.Box[0], p.Score))
	}
	return got
}

func TestMinScoreDropsPeople(t *testing.T) {
	boxes := []preprocess.Box{{X: 1, W: 50, H: 80}, {X: 2, W: 50, H: 80}, {X: 3, W: 50, H: 80}}
	got := estimateHeights(t, boxes, Options{MinScore: 0.5}, 0.8, 0.4, 0.6)
	if d := cmp.Diff([]string{"1:0.8", "3:0.6"}, got); d != "" {
		t.Error(d)
	}
	got = estimateHeights(t, boxes, Options{MinScore: 0}, 0.8, 0, 0.6)
	if d := cmp.Diff([]string{"1:0.8", "2:0.0", "3:0.6"}, got); d != "" {
		t.Error(d)
	}
}

func TestNMSDropsTheWeakerOfTwoAlike(t *testing.T) {
	boxes := []preprocess.Box{{X: 1, W: 50, H: 80}, {X: 1.1, W: 50, H: 80}, {X: 90, W: 50, H: 80}}
	got := estimateHeights(t, boxes, Options{NMS: 0.9}, 0.6, 0.8, 0.4)
	if d := cmp.Diff([]string{"1.1:0.8", "90:0.4"}, got); d != "" {
		t.Error(d)
	}
	if got = estimateHeights(t, boxes, Options{}, 0.6, 0.8, 0.4); len(got) != 3 {
		t.Errorf("without nms: %v", got)
	}
}

func TestBadBoxIsNamed(t *testing.T) {
	e := NewEstimator(fakeNet(small("s")), small("s"))
	for _, bad := range []preprocess.Box{{W: 0, H: 5}, {W: 5, H: -1}, {X: math.NaN(), W: 5, H: 5}, {W: math.Inf(1), H: 5}} {
		_, _, err := e.Estimate(t.Context(), picture(1), []preprocess.Box{{W: 5, H: 5}, bad}, Options{})
		var box BoxError
		if !errors.As(err, &box) || !strings.HasPrefix(err.Error(), "box 2 of 2: ") {
			t.Errorf("%v: error %v", bad, err)
		}
	}
}

func TestBadOptionIsNamed(t *testing.T) {
	e := NewEstimator(fakeNet(small("s")), small("s"))
	for want, o := range map[string]Options{
		"min_score is -0.1": {MinScore: -0.1},
		"min_score is NaN":  {MinScore: math.NaN()},
		"nms is 1.5":        {NMS: 1.5},
	} {
		if _, _, err := e.Estimate(t.Context(), picture(1), nil, o); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// Whatever a broken network computes, the answer can be written as JSON, which
// has no NaN and no infinity.
func TestAnswerIsAlwaysFinite(t *testing.T) {
	values := []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat32, -math.MaxFloat32}
	for _, d := range []postprocess.Decode{postprocess.Argmax, postprocess.Quarter, postprocess.DARK} {
		net := direct(func(i int, _, heatmaps []float32) {
			for j := range heatmaps {
				heatmaps[j] = float32(values[(i+j/7)%len(values)])
			}
		})
		people, _, err := NewEstimator(net, small("s")).Estimate(t.Context(), picture(1), nil, Options{Decode: d, Flip: true, NMS: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(people); err != nil {
			t.Errorf("%v: %v", d, err)
		}
	}
}

type failing struct{ error }

func (f failing) InferPrepared(context.Context, int, func() (crops, heatmaps [][]float32)) (batch.Timing, error) {
	return batch.Timing{}, f.error
}

func TestInfererErrorIsPassedOn(t *testing.T) {
	_, _, err := NewEstimator(failing{batch.ErrQueueFull}, small("s")).Estimate(t.Context(), picture(1), nil, Options{})
	if !errors.Is(err, batch.ErrQueueFull) {
		t.Errorf("error %v", err)
	}
}

// Many pictures at once through a batcher give exactly what each gives alone:
// batching, reused buffers and neighbours in a batch change nothing.
func TestConcurrentEqualsAlone(t *testing.T) {
	card := small("s")
	b := batch.New(modeltest.New(card), batch.Options{Max: 5, Queue: 1000})
	e := NewEstimator(b, card)
	alone := NewEstimator(fakeNet(card), card)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			img := picture(i)
			o := Options{Flip: i%2 == 0, Decode: postprocess.DARK}
			boxes := []preprocess.Box{{X: float64(i), Y: 3, W: 50, H: 70}, {X: 20, Y: float64(i), W: 80, H: 70}, {W: 160, H: 200}}[:i%4]
			want, _, err := alone.Estimate(t.Context(), img, boxes, o)
			if err != nil {
				t.Error(err)
			}
			got, _, err := e.Estimate(t.Context(), img, boxes, o)
			if err != nil {
				t.Error(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("picture %d: %s", i, d)
			}
		})
	}
	wg.Wait()
	if err := b.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func BenchmarkEstimate(b *testing.B) {
	card := modeltest.Card()
	img := image.NewNRGBA(image.Rect(0, 0, 640, 480))
	nothing := direct(func(int, []float32, []float32) {})
	for _, flip := range []bool{false, true} {
		b.Run(fmt.Sprintf("flip=%v", flip), func(b *testing.B) {
			e := NewEstimator(nothing, card)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := e.Estimate(context.Background(), img, nil, Options{Decode: postprocess.DARK, Flip: flip}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
