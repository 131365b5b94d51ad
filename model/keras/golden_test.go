package keras_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/hdf5"
	"github.com/evopose/evopose/model/keras"
)

// golden is testdata/tiny.json; what the network computes is compared by
// TestImportGolden in cmd.
type golden struct {
	Genotype   model.Genotype `json:"genotype"`
	Input      model.Size     `json:"input"`
	Parameters int64          `json:"parameters"`
	Files      []string       `json:"files"`
}

func readGolden(t testing.TB) (g golden) {
	t.Helper()
	text, err := os.ReadFile("testdata/tiny.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// unzip returns a file that Keras wrote.
func unzip(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func read(data []byte, like ...*model.Network) (*keras.File, error) {
	h, err := hdf5.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	return keras.Read(h, like...)
}

// TestGoldenFiles: the four files that Keras 2 and 3 write of one network hold
// the same weights, which are those of its genotype; whole models tell strides
// and input.
func TestGoldenFiles(t *testing.T) {
	g := readGolden(t)
	n, err := model.NewNetwork(g.Genotype, g.Input)
	if err != nil {
		t.Fatal(err)
	}
	if total, _ := n.Parameters(); total != g.Parameters {
		t.Errorf("%d parameters, Keras counts %d", total, g.Parameters)
	}
	var first *keras.File
	for _, name := range g.Files {
		f, err := read(unzip(t, name), n)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if problems := append(f.Clues.Contradictions(n), n.Faults(f.Weights)...); problems != nil {
			t.Errorf("%s:\n%s", name, strings.Join(problems, "\n"))
		}
		if first == nil {
			first = f
		} else if !maps.EqualFunc(first.Weights, f.Weights, slices.Equal) {
			t.Errorf("%s: other weights than %s", name, g.Files[0])
		}
		whole := !strings.Contains(name, "weights")
		if (f.Clues.Strides != nil) != whole || (f.Clues.Input == g.Input) != whole {
			t.Errorf("%s: strides %v, input %v", name, f.Clues.Strides, f.Clues.Input)
		}
		if whole {
			inferred, input, err := f.Clues.Infer()
			if d := cmp.Diff(g.Genotype, inferred); d != "" || input != g.Input || err != nil {
				t.Errorf("%s: %v, %v\n%s", name, input, err, d)
			}
		}
		t.Logf("%s: Keras %q, %d tensors", name, f.Version, len(f.Weights))
	}
}

// FuzzRead: what is wrong with a file is an error. The reader of HDF5 has its
// own fuzzing; here files are Keras's with some bytes changed, so that names,
// shapes and configuration are.
func FuzzRead(f *testing.F) {
	g := readGolden(f)
	n, err := model.NewNetwork(g.Genotype, g.Input)
	if err != nil {
		f.Fatal(err)
	}
	var files [][]byte
	for _, name := range g.Files {
		files = append(files, unzip(f, name))
	}
	f.Add(uint8(0), uint32(2048), []byte("model"))
	f.Add(uint8(3), uint32(9000), []byte{0xff})
	f.Fuzz(func(_ *testing.T, file uint8, at uint32, bytes []byte) {
		data := slices.Clone(files[int(file)%len(files)])
		copy(data[int(at)%len(data):], bytes)
		k, err := read(data, n)
		if err == nil {
			_, _, _ = k.Clues.Infer()
			_ = k.Clues.Contradictions(n)
		}
	})
}
