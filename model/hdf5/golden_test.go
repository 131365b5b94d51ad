package hdf5

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// golden returns the bytes of a file of testdata, which make.py wrote.
func golden(t testing.TB, name string) []byte {
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
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// openBytes opens a file in memory.
func openBytes(b []byte) (*File, error) { return Open(bytes.NewReader(b), int64(len(b))) }

// openGolden opens a golden file.
func openGolden(t testing.TB, name string) *File {
	t.Helper()
	f, err := openBytes(golden(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// datasets returns the datasets of a golden file by path.
func datasets(t testing.TB, name string) map[string]*Dataset {
	t.Helper()
	list, err := openGolden(t, name).Datasets()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*Dataset{}
	for _, d := range list {
		all[d.Path] = d
	}
	return all
}

// ramp is ramp of make.py.
func ramp(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(i)*0.5 - 3
	}
	return out
}
