// Package weightfile reads and writes the files in which the field keeps
// weights: NumPy's .npz, safetensors and PyTorch's state dicts. Nothing in a
// file is ever executed, and no more memory is taken than its size justifies.
package weightfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2/maybe"
)

// The formats, as File.Format names them.
const (
	NPZ         = "npz"
	SafeTensors = "safetensors"
	PyTorch     = "pytorch"
)

// ErrUnknownFormat means that a file is in none of the formats.
var ErrUnknownFormat = errors.New("neither .npz nor safetensors nor what torch.save writes")

// Tensor is one tensor of floating point numbers in C order: the last index
// runs fastest.
type Tensor struct {
	Shape []int
	Data  []float32
}

// File is what a file holds.
type File struct {
	// Tensors are by name as in the file; other precisions than single are
	// widened or rounded.
	Tensors map[string]Tensor
	// Meta is what the file says of itself; nil if nothing.
	Meta map[string]string
	// Format is NPZ, SafeTensors or PyTorch.
	Format string
	// Skipped names the tensors that are not of floating point numbers.
	Skipped []string
}

func newFile(format string) *File { return &File{Tensors: map[string]Tensor{}, Format: format} }

// maxFile is the largest file that is read into memory.
const maxFile = 4 << 30

// Read reads a file. Its content tells the format, not its name; if it is none
// of ours the error is ErrUnknownFormat. A file that is damaged or makes claims
// that its size does not bear out is an error.
func Read(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: has %d bytes, files of weights have at most %d", path, info.Size(), int64(maxFile))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Parse reads the content of a file, as Read does.
func Parse(data []byte) (*File, error) {
	f, err := parse(data, newBudget(data))
	if err != nil {
		return nil, err
	}
	slices.Sort(f.Skipped)
	return f, nil
}

func parse(data []byte, b *budget) (*File, error) {
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return parseZip(data, b)
	case isTorchLegacy(data):
		return parseTorchLegacy(data, b)
	case isSafeTensors(data):
		return parseSafeTensors(data, b)
	}
	return nil, ErrUnknownFormat
}

func parseZip(data []byte, b *budget) (*File, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("is a zip archive that is damaged or cut off: %w", err)
	}
	has := func(is func(name string) bool) bool {
		return slices.ContainsFunc(z.File, func(m *zip.File) bool { return is(m.Name) })
	}
	switch {
	case has(func(name string) bool { return path.Base(name) == pickleName }):
		return parseTorchZip(z, b)
	case has(func(name string) bool { return strings.HasSuffix(name, ".npy") }):
		return parseNPZ(z, b)
	}
	return nil, fmt.Errorf("is a zip archive with neither .npy arrays nor a data.pkl: %w", ErrUnknownFormat)
}

// add adds an array under a name that must be new.
func (f *File) add(name string, a array, b *budget) error {
	if _, twice := f.Tensors[name]; twice {
		return errors.New("is there twice")
	}
	t, err := a.tensor(b)
	f.Tensors[name] = t
	return err
}

func (f *File) skip(name string) { f.Skipped = append(f.Skipped, name) }

// Extensions are those of the files that Write writes.
var Extensions = []string{".npz", ".safetensors", ".pt", ".pth"}

// Write writes the file whole or not at all, in the format of the path's
// extension, which must be one of Extensions; f.Format does not matter. In a
// PyTorch file the tensors have PyTorch's names.
func Write(path string, f *File) error {
	data, err := Encode(filepath.Ext(path), f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return maybe.WriteFile(path, data, 0o644)
}

// Encode returns what Write writes into a file of an extension. The same file
// gives the same bytes.
func Encode(extension string, f *File) ([]byte, error) {
	for name, t := range f.Tensors {
		if n, err := count(t.Shape); err != nil || n != len(t.Data) {
			return nil, fmt.Errorf("tensor %s: %d values do not fill shape %v", name, len(t.Data), t.Shape)
		}
	}
	switch extension {
	case ".npz":
		return encodeNPZ(f)
	case ".safetensors":
		return encodeSafeTensors(f)
	case ".pt", ".pth":
		return encodeTorch(f)
	}
	return nil, fmt.Errorf("want a file that ends in one of %s", strings.Join(Extensions, " "))
}
