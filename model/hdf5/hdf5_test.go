package hdf5

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var versions = []string{"v0", "v2", "v3"}

func TestGoldenFilesHaveTheirSuperblock(t *testing.T) {
	for i, want := range []byte{0, 2, 3} {
		if got := golden(t, "types_"+versions[i]+".h5")[8]; got != want {
			t.Errorf("%s: superblock %d, want %d", versions[i], got, want)
		}
	}
}

func TestGoldenFilesAreSmall(t *testing.T) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 150_000 {
		t.Errorf("testdata takes %d bytes", total)
	}
}

// wantNumbers reads a dataset and compares its type, shape and values.
func wantNumbers(t *testing.T, d *Dataset, kind string, shape []int, want []float32) {
	t.Helper()
	if d == nil {
		t.Fatal("no such dataset")
	}
	got, err := d.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	if d.Type != kind || !slices.Equal(d.Shape, shape) {
		t.Errorf("%s is %s %v, want %s %v", d.Path, d.Type, d.Shape, kind, shape)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s = %v, want %v", d.Path, got, want)
	}
}

func TestTypes(t *testing.T) {
	kinds := map[string]string{"f": "float", "i": "int", "u": "uint"}
	for _, version := range versions {
		all := datasets(t, "types_"+version+".h5")
		if len(all) != 25 {
			t.Errorf("%s: %d datasets, want 25", version, len(all))
		}
		for path, d := range all {
			group, code, ok := strings.Cut(path[1:], "/")
			if !ok || group == "string" {
				continue
			}
			t.Run(version+path, func(t *testing.T) {
				size := int(code[3] - '0')
				kind := fmt.Sprintf("%s%d", kinds[code[2:3]], 8*size)
				switch group {
				case "float":
					wantNumbers(t, d, kind, []int{3, 4}, ramp(12))
				case "int":
					wantNumbers(t, d, kind, []int{5}, []float32{-2, -1, 0, 1, 2})
				case "uint":
					wantNumbers(t, d, kind, []int{5}, []float32{0, 1, 2, 3, 4})
				}
			})
		}
		wantNumbers(t, all["/bool"], "int8", []int{3}, []float32{1, 0, 1})
		wantNumbers(t, all["/scalar"], "float32", nil, []float32{2.5})
		wantNumbers(t, all["/empty"], "float32", nil, nil)
		wantNumbers(t, all["/none"], "float32", []int{0, 3}, nil)
	}
}

func TestStrings(t *testing.T) {
	for _, version := range versions {
		all := datasets(t, "types_"+version+".h5")
		for path, want := range map[string][]string{
			"/string/fixed":    {"one", "three"},
			"/string/variable": {"eins", "drei", ""},
		} {
			got, err := all[path].Strings()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) || all[path].Type != "string" {
				t.Errorf("%s%s = %q of type %s, want %q", version, path, got, all[path].Type, want)
			}
			if _, err := all[path].Float32s(); err == nil {
				t.Errorf("%s%s: no error as numbers", version, path)
			}
		}
		if _, err := all["/scalar"].Strings(); err == nil {
			t.Errorf("%s: no error for a number as strings", version)
		}
	}
}

func TestStorage(t *testing.T) {
	repeat := func(v float32, n int) []float32 { return slices.Repeat([]float32{v}, n) }
	partly := repeat(9, 36)
	for i, at := range []int{0, 1, 6, 7} {
		partly[at] = ramp(4)[i]
		partly[at+28] = ramp(4)[i]
	}
	special := map[string][]float32{
		"/unwritten":        repeat(1.5, 6),
		"/unwritten_chunks": repeat(-2, 15),
		"/partly":           partly,
	}
	for _, version := range versions {
		all := datasets(t, "storage_"+version+".h5")
		if len(all) != 20 {
			t.Errorf("%s: %d datasets, want 20", version, len(all))
		}
		for path, d := range all {
			t.Run(version+path, func(t *testing.T) {
				n := 1
				for _, extent := range d.Shape {
					n *= extent
				}
				want, ok := special[path]
				if !ok {
					want = ramp(n)
				}
				wantNumbers(t, d, "float32", d.Shape, want)
			})
		}
	}
}

// TestStorageKinds makes sure that the golden files hold every kind of storage
// that this package reads.
func TestStorageKinds(t *testing.T) {
	found := map[string]bool{}
	for _, version := range versions {
		for _, d := range datasets(t, "storage_"+version+".h5") {
			b := d.header.all(msgLayout)[0].body
			kind := fmt.Sprintf("layout %d, class %d", b[0], b[1])
			if b[0] == 4 && b[1] == layoutChunked {
				kind += fmt.Sprintf(", index %d", b[5+int(b[3])*int(b[4])])
			}
			found[kind] = true
		}
	}
	for _, want := range []string{
		"layout 3, class 0", "layout 3, class 1", "layout 3, class 2", "layout 4, class 0", "layout 4, class 1",
		"layout 4, class 2, index 1", "layout 4, class 2, index 2", "layout 4, class 2, index 3",
		"layout 4, class 2, index 4", "layout 4, class 2, index 5",
	} {
		if !found[want] {
			t.Errorf("no dataset has %s; there are %v", want, found)
		}
	}
}

func TestAttributes(t *testing.T) {
	var vector, matrix []float64
	for i := range 6 {
		matrix = append(matrix, float64(i)*0.5-3)
	}
	vector = matrix[:4]
	want := map[string]Attribute{
		"scalar":   {Numbers: []float64{2.5}, Shape: []int{}},
		"integer":  {Numbers: []float64{-7}, Shape: []int{}},
		"vector":   {Numbers: vector, Shape: []int{4}},
		"matrix":   {Numbers: matrix, Shape: []int{2, 3}},
		"text":     {Strings: []string{"Größe"}, Shape: []int{}},
		"bytes":    {Strings: []string{"fixed"}, Shape: []int{}},
		"names":    {Strings: []string{"stem_conv", "b1"}, Shape: []int{2}},
		"variable": {Strings: []string{"a", "", strings.Repeat("long ", 20)}, Shape: []int{3}},
		"long":     {Strings: []string{strings.Repeat(`{"class_name": "Functional"}`, 200)}, Shape: []int{}},
		"empty":    {Numbers: []float64{}, Shape: []int{}},
	}
	for _, version := range versions {
		f := openGolden(t, "attributes_"+version+".h5")
		for name, a := range want {
			wantAttribute(t, f, "/", name, a)
		}
		for i := range 20 {
			wantAttribute(t, f, "/group/data", fmt.Sprintf("a%02d", i), Attribute{Numbers: []float64{float64(i)}, Shape: []int{}})
		}
		for i := range 8 {
			wantAttribute(t, f, "group", fmt.Sprintf("w%d", i), Attribute{Strings: []string{fmt.Sprintf("weight %d", i)}, Shape: []int{}})
		}
	}
}

func wantAttribute(t *testing.T, f *File, path, name string, want Attribute) {
	t.Helper()
	got, ok, err := f.Attribute(path, name)
	if err != nil || !ok {
		t.Errorf("%s@%s: %v, %v", path, name, ok, err)
	} else if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s@%s: -want +got\n%s", path, name, diff)
	}
}

func TestManyAndHugeAttributes(t *testing.T) {
	for _, version := range versions {
		f := openGolden(t, "huge_"+version+".h5")
		for i := range 70 {
			want := Attribute{Shape: []int{i + 1}}
			for j := range i + 1 {
				want.Numbers = append(want.Numbers, float64(j))
			}
			wantAttribute(t, f, "/", fmt.Sprintf("a%02d", i), want)
		}
		if version == "v0" {
			continue
		}
		huge, ok, err := f.Attribute("/", "huge")
		if err != nil || !ok || !slices.Equal(huge.Strings, make([]string, 70000)) {
			t.Errorf("%s: %d empty strings, %v, %v", version, len(huge.Strings), ok, err)
		}
		config := strings.Repeat(`{"class_name": "Functional"}`, 3000)
		wantAttribute(t, f, "/", "model_config", Attribute{Strings: []string{config}, Shape: []int{}})
	}
}

func TestMissingAttributes(t *testing.T) {
	for _, version := range versions {
		f := openGolden(t, "attributes_"+version+".h5")
		for _, path := range []string{"/", "/group", "/group/data"} {
			if got, ok, err := f.Attribute(path, "nothing"); ok || err != nil {
				t.Errorf("%s: %v, %v, %v", path, got, ok, err)
			}
		}
		for _, path := range []string{"/nowhere", "/group/data/x"} {
			_, ok, err := f.Attribute(path, "nothing")
			if ok || err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v, %v", path, ok, err)
			}
		}
	}
}

func TestGroups(t *testing.T) {
	many := map[string]int{"groups_v0.h5": 60, "groups_v2.h5": 60, "groups_v3.h5": 60, "ordered.h5": 12}
	for name, n := range many {
		want := []string{"/a/b/c/deep", "/few/x"}
		for i := range n {
			want = append(want, fmt.Sprintf("/wide/kernel:%03d", i))
		}
		list, err := openGolden(t, name).Datasets()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range list {
			got = append(got, d.Path)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
		for i, d := range list[2:] {
			wantNumbers(t, d, "float32", nil, []float32{float32(i)})
		}
	}
}

func TestCycleHasPathsButOnlyOneIsListed(t *testing.T) {
	f := openGolden(t, "groups_v0.h5")
	if _, _, err := f.Attribute("/a/b/up/b/up/b/c/deep", "x"); err != nil {
		t.Error(err)
	}
}

func TestUserBlock(t *testing.T) {
	wantNumbers(t, datasets(t, "userblock.h5")["/x"], "float32", []int{3}, ramp(3))
}

func TestCommittedAndOtherTypes(t *testing.T) {
	f := openGolden(t, "named.h5")
	wantAttribute(t, f, "/", "committed", Attribute{Numbers: []float64{1.5}, Shape: []int{}})
	all := datasets(t, "named.h5")
	wantNumbers(t, all["/committed"], "float32", []int{3}, ramp(3))
	for path, want := range map[string]string{
		"/long":      "floats of 16 bytes",
		"/compound":  "type compound",
		"/complex":   "type compound",
		"/reference": "type reference",
		"/lzf":       "filter 32000 is not supported",
	} {
		_, err := all[path].Float32s()
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if _, ok, err := f.Attribute("/", "compound"); !ok || err == nil || !strings.Contains(err.Error(), "compound") {
		t.Errorf("attribute of a compound type: %v, %v", ok, err)
	}
}

const batchNorm = "/layers/batch_normalization/vars/" //nolint:misspell // as Keras spells it

func TestKeras(t *testing.T) {
	shapes := map[string][]int{
		"/model_weights/depthwise/depthwise/bias":        {2},
		"/model_weights/depthwise/depthwise/kernel":      {3, 3, 2, 1},
		"/model_weights/stem_bn/stem_bn/beta":            {2},
		"/model_weights/stem_bn/stem_bn/gamma":           {2},
		"/model_weights/stem_bn/stem_bn/moving_mean":     {2},
		"/model_weights/stem_bn/stem_bn/moving_variance": {2},
		"/model_weights/stem_conv/stem_conv/bias":        {2},
		"/model_weights/stem_conv/stem_conv/kernel":      {3, 3, 3, 2},
		batchNorm + "0":                   {2},
		batchNorm + "1":                   {2},
		batchNorm + "2":                   {2},
		batchNorm + "3":                   {2},
		"/layers/conv2d/vars/0":           {3, 3, 3, 2},
		"/layers/conv2d/vars/1":           {2},
		"/layers/depthwise_conv2d/vars/0": {3, 3, 2, 1},
		"/layers/depthwise_conv2d/vars/1": {2},
	}
	found := 0
	for _, name := range []string{"keras.h5", "keras.weights.h5"} {
		for path, d := range datasets(t, name) {
			n := 1
			for _, extent := range d.Shape {
				n *= extent
			}
			wantNumbers(t, d, "float32", shapes[path], ramp(n))
			found++
		}
	}
	if found != len(shapes) {
		t.Errorf("%d datasets, want %d", found, len(shapes))
	}
}

func TestKerasAttributes(t *testing.T) {
	f := openGolden(t, "keras.h5")
	names := Attribute{Strings: []string{"image", "stem_conv", "stem_bn", "depthwise"}, Shape: []int{4}}
	wantAttribute(t, f, "/model_weights", "layer_names", names)
	weights := Attribute{Strings: []string{"stem_conv/kernel", "stem_conv/bias"}, Shape: []int{2}}
	wantAttribute(t, f, "/model_weights/stem_conv", "weight_names", weights)
	wantAttribute(t, f, "/model_weights/image", "weight_names", Attribute{Numbers: []float64{}, Shape: []int{0}})
	config, ok, err := f.Attribute("/", "model_config")
	if err != nil || !ok || len(config.Strings) != 1 {
		t.Fatal(config, ok, err)
	}
	if s := config.Strings[0]; !strings.HasPrefix(s, `{"class_name": "Functional"`) || !strings.HasSuffix(s, "}") {
		t.Errorf("model_config = %q", s)
	}
}

func TestPagesOfChunkIndices(t *testing.T) {
	partly := slices.Repeat([]float32{7}, 5000)
	copy(partly[2500:], ramp(10))
	extensible := make([]float32, 200_000)
	for i := range 10 {
		extensible[199_000+i] = float32(1 + i)
	}
	all := datasets(t, "pages.h5")
	for path, want := range map[string][]float32{"/fixed": ramp(2101), "/fixed_partly": partly, "/extensible": extensible} {
		if got, err := all[path].Float32s(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %d values, not as expected: %v", path, len(got), err)
		}
	}
}

func TestNotHDF5(t *testing.T) {
	for _, b := range [][]byte{nil, []byte("\x89HDF"), make([]byte, 5000), []byte("PK\x03\x04 a zip archive")} {
		if _, err := openBytes(b); !errors.Is(err, ErrNotHDF5) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	if _, err := openBytes([]byte("\x89HDF\r\n\x1a\n")); err == nil || errors.Is(err, ErrNotHDF5) {
		t.Errorf("only a signature: %v", err)
	}
}
