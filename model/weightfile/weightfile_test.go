package weightfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

var small = &File{
	Tensors: map[string]Tensor{
		"a_conv/kernel": golden(0, 2, 3, 1, 1), "a_conv/bias": golden(1, 2),
		"a_bn/gamma": golden(2, 2), "a_bn/beta": golden(3, 2), "a_bn/moving_mean": golden(4, 2), "a_bn/moving_variance": golden(5, 2),
		"scalar": golden(6), "empty": golden(7, 0, 2),
	},
	Meta: map[string]string{"b": "ä \"\u2028\"", "a": ""},
}

// What Write writes Read reads, and every time the same bytes.
func TestWriteRead(t *testing.T) {
	for _, extension := range Extensions {
		path := filepath.Join(t.TempDir(), "small"+extension)
		if err := Write(path, small); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(small.Meta, got.Meta); diff != "" {
			t.Errorf("%s: %s", extension, diff)
		}
		want, _, _ := small.Weights()
		w, _, err := got.Weights()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, w); diff != "" {
			t.Errorf("%s: %s", extension, diff)
		}
		first, _ := os.ReadFile(path)
		if again, err := Encode(extension, small); err != nil || !bytes.Equal(first, again) {
			t.Errorf("%s: other bytes the second time, %v", extension, err)
		}
	}
}

func TestTorchNames(t *testing.T) {
	data, err := Encode(".pt", small)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a_bn.bias", "a_bn.running_mean", "a_bn.running_var", "a_bn.weight", "a_conv.bias", "a_conv.weight", "empty", "scalar"}
	var got []string
	for name := range f.Tensors {
		got = append(got, name)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a_bn.num_batches_tracked"}, f.Skipped); diff != "" {
		t.Error(diff)
	}
}

// Names with and without "module.", of a layer that is not batch normalisation
// though it has one dimension, and of names that are neither.
func TestParamNames(t *testing.T) {
	one := golden(0, 1)
	f := &File{Tensors: map[string]Tensor{
		"module.a.b_conv.weight": one, "module.a.b_conv.bias": one, "module.bn.weight": one, "module.bn.bias": one,
		"module.bn.running_mean": one, "module.bn.running_var": one, "x/kernel": one, "x/y.weight": one, "other": one,
	}}
	_, shapes, err := f.Weights()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a.b_conv/kernel", "a.b_conv/bias", "bn/gamma", "bn/beta", "bn/moving_mean", "bn/moving_variance", "x/kernel", "x/y.weight", "other"} {
		if _, ok := shapes[want]; !ok {
			t.Errorf("%s is missing in %v", want, shapes)
		}
	}
	f.Tensors["a.b_conv/bias"] = one
	if _, _, err := f.Weights(); err == nil || !strings.Contains(err.Error(), "is called a.b_conv/bias here") {
		t.Error(err)
	}
}

// PyTorch maps archives into memory and wants members at multiples of 64.
func TestAlignment(t *testing.T) {
	data, err := Encode(".pt", small)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range z.File {
		at, err := m.DataOffset()
		if err != nil || at%alignment != 0 || m.Method != zip.Store {
			t.Errorf("%s begins at %d by method %d, %v", m.Name, at, m.Method, err)
		}
	}
}

// Each element of an array by plain indices.
func TestGather(t *testing.T) {
	raw := encode(golden(0, 200).Data)
	for _, a := range []array{
		{shape: []int{3, 4, 5}, stride: []int{1, 3, 12}, offset: 7},
		{shape: []int{2, 2, 2}, stride: []int{0, 50, 1}},
		{shape: []int{5, 1}, stride: []int{40, 199}, offset: 39},
	} {
		a.kind, a.raw = float32s, raw
		got, err := a.tensor(newBudget(raw))
		if err != nil {
			t.Fatal(err)
		}
		for i := range got.Data {
			at, rest := a.offset, i
			for d := len(a.shape) - 1; d >= 0; d-- {
				at += rest % a.shape[d] * a.stride[d]
				rest /= a.shape[d]
			}
			if want := float32(at) / 8; got.Data[i] != want {
				t.Fatalf("%v, element %d: %v, want %v", a, i, got.Data[i], want)
			}
		}
	}
}

func TestKinds(t *testing.T) {
	for _, test := range []struct {
		kind kind
		raw  []byte
		want float32
	}{
		{float16, []byte{0x00, 0x3c}, 1}, {float16, []byte{0xff, 0xfb}, -65504}, {float16, []byte{1, 0}, 0x1p-24},
		{bfloat16, []byte{0x80, 0x3f}, 1}, {bfloat16, []byte{0x49, 0xc0}, -3.140625},
		{float32s, []byte{0, 0, 0x80, 0x7f}, float32(math.Inf(1))},
		{float64s, []byte{0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f}, 0.1},
	} {
		if got := test.kind.read(test.raw); got != test.want {
			t.Errorf("%s % x: %v, want %v", test.kind.name, test.raw, got, test.want)
		}
	}
}

func TestNewAndParseModel(t *testing.T) {
	n, err := model.NewNetwork(model.GenotypeXS, model.Size{H: 64, W: 64})
	if err != nil {
		t.Fatal(err)
	}
	w := model.InitialWeights(n, 3)
	card := model.Card{Name: "xs", Genotype: n.Genotype, Input: n.Input, Seed: 3, Data: "none", Licence: "CC0-1.0", Lineage: []string{"a", "b"}}
	f, err := New(n, w, card)
	if err != nil {
		t.Fatal(err)
	}
	onnxFile, err := onnx.Export(n, w, card, false)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{".onnx": onnxFile}
	for _, extension := range Extensions {
		if files[extension], err = Encode(extension, f); err != nil {
			t.Fatal(err)
		}
	}
	for extension, data := range files {
		m, err := ParseModel(data)
		if err != nil {
			t.Fatalf("%s: %v", extension, err)
		}
		if m.Card == nil || cmp.Diff(card, *m.Card) != "" || cmp.Diff(w, m.Weights) != "" || m.Check(n) != nil {
			t.Errorf("%s: card %+v, check %v", extension, m.Card, m.Check(n))
		}
	}
	if _, err := ParseModel([]byte("text")); !errors.Is(err, ErrUnknownFormat) || !strings.Contains(err.Error(), "nor an ONNX file") {
		t.Error(err)
	}
	w["stem_conv/kernel"][4] = float32(math.NaN())
	if _, err := New(n, w, card); err == nil || !strings.Contains(err.Error(), "stem_conv/kernel[4] is NaN") {
		t.Error(err)
	}
	delete(w, "stem_conv/kernel")
	if _, err := New(n, w, card); err == nil || !strings.Contains(err.Error(), "stem_conv/kernel: missing") {
		t.Error(err)
	}
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "a.h5"), small); err == nil || !strings.Contains(err.Error(), "a.h5: want a file that ends in one of .npz .safetensors .pt .pth") {
		t.Error(err)
	}
	bad := &File{Tensors: map[string]Tensor{"a": {[]int{2}, nil}}}
	if err := Write(filepath.Join(dir, "a.npz"), bad); err == nil || !strings.Contains(err.Error(), "tensor a: 0 values do not fill shape [2]") {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v %v", entries, err)
	}
}
