package model

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cluesOf returns all that a file can tell of a network.
func cluesOf(t *testing.T, g Genotype, input Size) Clues {
	t.Helper()
	n, err := NewNetwork(g, input)
	if err != nil {
		t.Fatal(err)
	}
	c := Clues{Shapes: map[string][]int{}, Strides: map[string]int{}, Input: input}
	for _, p := range n.Params() {
		c.Shapes[p.Name] = p.Shape
	}
	for _, l := range n.Layers {
		if l.Kernel > 0 {
			c.Strides[l.Name] = l.Stride
		}
	}
	return c
}

// TestInferEverything: whatever the genotype and the size, the network that is
// inferred is the one that the clues are of, layer for layer. At the size where
// nothing is scaled, so is the genotype.
func TestInferEverything(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		want := randomGenotype(rng)
		input := Size{32 * (1 + rng.IntN(12)), 32 * (1 + rng.IntN(12))}
		if rng.IntN(3) == 0 {
			input = Size{256, 192}
		}
		c := cluesOf(t, want, input)
		g, size, err := c.Infer()
		if err != nil {
			t.Fatalf("%v at %v: %v", want, input, err)
		}
		n, err := NewNetwork(g, size)
		if err != nil {
			t.Fatalf("%v at %v: %v", want, input, err)
		}
		if problems := c.Contradictions(n); problems != nil || size != input {
			t.Fatalf("%v at %v: inferred %v at %v:\n%s", want, input, g, size, strings.Join(problems, "\n"))
		}
		if input == (Size{256, 192}) && g != want {
			t.Fatalf("%v: inferred %v", want, g)
		}
	}
}

// TestInferPublished: S, M and L are known by their widths alone, with and
// without the input and the strides; XS and S differ in a stride only.
func TestInferPublished(t *testing.T) {
	for _, p := range Presets {
		whole := cluesOf(t, p.Genotype, p.Input)
		alone := Clues{Shapes: whole.Shapes}
		for what, c := range map[string]Clues{"whole": whole, "weights": alone, "no input": {whole.Shapes, whole.Strides, Size{}}} {
			g, input, err := c.Infer()
			if what == "weights" && p.Input == (Size{256, 192}) {
				if err == nil || !strings.Contains(err.Error(), "say --model xs or --model s") {
					t.Errorf("%s, %s: %v", p.Name, what, err)
				}
				continue
			}
			if err != nil || g != p.Genotype || input != p.Input {
				t.Errorf("%s, %s: %v at %v, %v", p.Name, what, g, input, err)
			}
		}
	}
}

// changed returns clues of S with one change.
func changed(t *testing.T, change func(c *Clues)) Clues {
	c := cluesOf(t, GenotypeS, Size{256, 192})
	c.Shapes = maps.Clone(c.Shapes)
	change(&c)
	return c
}

func TestInferRefuses(t *testing.T) {
	other := GenotypeS
	other[1].Filters = 1
	for name, test := range map[string]struct {
		c    Clues
		want []string
	}{
		"nothing": {Clues{}, []string{"these are not the layers of an EvoPose2D network:\n  stem_conv: missing\n  head_block1_conv: missing\n  block1a_dwconv: missing",
			"and 6 more"}},
		"rank": {changed(t, func(c *Clues) { c.Shapes["stem_conv/kernel"] = []int{27, 32} }), []string{"stem_conv: its kernel has shape [27 32]: want four numbers"}},
		"filters": {changed(t, func(c *Clues) { c.Shapes["block4a_project_conv/kernel"] = []int{83, 240, 1, 1} }),
			[]string{"no genotype of the search space has these layers at input 256x192:\n  block4a_project_conv: 83 filters: the input size allows [8 16 24 32 40 48 56 64 72 80]"}},
		"kernel": {changed(t, func(c *Clues) { c.Shapes["block3a_dwconv/kernel"] = []int{144, 1, 7, 7} }), []string{"block3a_dwconv: kernel of side 7: want 3 or 5"}},
		"stem":   {changed(t, func(c *Clues) { c.Shapes["stem_conv/kernel"] = []int{36, 3, 3, 3} }), []string{"stem_conv: 36 filters: the input size gives 32"}},
		"blocks": {changed(t, func(c *Clues) { c.Shapes["block2e_bn/gamma"] = []int{144} }), []string{"block2e: the last of 5 blocks of its stage: the input size allows [1 2 3 4]"}},
		"stem, no input": {changed(t, func(c *Clues) { c.Input, c.Shapes["stem_conv/kernel"] = Size{}, []int{36, 3, 3, 3} }),
			[]string{"no published input size gives these layers; at 256x192:\n  stem_conv: 36"}},
		"stride": {changed(t, func(c *Clues) { c.Strides["block3a_dwconv"] = 1 }), []string{"genotype: stage 3: stride is 1: want one of [2]"}},
		"no strides": {Clues{Shapes: cluesOf(t, other, Size{256, 192}).Shapes}, []string{"the file does not tell the strides", "say --model FILE.yaml",
			`"genotype: 3,1,2,1 3,3,1,2 5,2,5,2`, `"input: 256x192"`}},
		"no size": {Clues{Shapes: cluesOf(t, GenotypeS, Size{128, 96}).Shapes}, []string{"they fit sizes of which height and width add up to 224 to 240; say --size"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := test.c.Infer()
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message lacks %q:\n%v", want, err)
				}
			}
		})
	}
}

// TestInferUnpublishedSize: the sum that the message gives lets the network be
// inferred.
func TestInferUnpublishedSize(t *testing.T) {
	c := cluesOf(t, GenotypeS, Size{128, 96})
	c.Input = Size{112, 112}
	if g, _, err := c.Infer(); err != nil || g != GenotypeS {
		t.Errorf("%v, %v", g, err)
	}
}

func TestContradictions(t *testing.T) {
	n, err := NewNetwork(GenotypeS, Size{256, 192})
	if err != nil {
		t.Fatal(err)
	}
	if problems := changed(t, func(*Clues) {}).Contradictions(n); problems != nil {
		t.Error(problems)
	}
	c := changed(t, func(c *Clues) {
		c.Input = Size{256, 256}
		c.Strides["block6a_dwconv"] = 2
		for _, w := range []string{"gamma", "beta", "moving_mean", "moving_variance"} {
			delete(c.Shapes, "block2a_bn/"+w)
			c.Shapes["block9a_bn/"+w] = []int{3}
		}
		c.Shapes["block2a_se_reduce/bias"] = []int{5}
		c.Shapes["final_conv/kernel"] = []int{16, 128, 1, 1}
		delete(c.Shapes, "final_conv/bias")
		c.Shapes["stem_conv/bias"] = []int{32}
	})
	want := []string{
		"input: 256x256 in the file, want 256x192",
		"block2a_bn: missing",
		"block2a_se_reduce: bias shape [5] in the file, want [4]",
		"block6a_dwconv: stride 2 in the file, want 1",
		"final_conv: kernel shape [16 128 1 1] in the file, want [17 128 1 1]",
		"final_conv: bias missing",
		"block9a_bn: the network has no such layer",
		"stem_conv: the network's has no bias",
	}
	if d := cmp.Diff(want, c.Contradictions(n)); d != "" {
		t.Error(d)
	}
}

// TestLayerKind: every layer with weights is known by its name, as what it is.
func TestLayerKind(t *testing.T) {
	n, err := NewNetwork(GenotypeDefault, Size{4096, 4096})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range n.Layers {
		kind, ok := LayerKind(l.Name)
		if ok != (len(l.params()) > 0) || ok && kind != l.Kind {
			t.Errorf("%s: %v, %v", l.Name, kind, ok)
		}
	}
	for _, name := range []string{"", "conv2d", "stem_conv_1", "block8a_bn", "block1_bn", "xblock1a_bn", "block1a_se_bn", "head_block4_conv", "block1a_dwconv2", "final_bn"} {
		if _, ok := LayerKind(name); ok {
			t.Errorf("%q is a layer", name)
		}
	}
}

func TestFaults(t *testing.T) {
	n, err := NewNetwork(GenotypeS, Size{256, 192})
	if err != nil {
		t.Fatal(err)
	}
	w := InitialWeights(n, 1)
	if faults := n.Faults(w); faults != nil {
		t.Error(faults)
	}
	w["stem_conv/kernel"][7] = float32(math.NaN())
	w["stem_conv/kernel"][8] = float32(math.Inf(-1))
	w["block1a_bn/moving_variance"][3] = -0.25
	w["block1a_bn/moving_mean"][3] = -0.25
	w["final_conv/bias"][0] = float32(math.Inf(1))
	want := []string{
		"stem_conv/kernel: 2 of 864 values are not finite, the first is NaN",
		"block1a_bn/moving_variance: 1 of 32 values are no variance, the first is -0.25",
		"final_conv/bias: 1 of 17 values are not finite, the first is +Inf",
	}
	if d := cmp.Diff(want, n.Faults(w)); d != "" {
		t.Error(d)
	}
}

func TestProblems(t *testing.T) {
	var lines []string
	for i := range 12 {
		lines = append(lines, fmt.Sprint("line ", i))
	}
	if got := (Problems{"what", lines[:10]}).Error(); strings.Contains(got, "more") || !strings.HasSuffix(got, "\n  line 9") {
		t.Error(got)
	}
	if got := (Problems{"what", lines}).Error(); !strings.HasPrefix(got, "what:\n  line 0\n") || !strings.HasSuffix(got, "line 9\n  and 2 more") {
		t.Error(got)
	}
	var p Problems
	if err := fmt.Errorf("file: %w", Problems{"what", lines}); !errors.As(err, &p) || len(p.Lines) != 12 {
		t.Error("all lines are there for who wants them")
	}
}
