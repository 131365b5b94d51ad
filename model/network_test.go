package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func network(t testing.TB, g Genotype, s Size) *Network {
	t.Helper()
	n, err := NewNetwork(g, s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The numbers are those of the paper's table, in Keras's counting
// (design/evopose2d.md, section 1).
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
			n := network(t, tt.genotype, tt.input)
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

// Some layers of S worked out by hand from design/evopose2d.md, section 1:
// block 2b is number 2, from 0, of 18 (drop-connect 0.2*2/18), its squeeze has
// int(24/4) = 6 filters, 3x3 stride 2 pads 0 before and 1 after, 5x5 stride 2
// pads 1 and 2.
func TestLayersOfS(t *testing.T) {
	layers := map[string]Layer{}
	for _, l := range network(t, GenotypeS, Size{256, 192}).Layers {
		layers[l.Name] = l
	}
	for _, want := range []Layer{
		{Name: "stem_conv", Kind: Conv, Inputs: []string{"image"}, In: Shape{3, 256, 192}, Out: Shape{32, 128, 96},
			Kernel: 3, Stride: 2, Pads: [4]int{0, 0, 1, 1}},
		{Name: "stem_swish", Kind: Swish, Inputs: []string{"stem_bn"}, In: Shape{32, 128, 96}, Out: Shape{32, 128, 96}},
		{Name: "block1a_dwconv", Kind: DepthwiseConv, Inputs: []string{"stem_swish"}, In: Shape{32, 128, 96}, Out: Shape{32, 128, 96},
			Kernel: 3, Stride: 1, Pads: [4]int{1, 1, 1, 1}},
		{Name: "block2a_expand_conv", Kind: Conv, Inputs: []string{"block1a_project_bn"}, In: Shape{16, 128, 96}, Out: Shape{96, 128, 96},
			Kernel: 1, Stride: 1},
		{Name: "block2b_se_reduce", Kind: Conv, Inputs: []string{"block2b_se_squeeze"}, In: Shape{144, 1, 1}, Out: Shape{6, 1, 1},
			Kernel: 1, Stride: 1, Bias: true},
		{Name: "block2b_se_excite", Kind: Multiply, Inputs: []string{"block2b_swish", "block2b_se_sigmoid"}, In: Shape{144, 64, 48}, Out: Shape{144, 64, 48}},
		{Name: "block2b_add", Kind: Add, Inputs: []string{"block2a_project_bn", "block2b_project_bn"}, In: Shape{24, 64, 48}, Out: Shape{24, 64, 48},
			DropRate: 0.2 * 2 / 18},
		{Name: "block3a_dwconv", Kind: DepthwiseConv, Inputs: []string{"block3a_expand_swish"}, In: Shape{144, 64, 48}, Out: Shape{144, 32, 24},
			Kernel: 5, Stride: 2, Pads: [4]int{1, 1, 2, 2}},
		{Name: "head_block1_conv", Kind: ConvTranspose, Inputs: []string{"block7b_add"}, In: Shape{80, 16, 12}, Out: Shape{128, 32, 24},
			Kernel: 3, Stride: 2, Pads: [4]int{0, 0, 1, 1}},
		{Name: "final_conv", Kind: Conv, Inputs: []string{"head_block3_swish"}, In: Shape{128, 128, 96}, Out: Shape{17, 128, 96},
			Kernel: 1, Stride: 1, Bias: true},
	} {
		if diff := cmp.Diff(want, layers[want.Name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Name, diff)
		}
	}
	for _, absent := range []string{"block1a_expand_conv", "block1a_add", "block2a_add", "block5a_add"} {
		if _, ok := layers[absent]; ok {
			t.Errorf("there is a layer %s", absent)
		}
	}
}

func TestInputSizeMustFitStride(t *testing.T) {
	for _, tt := range []struct {
		g    Genotype
		s    Size
		want string
	}{
		{GenotypeS, Size{250, 192}, "input size 250x192: height and width must be multiples of 16"},
		{GenotypeS, Size{256, 190}, "multiples of 16"},
		{GenotypeS, Size{0, 192}, "multiples of 16"},
		{GenotypeS, Size{-16, 16}, "multiples of 16"},
		{GenotypeS, Size{8192, 8192}, "up to 4096"},
		{GenotypeXS, Size{272, 192}, "multiples of 32"},
		{Genotype{}, Size{256, 192}, "stage 1: kernel is 0"},
	} {
		if _, err := NewNetwork(tt.g, tt.s); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("size %v: error %v, want %q in it", tt.s, err, tt.want)
		}
	}
}

// A network on a smaller input takes the weights of the size it is scaled for:
// the same tensors in the same order, and the same drop-connect.
func TestScaledNetworkHasTheSameWeights(t *testing.T) {
	for _, tt := range []struct{ scaled, input Size }{
		{Size{256, 192}, Size{128, 96}}, {Size{256, 192}, Size{192, 144}}, {Size{512, 384}, Size{128, 96}}, {Size{96, 64}, Size{256, 192}},
	} {
		own := network(t, GenotypeS, tt.scaled)
		n, err := NewScaledNetwork(GenotypeS, tt.scaled, tt.input)
		if err != nil {
			t.Fatal(err)
		}
		if n.Input != tt.input || n.Heatmap != (Size{tt.input.H / 2, tt.input.W / 2}) {
			t.Errorf("%v: input %v, heatmap %v", tt, n.Input, n.Heatmap)
		}
		if problems := n.Mismatch(InitialWeights(own, 1)); problems != nil {
			t.Errorf("%v: %v", tt, problems)
		}
		if checksum(n, InitialWeights(n, 1)) != checksum(own, InitialWeights(own, 1)) {
			t.Errorf("%v: other initial weights or another order", tt)
		}
		for i, l := range n.Layers {
			if want := own.Layers[i]; l.Name != want.Name || l.DropRate != want.DropRate {
				t.Errorf("%v: layer %s drops %v, want %s, %v", tt, l.Name, l.DropRate, want.Name, want.DropRate)
			}
		}
		if err := checkShapes(n); err != nil {
			t.Errorf("%v: %v", tt, err)
		}
	}
}

func TestScaledSizeMustBeSensible(t *testing.T) {
	for _, scaled := range []Size{{0, 192}, {256, -1}, {8192, 192}} {
		_, err := NewScaledNetwork(GenotypeS, scaled, Size{128, 96})
		if want := fmt.Sprintf("scaled size %v", scaled); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if n, err := NewScaledNetwork(GenotypeS, Size{250, 190}, Size{128, 96}); err != nil || n == nil {
		t.Errorf("a scaled size need not be a multiple of the stride: %v", err)
	}
}

// same is checked against its definition: Keras pads so that the output has
// ceil(in/stride) places, at most one more after than before.
func TestSame(t *testing.T) {
	for in := 1; in <= 40; in++ {
		for kernel := 1; kernel <= 5; kernel += 2 {
			for stride := 1; stride <= 2; stride++ {
				out, before, after := same(in, kernel, stride)
				fits := (in+before+after-kernel)/stride + 1
				if want := int(math.Ceil(float64(in) / float64(stride))); out != want || fits != want {
					t.Errorf("in %d k %d s %d: out %d, padded %d, want %d", in, kernel, stride, out, fits, want)
				}
				if before < 0 || after-before < 0 || after-before > 1 {
					t.Errorf("in %d k %d s %d: pads %d, %d", in, kernel, stride, before, after)
				}
			}
		}
	}
	if _, before, after := same(256, 3, 2); before != 0 || after != 1 {
		t.Errorf("3x3 stride 2 on 256: pads %d, %d, want 0, 1", before, after)
	}
}

func TestBlockNames(t *testing.T) {
	for _, tt := range []struct {
		stage, repeat int
		want          string
	}{{0, 0, "block1a"}, {6, 25, "block7z"}, {3, 26, "block4za"}, {3, 53, "block4zzb"}} {
		if got := blockName(tt.stage, tt.repeat); got != tt.want {
			t.Errorf("%d, %d: %s, want %s", tt.stage, tt.repeat, got, tt.want)
		}
	}
}

// randomSize draws a size that fits every genotype.
func randomSize(rng *rand.Rand) Size { return Size{32 * (1 + rng.IntN(16)), 32 * (1 + rng.IntN(16))} }

func TestRandomNetworksAreConsistent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := network(t, randomGenotype(rng), randomSize(rng))
		if err := checkShapes(n); err != nil {
			t.Fatalf("%v at %v: %v", n.Genotype, n.Input, err)
		}
		wantTotal, wantTrainable, wantAdds := countByFormula(n.Genotype, n.Input)
		if total, trainable := n.Parameters(); total != wantTotal || trainable != wantTrainable || n.MultiplyAdds() != wantAdds {
			t.Fatalf("%v at %v: %d, %d, %d, by the formula %d, %d, %d", n.Genotype, n.Input,
				total, trainable, n.MultiplyAdds(), wantTotal, wantTrainable, wantAdds)
		}
	}
}

// countByFormula adds up parameters and multiply-adds block by block without
// building layers.
func countByFormula(g Genotype, input Size) (total, trainable, adds int64) {
	s, area := NewScaling(input), input.Area()
	conv := func(weights, places int) { total += int64(weights); adds += int64(weights * places) }
	norms := 0
	in := s.Filters(32)
	area /= 4
	conv(27*in, area)
	norms += in
	for i, stage := range g {
		out := s.Filters(8 * stage.Filters)
		for r := range s.Repeats(stage.Repeats) {
			wide := in * Expand[i]
			if Expand[i] > 1 {
				conv(in*wide, area)
				norms += wide
			}
			if r == 0 {
				area /= stage.Stride * stage.Stride
			}
			conv(stage.Kernel*stage.Kernel*wide, area)
			squeezed := max(1, in/4)
			conv(2*wide*squeezed, 1)
			total += int64(wide + squeezed)
			conv(wide*out, area)
			norms += wide + out
			in = out
		}
	}
	for range 3 {
		out := s.Filters(128)
		conv(9*in*out, area)
		norms += out
		in, area = out, 4*area
	}
	conv(17*in, area)
	total += 17
	return total + int64(4*norms), total + int64(2*norms), adds
}

// checkShapes follows every layer's inputs and checks its shape by the
// definition of its kind.
func checkShapes(n *Network) error {
	shapes := map[string]Shape{InputName: {3, n.Input.H, n.Input.W}}
	for _, l := range n.Layers {
		in, ok := shapes[l.Inputs[0]]
		if !ok || in != l.In {
			return fmt.Errorf("%s: input %s is %v, declared %v", l.Name, l.Inputs[0], in, l.In)
		}
		if _, twice := shapes[l.Name]; twice {
			return fmt.Errorf("two layers are called %s", l.Name)
		}
		want := l.Out
		switch l.Kind {
		case Conv, DepthwiseConv:
			want.H = (in.H+l.Pads[0]+l.Pads[2]-l.Kernel)/l.Stride + 1
			want.W = (in.W+l.Pads[1]+l.Pads[3]-l.Kernel)/l.Stride + 1
			if l.Kind == DepthwiseConv {
				want.C = in.C
			}
		case ConvTranspose:
			want.H = (in.H-1)*l.Stride + l.Kernel - l.Pads[0] - l.Pads[2]
			want.W = (in.W-1)*l.Stride + l.Kernel - l.Pads[1] - l.Pads[3]
		case GlobalPool:
			want = Shape{in.C, 1, 1}
		default:
			want = in
		}
		if l.Out != want {
			return fmt.Errorf("%s: %v gives %v, declared %v", l.Name, in, want, l.Out)
		}
		if len(l.Inputs) > 1 {
			second := map[Kind]Shape{Add: in, Multiply: {in.C, 1, 1}}[l.Kind]
			if got := shapes[l.Inputs[1]]; got != second {
				return fmt.Errorf("%s: second input is %v, want %v", l.Name, got, second)
			}
		}
		if l.DropRate < 0 || l.DropRate >= 0.5 || l.DropRate > 0 && l.Kind != Add {
			return fmt.Errorf("%s: drop-connect rate %v", l.Name, l.DropRate)
		}
		shapes[l.Name] = l.Out
	}
	if got, want := shapes["final_conv"], (Shape{Keypoints, n.Heatmap.H, n.Heatmap.W}); got != want {
		return fmt.Errorf("heatmaps are %v, declared %v", got, want)
	}
	return nil
}
