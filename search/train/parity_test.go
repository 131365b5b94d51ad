package train

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/model/ort/orttest"
)

// The exported network is the trained one. In training, batch normalisation
// uses the batch's statistics; with these as its moving ones the exported
// network must have the training graph's loss, on every keypoint.
func TestExportIsTheTrainedNetwork(t *testing.T) {
	orttest.Init(t)
	for name, block := range map[string]int{"blocked": 0, "native": Native} {
		t.Run(name, func(t *testing.T) {
			p := newProblem(smallNetwork(t), 5)
			n := p.network
			o := StepperOptions{Block: block, Graph: ort.GraphOptions{Threads: 1}}
			p.takeStatistics(t, o)
			heatmaps := infer(t, n, p.weights, p.crops, p.batch)
			s := p.stepper(t, o)
			for k := range model.Keypoints {
				one := onlyKeypoint(p.keypoints, k)
				got, err := s.Step(p.crops, one, 0, 1, rand.New(rand.NewPCG(1, 2)))
				if err != nil {
					t.Fatal(err)
				}
				if want := referenceLoss(n, heatmaps, one, p.batch); math.Abs(got-want) > 1e-4*want {
					t.Errorf("%s: loss %v, of the exported network %v", model.KeypointNames[k], got, want)
				}
			}
		})
	}
}

// takeStatistics gives the weights the batch's statistics as moving ones. From
// zero these become a hundredth of the batch's in a step.
func (p problem) takeStatistics(t testing.TB, o StepperOptions) {
	t.Helper()
	s := p.stepper(t, o)
	for _, param := range s.layout.moving.params {
		clear(p.weights[param.Name])
	}
	s.SetWeights(p.weights)
	if _, err := s.Step(p.crops, p.keypoints, 0, 1, rand.New(rand.NewPCG(1, 2))); err != nil {
		t.Fatal(err)
	}
	w := s.Weights()
	for _, param := range s.layout.moving.params {
		for i, v := range w[param.Name] {
			p.weights[param.Name][i] = v / (1 - model.Momentum)
		}
	}
}

// With frozen statistics a step's loss is that of the network exported before
// it, and the statistics stay.
func TestFrozenStatistics(t *testing.T) {
	orttest.Init(t)
	for name, block := range map[string]int{"blocked": 0, "native": Native} {
		t.Run(name, func(t *testing.T) {
			p := newProblem(smallNetwork(t), 3)
			s := p.stepper(t, StepperOptions{FreezeBN: true, Block: block, Graph: ort.GraphOptions{Threads: 1}})
			for step := 1; step <= 3; step++ {
				w := s.Weights()
				heatmaps := infer(t, p.network, w, p.crops, p.batch)
				want := 0.0
				for k := range model.Keypoints {
					want += referenceLoss(p.network, heatmaps, onlyKeypoint(p.keypoints, k), p.batch)
				}
				got, err := s.Step(p.crops, onlyOnes(p.keypoints), 1e-3, step, nil)
				if err != nil {
					t.Fatal(err)
				}
				if math.Abs(got-want) > 1e-4*want {
					t.Errorf("step %d: loss %v, of the exported network %v", step, got, want)
				}
			}
			after := s.Weights()
			for _, param := range s.layout.moving.params {
				if !slices.Equal(after[param.Name], p.weights[param.Name]) {
					t.Errorf("%s: changed", param.Name)
				}
			}
			if slices.Equal(after["stem_bn/gamma"], p.weights["stem_bn/gamma"]) {
				t.Error("no weights learnt")
			}
		})
	}
}

// onlyOnes returns the keypoints, each valid.
func onlyOnes(keypoints []float32) []float32 {
	all := slices.Clone(keypoints)
	for i := 2; i < len(all); i += 3 {
		all[i] = 1
	}
	return all
}

// infer runs the exported network.
func infer(t testing.TB, n *model.Network, w model.Weights, crops []float32, batch int) []float32 {
	t.Helper()
	card := model.Card{Name: "exported", Genotype: n.Genotype, Input: n.Input, Heatmap: n.Heatmap}
	data, err := onnx.Export(n, w, card, false)
	if err != nil {
		t.Fatal(err)
	}
	heatmaps := make([]float32, batch*model.Keypoints*n.Heatmap.Area())
	if err := orttest.Open(t, data, card).Run(crops, heatmaps); err != nil {
		t.Fatal(err)
	}
	return heatmaps
}

// onlyKeypoint returns the keypoints with all but one made invalid.
func onlyKeypoint(keypoints []float32, k int) []float32 {
	one := append([]float32(nil), keypoints...)
	for i := 0; i < len(one); i += 3 {
		one[i+2] = 0
		if i/3%model.Keypoints == k {
			one[i+2] = 1
		}
	}
	return one
}

// referenceLoss is the loss by its formula, pixel by pixel.
func referenceLoss(n *model.Network, heatmaps, keypoints []float32, batch int) (sum float64) {
	in, out := n.Input, n.Heatmap
	sigma := 2 * float64(out.H) / 64
	for m := range batch * model.Keypoints {
		cx := float64(keypoints[3*m]) * float64(out.W) / float64(in.W)
		cy := float64(keypoints[3*m+1]) * float64(out.H) / float64(in.H)
		for y := range out.H {
			for x := range out.W {
				dx, dy := float64(x)-cx, float64(y)-cy
				d := float64(heatmaps[(m*out.H+y)*out.W+x]) - 255*math.Exp(-(dx*dx+dy*dy)/(2*sigma*sigma))
				sum += float64(keypoints[3*m+2]) * d * d
			}
		}
	}
	return sum / float64(len(heatmaps))
}

// What a validation measures is what serve makes of best.onnx: at the native
// size the file's heatmaps are those of the moving average, and the validator
// finds the same keypoints in a run of its own.
func TestValidatorMeasuresTheExport(t *testing.T) {
	c, o := tinyRun(t)
	c.Size, c.Epochs = c.Native, 1
	r := train(t, c, o)
	data, err := os.ReadFile(filepath.Join(o.Dir, BestONNX))
	if err != nil {
		t.Fatal(err)
	}
	w, card, err := onnx.Weights(data)
	if err != nil {
		t.Fatal(err)
	}
	sets, err := load(c.Val)
	if err != nil {
		t.Fatal(err)
	}
	n, err := model.NewNetwork(card.Genotype, card.Input)
	if err != nil {
		t.Fatal(err)
	}
	card.Heatmap = n.Heatmap
	v := newValidator("val", sets[0].Data, n, StepperOptions{Graph: ort.GraphOptions{Threads: 1}})
	if err := v.open(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	all, err := validate(t.Context(), []*validator{v}, w)
	if err != nil {
		t.Fatal(err)
	}
	again, measured := all[0], r.measured[0][0]
	if math.Abs(again.Loss-measured.Loss) > 1e-5*measured.Loss || again.Report.AP != measured.Report.AP || again.Report.PCK20 != measured.Report.PCK20 {
		t.Errorf("%+v, measured %+v", again, measured)
	}
	served := make([]float32, len(v.people)*model.Keypoints*n.Heatmap.Area())
	crops := v.crops[:len(v.people)*3*n.Input.Area()]
	if err := orttest.Open(t, data, card).Run(crops, served); err != nil {
		t.Fatal(err)
	}
	for i, want := range served {
		if got := v.heatmaps[i]; math.Abs(float64(got-want)) > 1e-3 {
			t.Fatalf("value %d is %v in validation, %v served", i, got, want)
		}
	}
}

// The validator's loss is the training loss, by the formula.
func TestValidationLoss(t *testing.T) {
	orttest.Init(t)
	dir := t.TempDir()
	c := tinyConfig(t, dir)
	sets, err := load(c.Val)
	if err != nil {
		t.Fatal(err)
	}
	n := smallNetwork(t)
	v := newValidator("val", sets[0].Data, n, StepperOptions{})
	v.people[0].Keypoints[3].V = 0  // not labelled
	v.people[1].Keypoints[4].X = -9 // outside the crop
	w := newProblem(n, 1).weights
	all, err := validate(t.Context(), []*validator{v}, w)
	if err != nil {
		t.Fatal(err)
	}
	result := all[0]
	affines, err := v.crop(v.people)
	if err != nil {
		t.Fatal(err)
	}
	var keypoints []float32
	for i, a := range v.people {
		for k, p := range a.Keypoints {
			x, y := affines[i].ToInput(p.X, p.Y)
			valid := float32(1)
			if i == 0 && k == 3 || i == 1 && k == 4 {
				valid = 0
			}
			keypoints = append(keypoints, float32(x), float32(y), valid)
		}
	}
	heatmaps := infer(t, n, w, v.crops[:len(v.people)*3*n.Input.Area()], len(v.people))
	if want := referenceLoss(n, heatmaps, keypoints, len(v.people)); math.Abs(result.Loss-want) > 1e-4*want {
		t.Errorf("loss %v, want %v", result.Loss, want)
	}
}
