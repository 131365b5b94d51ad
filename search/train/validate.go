package train

import (
	"context"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"

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
	name     string
	set      *coco.Dataset
	network  *model.Network
	options  StepperOptions
	images   map[int64]int
	pictures map[int64]*image.NRGBA // those kept
	people   []*coco.Annotation

	crops    []float32 // [validBatch,3,H,W]
	heatmaps []float32 // [validBatch,17,h,w]
}

// validBatch is the number of crops of one run.
const validBatch = 16

func newValidator(name string, set *coco.Dataset, n *model.Network, o StepperOptions) *validator {
	v := &validator{name: name, set: set, network: n, options: o, images: set.ImagesByID(), pictures: map[int64]*image.NRGBA{},
		crops: make([]float32, validBatch*3*n.Input.Area()), heatmaps: make([]float32, validBatch*model.Keypoints*n.Heatmap.Area())}
	for i := range set.Annotations {
		if a := &set.Annotations[i]; !a.Crowd && a.Labelled() > 0 && a.Box.Validate() == nil {
			v.people = append(v.people, a)
		}
	}
	return v
}

// open decodes every picture once, so that one that is broken shows before the
// training and not after its first epoch. It keeps up to budget bytes of them.
func (v *validator) open(ctx context.Context, budget int64) error {
	if len(v.people) == 0 {
		return fmt.Errorf("%s: nobody to validate on: no person has a box and a labelled keypoint", v.set.Path)
	}
	var broken []error
	seen := map[int64]bool{}
	for _, a := range v.people {
		if ctx.Err() != nil {
			return fmt.Errorf("stopped while reading the pictures of %s: %w", v.set.Path, context.Cause(ctx))
		}
		if seen[a.ImageID] {
			continue
		}
		seen[a.ImageID] = true
		img, err := v.picture(a)
		switch {
		case err != nil:
			broken = append(broken, err)
		case int64(len(img.Pix)) <= budget:
			budget -= int64(len(img.Pix))
			v.pictures[a.ImageID] = img
		}
	}
	if broken != nil {
		return fmt.Errorf("%d of the %d pictures of %s cannot be validated on: repair them or take them out of the file; the first: %w",
			len(broken), len(seen), v.set.Path, broken[0])
	}
	return nil
}

// Validation is what was measured on a set.
type Validation struct {
	Name string
	// Loss is the training loss on the set, without L2: the mean over people,
	// keypoints and pixels of valid*(heatmap-target)^2.
	Loss   float64
	Report coco.Report
}

// validate measures the weights on each set.
func validate(ctx context.Context, validators []*validator, w model.Weights) (all []Validation, err error) {
	session, err := validators[0].session(w)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	for _, v := range validators {
		result, err := v.run(ctx, session)
		if err != nil {
			return nil, err
		}
		all = append(all, result)
	}
	return all, nil
}

// run measures the network.
func (v *validator) run(ctx context.Context, session *ort.Session) (result Validation, err error) {
	var results []coco.Result
	result.Name = v.name
	for people := range slices.Chunk(v.people, validBatch) {
		if ctx.Err() != nil {
			return result, context.Cause(ctx)
		}
		loss, found, err := v.batch(session, people)
		if err != nil {
			return result, err
		}
		result.Loss += loss / float64(len(v.people))
		results = append(results, found...)
	}
	result.Report = coco.Evaluate(v.set, results)
	return result, nil
}

// session opens the network at the size of training.
func (v *validator) session(w model.Weights) (*ort.Session, error) {
	card := model.Card{Name: "validation", Genotype: v.network.Genotype, Input: v.network.Input, Heatmap: v.network.Heatmap}
	data, err := onnx.Export(v.network, w, card, false)
	if err != nil {
		return nil, err
	}
	provider := v.options.Graph.Provider
	if provider == "" {
		provider = ort.CPU
	}
	return ort.Open(data, card, ort.Options{Provider: provider, Threads: v.options.Graph.Threads, MaxBatch: validBatch, FullBatches: true, Device: v.options.Graph.Device})
}

// batch looks for up to validBatch people and returns the sum of their losses.
func (v *validator) batch(session *ort.Session, people []*coco.Annotation) (loss float64, results []coco.Result, err error) {
	affines, err := v.crop(people)
	if err != nil {
		return 0, nil, err
	}
	crop, maps := len(v.crops)/validBatch, len(v.heatmaps)/validBatch
	if err := session.Run(v.crops[:len(people)*crop], v.heatmaps[:len(people)*maps]); err != nil {
		return 0, nil, err
	}
	for i, a := range people {
		heatmaps := v.heatmaps[i*maps:][:maps]
		loss += v.loss(heatmaps, a, affines[i])
		results = append(results, v.result(heatmaps, a, affines[i]))
	}
	return loss, results, nil
}

// crop cuts people out of their pictures.
func (v *validator) crop(people []*coco.Annotation) ([]preprocess.Affine, error) {
	affines := make([]preprocess.Affine, len(people))
	size := len(v.crops) / validBatch
	for i, a := range people {
		img, err := v.picture(a)
		if err != nil {
			return nil, fmt.Errorf("validation: %w", err)
		}
		affines[i] = preprocess.NewAffine(a.Box, v.network.Input)
		preprocess.Crop(v.crops[i*size:][:size], img, affines[i])
	}
	return affines, nil
}

// picture returns a person's picture, which must have the size that its
// labels are for.
func (v *validator) picture(a *coco.Annotation) (*image.NRGBA, error) {
	if img := v.pictures[a.ImageID]; img != nil {
		return img, nil
	}
	want := v.set.Images[v.images[a.ImageID]]
	path := filepath.Join(v.set.Dir, want.FileName)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	img, err := preprocess.Decode(data, preprocess.Limits{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if size := img.Rect.Size(); want.Width > 0 && want.Height > 0 && (size.X != want.Width || size.Y != want.Height) {
		return nil, fmt.Errorf("%s is %dx%d upright, but %s says %dx%d", path, size.X, size.Y, v.set.Path, want.Width, want.Height)
	}
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
