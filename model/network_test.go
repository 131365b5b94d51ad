package model

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The numbers are those of the paper's table, in Keras's counting.
func TestPublishedNetworks(t *testing.T) {
	for _, tt := range []struct {
		name             string
		genotype         Genotype
		input, heatmap   Size
		total, trainable int64
		giga             float64 // multiply-adds, to the digits given
		digits           float64
	}{
		{"XS", GenotypeXS, Size{256, 192}, Size{64, 48}, 2531199, 2496239, 0.462, 0.0005},
		{"S", GenotypeS, Size{256, 192}, Size{128, 96}, 2531199, 2496239, 1.064, 0.0005},
		{"M", GenotypeS, Size{384, 288}, Size{192, 144}, 7341609, 7256105, 5.551, 0.0005},
		{"L", GenotypeS, Size{512, 384}, Size{256, 192}, 14709587, 14566883, 17.59, 0.005},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := NewNetwork(tt.genotype, tt.input)
			if err != nil {
				t.Fatal(err)
			}
			total, trainable := n.Parameters()
			if total != tt.total || trainable != tt.trainable {
				t.Errorf("parameters %d (%d trainable), want %d (%d)", total, trainable, tt.total, tt.trainable)
			}
			if got := float64(n.MultiplyAdds()) / 1e9; math.Abs(got-tt.giga) > tt.digits {
				t.Errorf("multiply-adds %.4f G, want %v", got, tt.giga)
			}
			if n.Heatmap != tt.heatmap {
				t.Errorf("heatmap %v, want %v", n.Heatmap, tt.heatmap)
			}
		})
	}
}

func TestGenotypeText(t *testing.T) {
	const text = "3,1,2,1 3,3,3,2 5,2,5,2 3,4,10,2 5,2,14,1 5,4,16,1 3,2,10,1"
	g, err := ParseGenotype(text)
	if err != nil || g != GenotypeS || g.String() != text {
		t.Fatalf("ParseGenotype = %v, %v", g, err)
	}
	for bad, want := range map[string]string{
		"":                                      "has 0 stages",
		text + " 3,1,2,1":                       "has 8 stages",
		strings.Replace(text, "3", "4", 1):      "stage 1: kernel is 4: want one of [3 5]",
		strings.Replace(text, ",14,", ",0,", 1): "stage 5: filters/8 is 0",
		strings.Replace(text, "5,4,16,1", "5,4,16,3", 1): "stage 6: stride is 3",
		strings.Replace(text, "5,4,16,1", "5,9,16,1", 1): "stage 6: repeats is 9",
		strings.Replace(text, "5,4,16,1", "5,x,16,1", 1): `stage 6: repeats is "x"`,
		strings.Replace(text, "5,4,16,1", "5,4,16", 1):   "want kernel,repeats,filters/8,stride",
	} {
		if _, err := ParseGenotype(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseGenotype(%q) = %v, want %q in it", bad, err, want)
		}
	}
}

func TestInputSizeMustFitStride(t *testing.T) {
	for _, s := range []Size{{250, 192}, {256, 190}, {0, 192}, {-16, 16}, {8192, 8192}} {
		if _, err := NewNetwork(GenotypeS, s); err == nil || !strings.Contains(err.Error(), "multiples of 16") {
			t.Errorf("size %v: error %v", s, err)
		}
	}
}

func TestScaling(t *testing.T) {
	at224 := NewScaling(Size{224, 224})
	if at224.Depth != 1 || at224.Width != 1 {
		t.Fatalf("224 px is the base size, got %+v", at224)
	}
	// By hand: 11 -> 8 is more than a tenth less, so 16; 12 rounds up.
	for n, want := range map[int]int{1: 8, 8: 8, 11: 16, 12: 16, 19: 24, 20: 24, 32: 32} {
		if got := at224.Filters(n); got != want {
			t.Errorf("Filters(%d) = %d, want %d", n, got, want)
		}
	}
	for size, want := range map[int]float64{224: 0.2, 240: 0.2, 241: 0.3, 448: 0.4, 512: 0.5} {
		if got := NewScaling(Size{size, size}).DropConnect; got != want {
			t.Errorf("drop-connect at %d = %v, want %v", size, got, want)
		}
	}
}

// randomGenotype draws from a space a little wider than the search's.
func randomGenotype(rng *rand.Rand) (g Genotype) {
	for i := range g {
		g[i] = Stage{3 + 2*rng.IntN(2), 1 + rng.IntN(4), 1 + rng.IntN(40), 1 + rng.IntN(2)}
	}
	return g
}

func TestRandomNetworksAreConsistent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		g := randomGenotype(rng)
		n, err := NewNetwork(g, Size{256, 256})
		if err != nil {
			t.Fatal(err)
		}
		checkShapes(t, n)
	}
}

// checkShapes follows every layer's inputs and checks its shape by the
// definition of its kind.
func checkShapes(t *testing.T, n *Network) {
	t.Helper()
	shapes := map[string]Shape{InputName: {3, n.Input.H, n.Input.W}}
	for _, l := range n.Layers {
		in, ok := shapes[l.Inputs[0]]
		if !ok || in != l.In {
			t.Fatalf("%v: %s: input %s is %v, declared %v", n.Genotype, l.Name, l.Inputs[0], in, l.In)
		}
		if _, twice := shapes[l.Name]; twice {
			t.Fatalf("%v: two layers are called %s", n.Genotype, l.Name)
		}
		switch l.Kind {
		case Conv, DepthwiseConv:
			h := (in.H+l.Pads[0]+l.Pads[2]-l.Kernel)/l.Stride + 1
			w := (in.W+l.Pads[1]+l.Pads[3]-l.Kernel)/l.Stride + 1
			if h != l.Out.H || w != l.Out.W {
				t.Fatalf("%v: %s: %v gives %dx%d, declared %v", n.Genotype, l.Name, in, h, w, l.Out)
			}
		case ConvTranspose:
			if h := (in.H-1)*l.Stride + l.Kernel - l.Pads[0] - l.Pads[2]; h != l.Out.H {
				t.Fatalf("%v: %s: %v gives height %d, declared %v", n.Genotype, l.Name, in, h, l.Out)
			}
		case Add:
			if shapes[l.Inputs[1]] != in {
				t.Fatalf("%v: %s adds %v to %v", n.Genotype, l.Name, shapes[l.Inputs[1]], in)
			}
		case Multiply:
			if shapes[l.Inputs[1]] != (Shape{in.C, 1, 1}) {
				t.Fatalf("%v: %s multiplies %v by %v", n.Genotype, l.Name, in, shapes[l.Inputs[1]])
			}
		}
		shapes[l.Name] = l.Out
	}
}

func TestInitialWeights(t *testing.T) {
	n, err := NewNetwork(GenotypeS, Size{256, 192})
	if err != nil {
		t.Fatal(err)
	}
	w := InitialWeights(n, 7)
	if diff := cmp.Diff(w, InitialWeights(n, 7)); diff != "" {
		t.Fatal("two calls differ")
	}
	if problems := n.Mismatch(w); problems != nil {
		t.Fatal(problems)
	}
	xs, _ := NewNetwork(GenotypeXS, Size{256, 192})
	if !cmp.Equal(w["stem_conv/kernel"], InitialWeights(xs, 7)["stem_conv/kernel"]) {
		t.Error("a layer's initial values depend on the rest of the network")
	}
	if cmp.Equal(w["stem_conv/kernel"], InitialWeights(n, 8)["stem_conv/kernel"]) {
		t.Error("the seed has no effect")
	}
	for name, variance := range map[string]float64{
		"head_block2_conv/kernel":    2.0 / (9 * 128),
		"block6b_expand_conv/kernel": 2.0 / 768,
		"final_conv/kernel":          1.0 / (3 * 17),
	} {
		checkVariance(t, name, w[name], variance)
	}
}

func checkVariance(t *testing.T, name string, data []float32, want float64) {
	t.Helper()
	var sum, squares float64
	for _, v := range data {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	mean, n := sum/float64(len(data)), float64(len(data))
	got := squares/n - mean*mean
	// Five standard errors of a variance estimate (kurtosis below a normal's).
	if tolerance := 5 * want * math.Sqrt(2/n); math.Abs(got-want) > tolerance {
		t.Errorf("%s: variance %g, want %g +- %g", name, got, want, tolerance)
	}
}

func TestMismatchNamesEachLayer(t *testing.T) {
	n, _ := NewNetwork(GenotypeS, Size{64, 64})
	w := InitialWeights(n, 1)
	delete(w, "stem_conv/kernel")
	w["final_conv/bias"] = w["final_conv/bias"][:3]
	w["odd/one"] = nil
	want := []string{
		"stem_conv/kernel: missing",
		"final_conv/bias: has 3 values, want 17 (shape [17])",
		"odd/one: the network has no such weights",
	}
	if diff := cmp.Diff(want, n.Mismatch(w)); diff != "" {
		t.Error(diff)
	}
}
