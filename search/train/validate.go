package train

import (
	"context"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/preprocess"
	"github.com/evopose/evopose/search/coco"
)

// validator measures a network on a labelled set with the pre- and
// postprocessing that serve: the labels' boxes, DARK, no flip test.
type validator struct {
	name    string
	set     *coco.Dataset
	network *model.Network
	options StepperOptions
	images  map[int64]int
	cache   map[int64]*image.NRGBA
	people  []*coco.Annotation
}

// validBatch is the number of crops of one run.
const validBatch = 16

func newValidator(name string, set *coco.Dataset, n *model.Network, o StepperOptions) *validator {
	v := &validator{name: name, set: set, network: n, options: o, images: set.ImagesByID(), cache: map[int64]*image.NRGBA{}}
	for i := range set.Annotations {
		if a := &set.Annotations[i]; !a.Crowd && a.Labelled() > 0 {
			v.people = append(v.people, a)
		}
	}
	return v
}

// Validation is what was measured on a set.
type Validation struct {
	Name string
	// Loss is the training loss on the set, without L2: the mean over people,
	// keypoints and pixels of valid*(heatmap-target)^2.
	Loss   float64
	Report coco.Report
}

// run measures the weights.
func (v *validator) run(ctx context.Context, w model.Weights) (result Validation, err error) {
	card := model.Card{Name: "validation", Genotype: v.network.Genotype, Input: v.network.Input, Heatmap: v.network.Heatmap}
	data, err := onnx.Export(v.network, w, card, false)
	if err != nil {
		return result, err
	}
	session, err := ort.Open(data, card, ort.Options{Provider: v.options.Graph.Provider, Threads: v.options.Graph.Threads, MaxBatch: validBatch})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	var (
		crops    = make([]float32, validBatch*3*v.network.Input.Area())
		heatmaps = make([]float32, validBatch*model.Keypoints*v.network.Heatmap.Area())
		results  []coco.Result
		loss     float64
	)
	for i := 0; i < len(v.people); i += validBatch {
		if ctx.Err() != nil {
			return result, ctx.Err()
		}
		people := v.people[i:min(i+validBatch, len(v.people))]
		affines, err := v.crop(crops, people)
		if err != nil {
			return result, err
		}
		n := len(people)
		if err := session.Run(crops[:n*len(crops)/validBatch], heatmaps[:n*len(heatmaps)/validBatch]); err != nil {
			return result, err
		}
		for j, a := range people {
			maps := heatmaps[j*len(heatmaps)/validBatch:][:len(heatmaps)/validBatch]
			loss += v.loss(maps, a, affines[j])
			results = append(results, v.result(maps, a, affines[j]))
		}
	}
	return Validation{v.name, loss / float64(len(v.people)), coco.Evaluate(v.set, results)}, nil
}

// crop cuts people out of their pictures.
func (v *validator) crop(crops []float32, people []*coco.Annotation) ([]preprocess.Affine, error) {
	affines := make([]preprocess.Affine, len(people))
	size := len(crops) / validBatch
	for i, a := range people {
		img, err := v.picture(a)
		if err != nil {
			return nil, err
		}
		affines[i] = preprocess.NewAffine(a.Box, v.network.Input)
		preprocess.Crop(crops[i*size:][:size], img, affines[i])
	}
	return affines, nil
}

// picture returns a person's picture; validation sets are small, so decoded
// pictures are kept.
func (v *validator) picture(a *coco.Annotation) (*image.NRGBA, error) {
	if img := v.cache[a.ImageID]; img != nil {
		return img, nil
	}
	path := filepath.Join(v.set.Dir, v.set.Images[v.images[a.ImageID]].FileName)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("validation: %w", err)
	}
	img, err := preprocess.Decode(data, preprocess.Limits{})
	if err != nil {
		return nil, fmt.Errorf("validation: %s: %w", path, err)
	}
	v.cache[a.ImageID] = img
	return img, nil
}

// loss is one person's.
func (v *validator) loss(heatmaps []float32, a *coco.Annotation, affine preprocess.Affine) (sum float64) {
	in, out := v.network.Input, v.network.Heatmap
	sigma := heatmapSigma(out)
	columns, rows := make([]float32, out.W), make([]float32, out.H)
	for k, p := range a.Keypoints {
		x, y := affine.ToInput(p.X, p.Y)
		if p.V == 0 || !inside(x, y, in) {
			continue
		}
		bell(columns, centre(x*float64(out.W)/float64(in.W), v.options.RoundTargets), 0, 1, sigma, 1)
		bell(rows, centre(y*float64(out.H)/float64(in.H), v.options.RoundTargets), 0, 1, sigma, model.Amplitude)
		for i, h := range heatmaps[k*out.Area():][:out.Area()] {
			d := float64(h - rows[i/out.W]*columns[i%out.W])
			sum += d * d
		}
	}
	return sum / float64(len(heatmaps))
}

func inside(x, y float64, s model.Size) bool {
	return x >= 0 && x < float64(s.W) && y >= 0 && y < float64(s.H)
}

func (v *validator) result(heatmaps []float32, a *coco.Annotation, affine preprocess.Affine) coco.Result {
	points := postprocess.Keypoints(heatmaps, v.network.Heatmap, affine, postprocess.DARK)
	r := coco.Result{ImageID: a.ImageID, AnnotationID: a.ID, Box: a.Box, Score: postprocess.PersonScore(points, 1)}
	for k, p := range points {
		r.Keypoints[k] = coco.Point{X: p.X, Y: p.Y, Score: p.Score}
	}
	return r
}
