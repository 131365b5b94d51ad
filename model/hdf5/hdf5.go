package hdf5

import (
	"errors"
	"io"
)

// ErrNotHDF5 is wrapped by Open's error where the signature is missing.
var ErrNotHDF5 = errors.New("not an HDF5 file")

// File is an open HDF5 file.
type File struct{}

// Attribute is the value of an attribute: Strings or Numbers is set, row-major.
type Attribute struct {
	Strings []string
	Numbers []float64
	Shape   []int // empty for a scalar
}

// Dataset is one array of the file.
type Dataset struct {
	Path  string // "/model_weights/stem_conv/stem_conv/kernel:0"
	Shape []int  // empty for a scalar
	Type  string // "float32", "int64", "string"
}

// Open reads the superblock of the file of the given size in bytes.
func Open(r io.ReaderAt, size int64) (*File, error) { return nil, ErrNotHDF5 }

// Datasets lists every dataset of the file in path order.
func (f *File) Datasets() ([]*Dataset, error) { return nil, nil }

// Attribute returns an attribute of the group or dataset at path, and false
// where there is none of that name.
func (f *File) Attribute(path, name string) (Attribute, bool, error) {
	return Attribute{}, false, nil
}

// Float32s reads every value, row-major, converted.
func (d *Dataset) Float32s() ([]float32, error) { return nil, nil }
