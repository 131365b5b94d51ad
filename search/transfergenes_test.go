package search

import (
	"path"
	"testing"

	"github.com/evopose/evopose/model"
)

// origin is what happens to the tensors that a pattern names.
type origin struct {
	pattern string // as path.Match has it
	origin  Origin
}

// Every kind of change of a gene, on networks at 224x224, where widths and
// depths are the genotype's own: which tensors of which layers are not simply
// copied. In each list the first pattern that fits counts; what none names must
// be copied.
func TestTransferByGene(t *testing.T) {
	for name, tt := range map[string]struct {
		stage    int
		gene     Gene
		from, to int
		want     []origin
	}{
		"kernel shrunk": {3, Kernel, 5, 3, []origin{{"block3[ab]_dwconv/kernel", Partial}}},
		"kernel grown":  {2, Kernel, 3, 5, []origin{{"block2[ab]_dwconv/kernel", Partial}}},
		"stride to 1":   {6, Stride, 2, 1, nil},
		"a repeat less": {6, Repeats, 4, 3, nil},
		"a repeat more": {3, Repeats, 2, 3, nil}, // as wide as the block that it takes from
		"a second block": {7, Repeats, 1, 2, []origin{ // the first reads 192 channels, the second 320
			{"block7b_project_bn/*", Copied},
			{"block7b_*conv/kernel", Partial}, {"block7b_se_*/kernel", Partial}, {"block7b_*/*", Extended},
		}},
		"fewer filters": {4, Filters, 10, 6, []origin{
			{"block4a_project_*/*", Partial}, {"block4[bc]_*/*", Partial},
			{"block5a_project_bn/*", Copied}, {"block5a_*/*", Partial},
		}},
		"more filters": {4, Filters, 6, 10, []origin{
			{"block4a_project_conv/kernel", Partial}, {"block4a_project_bn/*", Extended},
			{"block4[bc]_*/kernel", Partial}, {"block4[bc]_*/*", Extended},
			{"block5a_project_bn/*", Copied}, {"block5a_*/kernel", Partial}, {"block5a_*/*", Extended},
		}},
		"fewer filters before the head": {7, Filters, 40, 12, []origin{
			{"block7a_project_*/*", Partial}, {"head_block1_conv/kernel", Partial}, // transposed, its inputs
		}},
		"more filters of a block that does not expand": {1, Filters, 1, 2, []origin{
			{"block1a_project_conv/kernel", Partial}, {"block1a_project_bn/*", Extended},
			{"block2a_project_bn/*", Copied}, {"block2a_*/kernel", Partial}, {"block2a_*/*", Extended},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			parent, child := model.GenotypeDefault, model.GenotypeDefault
			*tt.gene.of(&parent[tt.stage-1]), *tt.gene.of(&child[tt.stage-1]) = tt.from, tt.to
			size := model.Size{H: 224, W: 224}
			got := froms(t, child, size, parent, size)
			used := map[string]bool{}
			for tensor, s := range got {
				want, pattern := expected(tensor, tt.want)
				used[pattern] = true
				if s.Origin != want {
					t.Errorf("%v, want %v", s, want)
				}
			}
			for _, o := range tt.want {
				if !used[o.pattern] {
					t.Errorf("no tensor is %s", o.pattern)
				}
			}
		})
	}
}

func expected(tensor string, list []origin) (Origin, string) {
	for _, o := range list {
		if ok, _ := path.Match(o.pattern, tensor); ok {
			return o.origin, o.pattern
		}
	}
	return Copied, ""
}

// Every kind of layer with weights, from S to the wider L: stem, the parts of a
// block, head and last convolution.
func TestTransferOfEveryLayer(t *testing.T) {
	got := froms(t, model.GenotypeS, model.Size{H: 512, W: 384}, model.GenotypeS, model.Size{H: 256, W: 192})
	for tensor, want := range map[string]Origin{
		"stem_conv/kernel": Partial, "stem_bn/gamma": Extended, "stem_bn/moving_variance": Extended,
		"block2a_expand_conv/kernel": Partial, "block2a_expand_bn/beta": Extended,
		"block3a_dwconv/kernel": Partial, "block3a_bn/moving_mean": Extended,
		"block3a_se_reduce/kernel": Partial, "block3a_se_reduce/bias": Extended,
		"block3a_se_expand/kernel": Partial, "block3a_se_expand/bias": Extended,
		"block4b_project_conv/kernel": Partial, "block4b_project_bn/gamma": Extended,
		"head_block1_conv/kernel": Partial, "head_block3_bn/gamma": Extended,
		"final_conv/kernel": Partial, "final_conv/bias": Copied, // 17 keypoints at any size
	} {
		if s, ok := got[tensor]; !ok || s.Origin != want {
			t.Errorf("%v, want %v", s, want)
		}
	}
}
