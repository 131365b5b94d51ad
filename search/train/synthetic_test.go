package train

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/model/ort/orttest"
	"github.com/evopose/evopose/search/coco"
)

// pictureSide is the side of the synthetic pictures, in pixels.
const pictureSide = 64

type object = map[string]any

// writeSet writes n pictures of one "person" each and their labels into a
// folder: 17 dots on grey, whose colours tell them apart. change, if given, may
// change the labels before they are written.
func writeSet(t testing.TB, dir string, n int, seed uint64, change ...func(images, people []object)) DataSet {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "pictures"), 0o755); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	var images, people []object
	for i := range n {
		name := fmt.Sprintf("%d.png", i)
		points := writeDots(t, filepath.Join(dir, "pictures", name), rng)
		images = append(images, object{"id": i + 1, "file_name": name, "width": pictureSide, "height": pictureSide})
		people = append(people, object{"id": i + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0,
			"bbox": []float64{4, 4, pictureSide - 8, pictureSide - 8}, "area": 2000, "num_keypoints": model.Keypoints, "keypoints": points})
	}
	for _, f := range change {
		f(images, people)
	}
	data, err := json.Marshal(object{"images": images, "annotations": people})
	if err != nil {
		t.Fatal(err)
	}
	set := DataSet{Annotations: filepath.Join(dir, "labels.json"), Images: filepath.Join(dir, "pictures")}
	if err := os.WriteFile(set.Annotations, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return set
}

// writeDots draws a picture and returns its keypoints as in COCO's files.
func writeDots(t testing.TB, path string, rng *rand.Rand) (points []float64) {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, pictureSide, pictureSide))
	for i := range img.Pix {
		img.Pix[i] = 128
	}
	for k := range model.Keypoints {
		x, y := 8+rng.IntN(pictureSide-16), 8+rng.IntN(pictureSide-16)
		points = append(points, float64(x), float64(y), 2)
		c := color.NRGBA{uint8(k % 3 * 127), uint8(k / 3 % 3 * 127), uint8(k / 9 * 255), 255}
		for dy := -2; dy <= 2; dy++ {
			for dx := -2; dx <= 2; dx++ {
				img.SetNRGBA(x+dx, y+dy, c)
			}
		}
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
	return points
}

// tinyConfig is a run of three epochs of six steps, a second or two.
func tinyConfig(t testing.TB, dir string) Config {
	t.Helper()
	g, err := model.ParseGenotype(smallGenotype)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Name: "tiny", Genotype: g, Native: model.Size{H: 64, W: 64}, Size: model.Size{H: 64, W: 48},
		Data: []DataSet{writeSet(t, filepath.Join(dir, "train"), 25, 1)}, Val: []DataSet{writeSet(t, filepath.Join(dir, "val"), 6, 2)},
		Epochs: 3, Batch: 4, Rate: 1e-3, Warmup: 0.5, L2: 1e-5, EMA: 0.9, Augment: coco.RecipeAugment, Seed: 5}
}

// tinyRun is the configuration of a tiny run with options to run it in its own
// folder, on one thread: then all is the same, to the last bit, each time.
func tinyRun(t testing.TB) (Config, Options) {
	t.Helper()
	orttest.Init(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	return tinyConfig(t, dir), Options{Dir: filepath.Join(dir, "run"), Graph: ort.GraphOptions{Threads: 1}}
}

// recorder is a Progress that keeps what it is told.
type recorder struct {
	onStep func(StepReport)

	start    *Start
	epoch    int // of Started
	step     int
	skipped  error
	steps    []StepReport
	broken   []error
	points   []Point
	measured [][]Validation
}

func (r *recorder) Started(_ *Config, start *Start, epoch, step, _ int, skipped error) {
	r.start, r.epoch, r.step, r.skipped = start, epoch, step, skipped
}

func (r *recorder) Stepped(s StepReport) {
	r.steps = append(r.steps, s)
	if r.onStep != nil {
		r.onStep(s)
	}
}

func (r *recorder) Broken(err error) { r.broken = append(r.broken, err) }

func (r *recorder) Measured(p Point, all []Validation, _ bool) {
	r.points, r.measured = append(r.points, p), append(r.measured, all)
}

// train runs to the end and returns what was told.
func train(t testing.TB, c Config, o Options) *recorder {
	t.Helper()
	r := &recorder{}
	o.Progress = r
	if err := Run(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
	return r
}

// trainUntil is interrupted after a step of an epoch, both from 1.
func trainUntil(t testing.TB, c Config, o Options, epoch, step int) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Progress = &recorder{onStep: func(s StepReport) {
		if s.Epoch == epoch && s.Step == step {
			cancel()
		}
	}}
	return Run(ctx, c, o)
}
