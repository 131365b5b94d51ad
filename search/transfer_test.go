package search

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
)

func transferNetwork(t testing.TB, g model.Genotype, s model.Size) *model.Network {
	t.Helper()
	n, err := model.NewScaledNetwork(g, s, model.Size{H: 64, W: 64})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// count returns n values counting up from first.
func count(first float32, n int) []float32 {
	data := make([]float32, n)
	for i := range data {
		data[i] = first + float32(i)
	}
	return data
}

// By hand: the child's initial values are -1, the parent's count from 1.
func TestTransferTensorByHand(t *testing.T) {
	const o = -1 // an initial value, kept
	for _, tt := range []struct {
		name     string
		to, from []int
		want     []float32
		origin   Origin
		values   int
	}{
		{"same kernel", []int{1, 2, 1, 1}, []int{1, 2, 1, 1}, []float32{1, 2}, Copied, 2},
		{"pointwise, more outputs", []int{3, 2, 1, 1}, []int{2, 2, 1, 1}, []float32{1, 2, 3, 4, o, o}, Partial, 4},
		{"pointwise, fewer outputs", []int{1, 2, 1, 1}, []int{2, 2, 1, 1}, []float32{1, 2}, Partial, 2},
		{"pointwise, more inputs", []int{2, 3, 1, 1}, []int{2, 2, 1, 1}, []float32{1, 2, o, 3, 4, o}, Partial, 4},
		{"pointwise, fewer inputs", []int{2, 1, 1, 1}, []int{2, 2, 1, 1}, []float32{1, 3}, Partial, 2},
		{"pointwise, more outputs, fewer inputs", []int{3, 1, 1, 1}, []int{2, 2, 1, 1}, []float32{1, 3, o}, Partial, 2},
		{"depthwise, kernel grown", []int{1, 1, 5, 5}, []int{1, 1, 3, 3}, []float32{
			o, o, o, o, o,
			o, 1, 2, 3, o,
			o, 4, 5, 6, o,
			o, 7, 8, 9, o,
			o, o, o, o, o}, Partial, 9},
		{"depthwise, kernel shrunk", []int{1, 1, 3, 3}, []int{1, 1, 5, 5}, []float32{7, 8, 9, 12, 13, 14, 17, 18, 19}, Partial, 9},
		{"depthwise, kernel shrunk, channel added", []int{2, 1, 1, 1}, []int{1, 1, 3, 3}, []float32{5, o}, Partial, 1},
		{"depthwise, kernel shrunk, channel lost", []int{1, 1, 1, 1}, []int{2, 1, 3, 3}, []float32{5}, Partial, 1},
		{"depthwise, kernel grown, channel lost", []int{1, 1, 3, 3}, []int{2, 1, 1, 1}, []float32{o, o, o, o, 1, o, o, o, o}, Partial, 1},
		// Transposed kernels are [in, out, k, k].
		{"transposed, input added", []int{2, 1, 3, 3}, []int{1, 1, 3, 3}, []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, o, o, o, o, o, o, o, o, o}, Partial, 9},
		{"transposed, output lost", []int{2, 1, 1, 1}, []int{2, 2, 1, 1}, []float32{1, 3}, Partial, 2},
		{"transposed, input lost, output added", []int{1, 2, 1, 1}, []int{2, 1, 1, 1}, []float32{1, o}, Partial, 1},
		{"dense, kernel shrunk, input added, output lost", []int{1, 2, 1, 1}, []int{2, 1, 3, 3}, []float32{5, o}, Partial, 1},
		{"dense, kernel grown, output added", []int{2, 1, 3, 3}, []int{1, 1, 1, 1}, []float32{o, o, o, o, 1, o, o, o, o, o, o, o, o, o, o, o, o, o}, Partial, 1},
		{"vector, same", []int{2}, []int{2}, []float32{1, 2}, Copied, 2},
		{"vector, longer", []int{5}, []int{3}, []float32{1, 2, 3, 2, 2}, Extended, 3},
		{"vector, shorter", []int{1}, []int{3}, []float32{1}, Partial, 1},
	} {
		dst := slices.Repeat([]float32{o}, len(tt.want))
		src := count(1, model.Param{Shape: tt.from}.Len())
		origin, values := transferTensor(dst, tt.to, src, tt.from)
		if diff := cmp.Diff(tt.want, dst); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if origin != tt.origin || values != tt.values {
			t.Errorf("%s: %v, %d values, want %v, %d", tt.name, origin, values, tt.origin, tt.values)
		}
	}
}

// The mean that continues a vector is taken over all of the parent's values,
// in double precision.
func TestExtendedMean(t *testing.T) {
	src := slices.Repeat([]float32{1e8, 1}, 500)
	dst := make([]float32, 1001)
	transferVector(dst, src)
	if want := float32(50000000.5); dst[1000] != want {
		t.Errorf("mean %v, want %v", dst[1000], want)
	}
}

func TestStageTensor(t *testing.T) {
	for name, want := range map[string]string{
		"block3b_dwconv/kernel":       "block3_dwconv/kernel",
		"block7za_project_bn/gamma":   "block7_project_bn/gamma",
		"block1a_se_reduce/bias":      "block1_se_reduce/bias",
		"stem_conv/kernel":            "",
		"head_block1_conv/kernel":     "",
		"final_conv/bias":             "",
		"block/kernel":                "",
		"block3_without_letter/gamma": "",
	} {
		if got, ok := stageTensor(name); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v, want %q", name, got, ok, want)
		}
	}
}

// New repeats take from the parent's last block of their stage; those that the
// parent has take from their own namesake.
func TestNewRepeatsTakeFromTheLastBlock(t *testing.T) {
	parent, child := model.GenotypeS, model.GenotypeS
	parent[2].Repeats, child[2].Repeats = 2, 4
	parent[6].Repeats, child[6].Repeats = 1, 3
	child[5].Repeats = 2 // fewer
	size := model.Size{H: 256, W: 192}
	from := froms(t, child, size, parent, size)
	for name, want := range map[string]string{
		"block3a_dwconv/kernel":       "block3a_dwconv/kernel",
		"block3b_dwconv/kernel":       "block3b_dwconv/kernel",
		"block3c_dwconv/kernel":       "block3b_dwconv/kernel",
		"block3d_se_expand/bias":      "block3b_se_expand/bias",
		"block3d_project_bn/beta":     "block3b_project_bn/beta",
		"block6b_expand_conv/kernel":  "block6b_expand_conv/kernel",
		"block7b_expand_conv/kernel":  "block7a_expand_conv/kernel",
		"block7c_bn/moving_variance":  "block7a_bn/moving_variance",
		"head_block2_conv/kernel":     "head_block2_conv/kernel",
		"block1a_project_conv/kernel": "block1a_project_conv/kernel",
	} {
		if from[name].From != want {
			t.Errorf("%s comes from %q, want %q", name, from[name].From, want)
		}
	}
	// The first block of stage 7 reads 128 channels, the others 80.
	if got := from["block7b_expand_conv/kernel"]; got.Origin != Partial || got.Values != 80*480 {
		t.Errorf("%v: %d values, want 80 inputs of 480 filters", got, got.Values)
	}
}

// froms transfers between initial weights and returns the summary by tensor.
func froms(t *testing.T, child model.Genotype, childSize model.Size, parent model.Genotype, parentSize model.Size) map[string]Transferred {
	t.Helper()
	c, p := transferNetwork(t, child, childSize), transferNetwork(t, parent, parentSize)
	_, summary := Transfer(c, marked(c, -1), p, marked(p, 1))
	by := map[string]Transferred{}
	for _, s := range summary {
		by[s.Name] = s
	}
	return by
}

// The published networks from each other: nothing starts from nothing.
func TestTransferBetweenPublishedNetworks(t *testing.T) {
	for _, tt := range []struct{ child, parent, want string }{
		{"xs", "s", "copied, 0 partial, 0 extended, 0 initial; 100.0 % of the values"},
		{"s", "s", "copied, 0 partial, 0 extended, 0 initial; 100.0 % of the values"},
		{"m", "s", "0 initial"},
		{"l", "m", "0 initial"},
		{"l", "s", "0 initial"},
		{"s", "l", "0 extended, 0 initial"},
	} {
		child, parent := preset(t, tt.child), preset(t, tt.parent)
		initial, weights := marked(child, -1), marked(parent, 1)
		got, summary := Transfer(child, initial, parent, weights)
		if problems := child.Mismatch(got); problems != nil {
			t.Errorf("%s to %s: %v", tt.parent, tt.child, problems)
		}
		t.Logf("%s to %s: %v", tt.parent, tt.child, summary)
		if !strings.Contains(summary.String(), tt.want) {
			t.Errorf("%s to %s: %v, want %q in it", tt.parent, tt.child, summary, tt.want)
		}
		// M has 6 blocks in stage 2 and S has 3.
		if tt.child == "m" && !slices.Equal(got["block2e_project_bn/gamma"][:24], weights["block2c_project_bn/gamma"]) {
			t.Error("m's block2e is not s's block2c")
		}
	}
}

func preset(t *testing.T, name string) *model.Network {
	t.Helper()
	p, ok := model.FindPreset(name)
	if !ok {
		t.Fatalf("no preset %s", name)
	}
	return transferNetwork(t, p.Genotype, p.Input)
}

// marked returns weights that tell a value's place: sign*(1 + its index).
func marked(n *model.Network, sign float32) model.Weights {
	w := model.Weights{}
	for _, p := range n.Params() {
		data := make([]float32, p.Len())
		for i := range data {
			data[i] = sign * float32(1+i)
		}
		w[p.Name] = data
	}
	return w
}

func sameWeights(a, b model.Weights) bool {
	return maps.EqualFunc(a, b, slices.Equal[[]float32])
}

// anyGenotype draws a genotype within the search space.
func anyGenotype(rng *rand.Rand) model.Genotype {
	for {
		g := model.GenotypeDefault
		for i := range g {
			g[i].Kernel = 3 + 2*rng.IntN(2)
			g[i].Repeats = 1 + rng.IntN(4)
			g[i].Filters = 1 + rng.IntN(g[i].Filters)
			if i > 3 {
				g[i].Stride = 1 + rng.IntN(2)
			}
		}
		if g.Validate() == nil {
			return g
		}
	}
}

// Whatever the pair, every value of the child is what the rules, written again
// value by value, give; and neither argument is changed.
func TestTransferOfRandomPairs(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		child := transferNetwork(t, anyGenotype(rng), anySize(rng))
		parent := transferNetwork(t, anyGenotype(rng), anySize(rng))
		initial, weights := marked(child, -1), marked(parent, 1)
		got, summary := Transfer(child, initial, parent, weights)
		if problems := child.Mismatch(got); problems != nil {
			t.Fatal(problems)
		}
		shapes := shapesOf(parent)
		for i, p := range child.Params() {
			checkTensor(t, p, summary[i], got[p.Name], shapes)
		}
		if !sameWeights(initial, marked(child, -1)) || !sameWeights(weights, marked(parent, 1)) {
			t.Fatal("an argument was changed")
		}
	}
}

func anySize(rng *rand.Rand) model.Size {
	return model.Size{H: 48 + rng.IntN(150), W: 48 + rng.IntN(150)}
}

func shapesOf(n *model.Network) map[string][]int {
	shapes := map[string][]int{}
	for _, p := range n.Params() {
		shapes[p.Name] = p.Shape
	}
	return shapes
}

// checkTensor compares a transferred tensor with plainValue and the source's
// name with the rule of blocks.
func checkTensor(t *testing.T, p model.Param, s Transferred, got []float32, parent map[string][]int) {
	t.Helper()
	want := plainSource(p.Name, parent)
	if s.Name != p.Name || s.From != want {
		t.Fatalf("%s comes from %q, want %s from %q", s.Name, s.From, p.Name, want)
	}
	taken := 0
	for i, v := range got {
		value := plainValue(i, p.Shape, parent[want])
		if v != value {
			t.Fatalf("%v: value %d is %v, want %v", s, i, v, value)
		}
		if v > 0 && v == float32(math.Trunc(float64(v))) {
			taken++
		}
	}
	if s.Origin != Extended && taken != s.Values {
		t.Fatalf("%v: says that %d values are the parent's, %d are", s, s.Values, taken)
	}
}

// plainSource looks for the tensor in the parent under its own name and then
// under those of earlier blocks of the stage.
func plainSource(name string, parent map[string][]int) string {
	for {
		if _, ok := parent[name]; ok {
			return name
		}
		letter := len("block3")
		name = name[:letter] + string(name[letter]-1) + name[letter+1:]
	}
}

// plainValue gives value i of a child's tensor between marked weights.
func plainValue(i int, to, from []int) float32 {
	if len(to) == 1 {
		if i < from[0] {
			return float32(1 + i)
		}
		return float32(1+from[0]) / 2 // the mean of 1..n
	}
	place := i
	x, place := place%to[3], place/to[3]
	y, place := place%to[2], place/to[2]
	in, out := place%to[1], place/to[1]
	shift := from[2]/2 - to[2]/2 // between the centres
	y, x = y+shift, x+shift
	if out >= from[0] || in >= from[1] || y < 0 || x < 0 || y >= from[2] || x >= from[3] {
		return -float32(1 + i)
	}
	return float32(1 + ((out*from[1]+in)*from[2]+y)*from[3] + x)
}

// A network's transfer to itself is exact, with real initial weights.
func TestTransferToItselfIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 5 {
		n := transferNetwork(t, anyGenotype(rng), model.Size{H: 128, W: 96})
		weights := model.InitialWeights(n, rng.Uint64())
		got, summary := Transfer(n, model.InitialWeights(n, 1), n, weights)
		if !sameWeights(got, weights) {
			t.Errorf("%v: weights changed", n.Genotype)
		}
		for _, s := range summary {
			if s.Origin != Copied || s.Name != s.From {
				t.Errorf("%v", s)
			}
		}
	}
}

// The result shares no memory with its sources.
func TestTransferCopies(t *testing.T) {
	n := transferNetwork(t, model.GenotypeS, model.Size{H: 64, W: 64})
	initial, weights := marked(n, -1), marked(n, 1)
	got, _ := Transfer(n, initial, n, weights)
	for _, data := range got {
		data[0] = 99
	}
	if !sameWeights(initial, marked(n, -1)) || !sameWeights(weights, marked(n, 1)) {
		t.Error("writing to the result changed a source")
	}
}

func TestSummaryText(t *testing.T) {
	s := Summary{
		{Name: "block3b_dwconv/kernel", From: "block3a_dwconv/kernel", Origin: Partial, Shape: []int{8, 1, 3, 3}, FromShape: []int{8, 1, 5, 5}, Values: 72},
		{Name: "stem_bn/beta", From: "stem_bn/beta", Origin: Extended, Shape: []int{24}, FromShape: []int{16}, Values: 16},
		{Name: "new/bias", Origin: Initial, Shape: []int{4}},
	}
	if got, want := s.String(), "3 tensors: 0 copied, 1 partial, 1 extended, 1 initial; 88.0 % of the values are the parent's"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := s[0].String(), "block3b_dwconv/kernel [8 1 3 3]: partial from block3a_dwconv/kernel [8 1 5 5]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := s[2].String(), "new/bias [4]: initial"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := Summary(nil).String(), "0 tensors: 0 copied, 0 partial, 0 extended, 0 initial; 0.0 % of the values are the parent's"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
