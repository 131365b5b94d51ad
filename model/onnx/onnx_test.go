package onnx

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
)

func network(t testing.TB, g model.Genotype, s model.Size) *model.Network {
	t.Helper()
	n, err := model.NewNetwork(g, s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func testCard() model.Card {
	return model.Card{Name: "test", Genotype: model.GenotypeS, Input: model.Size{H: 64, W: 48}, Seed: 3, Data: "none",
		Licence: "Apache-2.0", Lineage: []string{"initial weights, seed 3", "a \"quoted\" step"}}
}

func TestWeightsRoundTrip(t *testing.T) {
	card := testCard()
	n := network(t, card.Genotype, card.Input)
	w := model.InitialWeights(n, 3)
	data, err := Export(n, w, card, false)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Export(n, w, card, false)
	if !bytes.Equal(data, again) {
		t.Error("two exports of the same model differ")
	}
	got, gotCard, err := Weights(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, got); diff != "" {
		t.Error("weights changed on the way")
	}
	if diff := cmp.Diff(card, gotCard); diff != "" {
		t.Error(diff)
	}
}

func TestHalfOnlyRoundsKernels(t *testing.T) {
	card := testCard()
	n := network(t, card.Genotype, card.Input)
	w := model.InitialWeights(n, 3)
	full, _ := Export(n, w, card, false)
	data, err := Export(n, w, card, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(data)*10 > len(full)*6 {
		t.Errorf("half precision takes %d bytes of %d", len(data), len(full))
	}
	got, _, err := Weights(data)
	if err != nil {
		t.Fatal(err)
	}
	if problems := n.Mismatch(got); problems != nil {
		t.Fatal(problems)
	}
	for name, values := range w {
		for i, v := range values {
			if d := math.Abs(float64(got[name][i] - v)); d > math.Abs(float64(v))/2048+0x1p-25 {
				t.Fatalf("%s[%d] = %v, stored as %v", name, i, v, got[name][i])
			}
		}
	}
}

// Every half is kept, and values between two halves go to the nearer one, in a
// tie to the even one.
func TestHalf(t *testing.T) {
	for h := range 0x7c00 {
		v := float64(widen(uint16(h)))
		if got := half(float32(v)); got != uint16(h) {
			t.Fatalf("half(widen(%#x)) = %#x", h, got)
		}
		if h == 0x7bff {
			continue
		}
		mid := (v + float64(widen(uint16(h+1)))) / 2
		even := uint16(h + h%2)
		if got := half(float32(mid)); got != even {
			t.Fatalf("half(%v), between %#x and its next, = %#x", mid, h, got)
		}
		if got := half(-math.Nextafter32(float32(mid), 0)); got != 0x8000|uint16(h) {
			t.Fatalf("just under %v rounds to %#x", -mid, got)
		}
	}
	for v, want := range map[float64]uint16{65519: 0x7bff, 65520: 0x7c00, math.Inf(-1): 0xfc00, 1e9: 0x7c00} {
		if got := half(float32(v)); got != want {
			t.Errorf("half(%v) = %#x, want %#x", v, got, want)
		}
	}
	if v := widen(half(float32(math.NaN()))); v == v {
		t.Error("NaN was lost")
	}
}

func TestExportNamesWhatDoesNotFit(t *testing.T) {
	n := network(t, model.GenotypeS, model.Size{H: 64, W: 48})
	w := model.InitialWeights(n, 1)
	delete(w, "block3a_dwconv/kernel")
	if _, err := Export(n, w, testCard(), false); err == nil || !strings.Contains(err.Error(), "block3a_dwconv/kernel: missing") {
		t.Errorf("error %v", err)
	}
}

func TestCheck(t *testing.T) {
	card := testCard()
	n := network(t, card.Genotype, card.Input)
	data, _ := Export(n, model.InitialWeights(n, 1), card, false)
	if err := Check(data, card); err != nil {
		t.Error(err)
	}
	other := card
	other.Genotype = model.GenotypeXS
	if err := Check(data, other); err == nil || !strings.Contains(err.Error(), "genotype") {
		t.Errorf("another genotype: %v", err)
	}
	other = card
	other.Input.H = 96
	if err := Check(data, other); err == nil || !strings.Contains(err.Error(), "input 96x48") {
		t.Errorf("another size: %v", err)
	}
	if err := Check(data[:len(data)/2], card); !errors.Is(err, ErrFormat) {
		t.Errorf("half a file: %v", err)
	}
}

// Every mutant of the search space is writable and read back the same.
func TestRandomGenotypesRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		g := model.GenotypeDefault
		for i := range g {
			g[i].Kernel, g[i].Repeats = 3+2*rng.IntN(2), 1+rng.IntN(4)
			g[i].Filters = 1 + rng.IntN(g[i].Filters)
		}
		n := network(t, g, model.Size{H: 256, W: 256})
		w := model.InitialWeights(n, 1)
		data, err := Export(n, w, model.Card{Name: "random"}, false)
		if err != nil {
			t.Fatal(err)
		}
		got, card, err := Weights(data)
		if err != nil {
			t.Fatal(err)
		}
		if card.Genotype != g || n.Mismatch(got) != nil {
			t.Fatalf("genotype %v came back as %v, %v", g, card.Genotype, n.Mismatch(got))
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	tensor := func(b []byte) []byte { // a model that holds one tensor
		graph := appendBytes(appendBytes(nil, 5, b), 12, appendString(nil, 1, "out"))
		return appendBytes(appendBytes(nil, 8, appendInt(nil, 2, 17)), 7, graph)
	}
	dims := func(d ...int64) []byte {
		var b []byte
		for _, v := range d {
			b = appendInt(b, 1, v)
		}
		return appendInt(b, 2, int64(Float))
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":         {nil, "no outputs"},
		"text":          {[]byte("hello, I am not a model"), "not a readable ONNX file"},
		"short tensor":  {tensor(dims(2, 2)), "has 0 bytes, its shape [2 2] asks for 16"},
		"huge shape":    {tensor(dims(1<<40, 1<<40)), "has shape"},
		"negative":      {tensor(dims(-1)), "has shape"},
		"element type":  {tensor(appendInt(nil, 2, 16)), "element type 16"},
		"external data": {tensor(appendInt(dims(1), 14, 1)), "outside the file"},
	} {
		_, err := Unmarshal(tt.data)
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, tt.want)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	n := network(f, model.GenotypeS, model.Size{H: 16, W: 16})
	data, err := Export(n, model.InitialWeights(n, 1), testCard(), true)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:2000])
	small := &Model{Producer: "x", Opset: 17, Graph: Graph{Outputs: []Value{{"y", Float, []Dim{{Param: "N"}, {Size: 2}}}},
		Nodes:        []Node{{Op: "Conv", Inputs: []string{"x"}, Outputs: []string{"y"}, Attributes: []Attribute{{Name: "pads", Type: AttrInts, Ints: []int64{0, 1}}}}},
		Initializers: []Tensor{{"w", Float, []int64{1}, make([]byte, 4)}}}}
	f.Add(Marshal(small))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Unmarshal(data)
		if err != nil {
			return
		}
		again, err := Unmarshal(Marshal(m))
		if err != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		if len(again.Graph.Nodes) != len(m.Graph.Nodes) || len(again.Graph.Initializers) != len(m.Graph.Initializers) {
			t.Fatal("nodes or tensors were lost")
		}
	})
}
