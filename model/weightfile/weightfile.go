// Package weightfile reads and writes the files in which the field keeps
// weights: NumPy's .npz, safetensors and PyTorch state dicts. Nothing in a file
// is ever executed, and no more memory is taken than its size justifies.
package weightfile

import (
	"errors"

	"github.com/evopose/evopose/model"
)

// The formats, as File.Format names them.
const (
	NPZ         = "npz"
	SafeTensors = "safetensors"
	PyTorch     = "pytorch"
)

// ErrUnknownFormat means that a file is in none of the formats.
var ErrUnknownFormat = errors.New("neither .npz nor safetensors nor a PyTorch state dict")

// ErrNoCard means that a file does not say which network it is of.
var ErrNoCard = errors.New("the file does not say which network its weights are of")

// Tensor is one tensor of floating point numbers, in the order of the last
// index first (C order).
type Tensor struct {
	Shape []int
	Data  []float32
}

// File is what a file holds.
type File struct {
	Tensors map[string]Tensor // by name as in the file, widened or rounded to float32
	Meta    map[string]string // what the file says of itself; nil if nothing
	Format  string            // NPZ, SafeTensors or PyTorch
	Skipped []string          // names of tensors that are not floating point numbers, sorted
}

// Read reads a file. Its content tells the format, not its name; if it is none
// of ours the error is ErrUnknownFormat.
func Read(path string) (*File, error) { return nil, errors.New("not written yet") }

// Parse reads the content of a file, as Read does.
func Parse(data []byte) (*File, error) { return nil, errors.New("not written yet") }

// Write writes the file whole or not at all, in the format of the path's
// extension: .npz, .safetensors, .pt or .pth.
func Write(path string, f *File) error { return errors.New("not written yet") }

// New returns a file of the weights of a network with its card. The weights
// must fit the network.
func New(n *model.Network, w model.Weights, card model.Card) (*File, error) {
	return nil, errors.New("not written yet")
}

// Weights returns the tensors by Param.Name with their shapes. The file's names
// may be those themselves ("stem_conv/kernel") or PyTorch's ("stem_conv.weight").
func (f *File) Weights() (model.Weights, map[string][]int, error) {
	return nil, nil, errors.New("not written yet")
}

// Card returns what the metadata says of the network; ErrNoCard if nothing.
func (f *File) Card() (model.Card, error) { return model.Card{}, ErrNoCard }
