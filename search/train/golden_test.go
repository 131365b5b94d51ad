package train

import (
	"encoding/json"
	"hash/fnv"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
)

// The golden training step: testdata/step.py ran it in Keras, in double
// precision, and its header says what it computes and by which formulas. This
// file repeats the formulas of its weights and its batch.

// goldenPictures is the batch of the golden step.
const goldenPictures = 4

// goldenRate is Adam's rate in the golden step.
const goldenRate = 2.5e-4

// golden is testdata/step.json.
type golden struct {
	Losses []float64 `json:"losses"`  // of the first steps on the one batch, without L2's part
	LossL2 float64   `json:"loss_l2"` // L2's part of the first step's
	// Output is the first forward pass (training mode) at
	// goldenPlaces("output", pictures*17*H*W) of the NCHW heatmaps.
	Output  []float64               `json:"output"`
	Check   map[string][]float64    `json:"check"`   // first values of the batch and of some parameters
	Tensors map[string]goldenTensor `json:"tensors"` // by model.Param.Name
}

// goldenTensor is one parameter at goldenPlaces(name, length).
//
// Keras itself, in single precision, comes within 7e-5 of the largest Grad and
// 5e-7 of After. Where GradNorm is 0 the gradient is 0 in exact arithmetic and
// rounding noise otherwise (up to 1e-6 in norm): After cannot be compared.
type goldenTensor struct {
	Grad     []float64 `json:"grad"`      // first gradient, L2's part included; nil for moving statistics
	GradNorm float64   `json:"grad_norm"` // L2 norm of the whole gradient
	After    []float64 `json:"after"`     // value after one step
}

func readGolden(t testing.TB) golden {
	t.Helper()
	text, err := os.ReadFile("testdata/step.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatalf("testdata/step.json: %v", err)
	}
	return g
}

// goldenNetwork is S, with its widths at 256x192, on 128x96 pixels.
func goldenNetwork(t testing.TB) *model.Network {
	t.Helper()
	n, err := model.NewScaledNetwork(model.GenotypeS, model.Size{H: 256, W: 192}, model.Size{H: 128, W: 96})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// goldenStream is splitmix64 seeded with the FNV-1a hash of the name.
type goldenStream uint64

func newGoldenStream(name string) *goldenStream {
	h := fnv.New64a()
	h.Write([]byte(name))
	s := goldenStream(h.Sum64())
	return &s
}

func (s *goldenStream) next() uint64 {
	*s += 0x9E3779B97F4A7C15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// uniform returns the next number of [0, 1).
func (s *goldenStream) uniform() float64 { return float64(s.next()>>11) / (1 << 53) }

// noise returns the next number of [-1, 1).
func (s *goldenStream) noise() float64 { return 2*s.uniform() - 1 }

// goldenPlaces returns the flat places of a tensor of n values at which
// step.json holds them. A place may come twice.
func goldenPlaces(name string, n int) []int {
	s, places := newGoldenStream("at "+name), make([]int, 8)
	for i := range places {
		places[i] = int(s.next() % uint64(n))
	}
	return places
}

// goldenInputs returns the batch of the golden step: images [4, 3, 128, 96] and
// keypoints [4, 17, 3], rows of u and v in pixels of the input and 1 for a
// keypoint that counts in the loss, else 0.
func goldenInputs() (images, keypoints []float32) {
	const h, w = 128, 96
	images = make([]float32, goldenPictures*3*h*w)
	pixels := newGoldenStream("image")
	for i := range images {
		images[i] = float32(2 * pixels.noise())
	}
	u, v, valid := newGoldenStream("u"), newGoldenStream("v"), newGoldenStream("valid")
	for range goldenPictures * model.Keypoints {
		keypoints = append(keypoints, float32((w-1)*u.uniform()), float32((h-1)*v.uniform()), 0)
		if valid.uniform() < 0.8 {
			keypoints[len(keypoints)-1] = 1
		}
	}
	return images, keypoints
}

// goldenWeights returns the weights before the golden step. Those of any other
// network follow the same formulas: kernels of the variance of
// model.InitialWeights, the rest 0 or 1 with noise.
func goldenWeights(n *model.Network) model.Weights {
	weights := model.Weights{}
	for _, p := range n.Params() {
		s, data := newGoldenStream(p.Name), make([]float32, p.Len())
		offset, factor := goldenSpread(p)
		for i := range data {
			data[i] = float32(offset + float64(factor*s.noise()))
		}
		weights[p.Name] = data
	}
	return weights
}

// goldenSpread returns the middle and the half width of a parameter's values.
func goldenSpread(p model.Param) (middle, half float64) {
	switch strings.TrimPrefix(p.Name, p.Layer+"/") {
	case "kernel":
		return 0, goldenLimit(p)
	case "gamma", "moving_variance":
		return 1, 0.1
	}
	return 0, 0.1
}

// goldenLimit is the bound of a kernel's values.
func goldenLimit(p model.Param) float64 {
	fan := p.Shape[2] * p.Shape[3]
	if !strings.HasSuffix(p.Layer, "_dwconv") {
		fan *= p.Shape[0]
	}
	if p.Layer == "final_conv" {
		return math.Sqrt(1 / float64(fan))
	}
	return math.Sqrt(6 / float64(fan))
}

// goldenBegins reports whether data begins with the values of step.json, which
// have ten digits.
func goldenBegins(data []float32, want []float64) bool {
	for i, w := range want {
		if i >= len(data) || math.Abs(float64(data[i])-w) > 1e-9*max(1, math.Abs(w)) {
			return false
		}
	}
	return true
}

func TestGoldenStream(t *testing.T) {
	// The first numbers of splitmix64 seeded with 0, as published with
	// Java's SplittableRandom and in the xoshiro authors' C code.
	var s goldenStream
	for _, want := range []uint64{0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F} {
		if got := s.next(); got != want {
			t.Errorf("got %#x, want %#x", got, want)
		}
	}
}

func TestGoldenFormulas(t *testing.T) {
	g := readGolden(t)
	images, keypoints := goldenInputs()
	values := map[string][]float32{"image": images, "keypoints": keypoints}
	for name, data := range goldenWeights(goldenNetwork(t)) {
		values[name] = data
	}
	for name, want := range g.Check {
		if got := values[name]; !goldenBegins(got, want) {
			t.Errorf("%s begins %.10g, want %.10g", name, got[:min(len(got), 4)], want[:4])
		}
	}
}

// Every parameter is there, with a gradient exactly where it is trained.
func TestGoldenIsWhole(t *testing.T) {
	g, n := readGolden(t), goldenNetwork(t)
	for _, p := range n.Params() {
		tensor, ok := g.Tensors[p.Name]
		switch {
		case !ok:
			t.Errorf("%s: missing in step.json", p.Name)
		case len(tensor.After) != 8:
			t.Errorf("%s: %d values after the step, want 8", p.Name, len(tensor.After))
		case p.Trainable && len(tensor.Grad) != 8, !p.Trainable && tensor.Grad != nil:
			t.Errorf("%s: %d gradients, trainable %v", p.Name, len(tensor.Grad), p.Trainable)
		}
	}
	if len(g.Tensors) != len(n.Params()) {
		t.Errorf("%d tensors, the network has %d", len(g.Tensors), len(n.Params()))
	}
}

// L2's loss follows from the weights alone, to the last place of the reference.
func TestGoldenL2(t *testing.T) {
	sum := 0.0
	for name, data := range goldenWeights(goldenNetwork(t)) {
		if strings.HasSuffix(name, "/kernel") {
			for _, w := range data {
				sum += float64(w) * float64(w)
			}
		}
	}
	if want := readGolden(t).LossL2; math.Abs(1e-5*sum-want) > 1e-12 {
		t.Errorf("1e-5 * sum of squares is %.15g, want %.15g", 1e-5*sum, want)
	}
}

// In Adam's first step m = .1 g and v = .001 g^2, so that
// w -= rate * g / (|g| + epsilon*sqrt(1000)), Keras's epsilon being added
// before the correction of v.
func TestGoldenAdam(t *testing.T) {
	g := readGolden(t)
	weights := goldenWeights(goldenNetwork(t))
	for name, tensor := range g.Tensors {
		for i, place := range goldenPlaces(name, len(weights[name])) {
			if tensor.Grad == nil {
				continue
			}
			grad := tensor.Grad[i]
			want := float64(weights[name][place]) - goldenRate*grad/(math.Abs(grad)+1e-7*math.Sqrt(1000))
			if math.Abs(tensor.After[i]-want) > 1e-9 {
				// A zero gradient's rounding moves it by up to the rate.
				if tensor.GradNorm > 0 || math.Abs(tensor.After[i]-want) > goldenRate {
					t.Errorf("%s at %d: %.10g after the step, want %.10g", name, place, tensor.After[i], want)
				}
			}
		}
	}
}

// The moving statistics take in a hundredth of the batch's, so that they give
// those back; a batch's variance is not negative.
func TestGoldenMoving(t *testing.T) {
	g := readGolden(t)
	weights := goldenWeights(goldenNetwork(t))
	for name, tensor := range g.Tensors {
		if !strings.HasSuffix(name, "/moving_variance") {
			continue
		}
		for i, place := range goldenPlaces(name, len(weights[name])) {
			batch := (tensor.After[i] - model.Momentum*float64(weights[name][place])) / (1 - model.Momentum)
			if batch <= 0 {
				t.Errorf("%s at %d: the batch's variance is %g", name, place, batch)
			}
		}
	}
}

func TestGoldenLosses(t *testing.T) {
	g := readGolden(t)
	if len(g.Losses) != 4 || len(g.Output) != 8 {
		t.Fatalf("%d losses and %d output values, want 4 and 8", len(g.Losses), len(g.Output))
	}
	for i := 1; i < len(g.Losses); i++ {
		if g.Losses[i] >= g.Losses[i-1] {
			t.Errorf("loss of step %d is %g, not below %g", i+1, g.Losses[i], g.Losses[i-1])
		}
	}
}
