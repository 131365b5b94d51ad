package weightfile

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden is tensor number t of testdata/golden.py.
func golden(t int, shape ...int) Tensor {
	n, _ := count(shape)
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(i-7*t) / 8
	}
	if shape == nil {
		shape = []int{}
	}
	return Tensor{shape, data}
}

var goldenPlain = map[string]Tensor{
	"conv/kernel": golden(0, 4, 3, 2, 2), "conv/bias": golden(1, 4), "half/kernel": golden(2, 2, 3),
	"double/kernel": golden(3, 2, 3), "scalar": golden(4), "empty": golden(0, 0, 3),
}

var goldenState = map[string]Tensor{
	"conv.weight": golden(0, 4, 3, 2, 2), "conv.bias": golden(1, 4),
	"norm.weight": golden(2, 3), "norm.bias": golden(3, 3), "norm.running_mean": golden(4, 3), "norm.running_var": golden(5, 3),
	"permuted.weight": golden(6, 2, 3, 4), "scalar": golden(7),
	// base[1:3, :, 1] of the shape [4, 3, 2, 2]: elements 12 i + 4 j + 2 + k, i from 1.
	"slice.weight": {[]int{2, 3, 2}, []float32{
		14. / 8, 15. / 8, 18. / 8, 19. / 8, 22. / 8, 23. / 8,
		26. / 8, 27. / 8, 30. / 8, 31. / 8, 34. / 8, 35. / 8}},
}

var goldenMeta = map[string]string{"evopose.name": "gölden", "note": `a "text"`}

// with returns a map with more entries.
func with(m map[string]Tensor, more map[string]Tensor) map[string]Tensor {
	m = maps.Clone(m)
	maps.Copy(m, more)
	return m
}

// Files of NumPy, of the safetensors library and of PyTorch, each precision
// and order of elements, by their formula.
func TestGolden(t *testing.T) {
	npz := with(goldenPlain, map[string]Tensor{"fortran/kernel": golden(5, 2, 3, 4), "big/kernel": golden(6, 2, 3)})
	state := &File{Tensors: goldenState, Format: PyTorch, Skipped: []string{"norm.num_batches_tracked"}}
	want := map[string]*File{
		"golden.npz":           {Tensors: npz, Format: NPZ, Meta: goldenMeta, Skipped: []string{"objects", "steps"}},
		"compressed.npz":       {Tensors: goldenPlain, Format: NPZ, Skipped: []string{"steps"}},
		"golden.safetensors":   {Tensors: goldenPlain, Format: SafeTensors, Meta: goldenMeta, Skipped: []string{"steps"}},
		"bfloat16.safetensors": {Tensors: map[string]Tensor{"brain": golden(0, 2, 3)}, Format: SafeTensors},
		"state.pt":             state, "legacy.pth": state, "checkpoint.pt": state,
		"protocol3.pt": state, "protocol4.pt": state, "protocol5.pt": state,
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		t.Run(name, func(t *testing.T) {
			got, err := Read(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want[name], got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

// A pickled module is code; its error says what to save instead.
func TestWholeModule(t *testing.T) {
	_, err := Read("testdata/module.pt")
	if err == nil || !strings.Contains(err.Error(), "torch.save(model.state_dict(), file)") {
		t.Error(err)
	}
}
