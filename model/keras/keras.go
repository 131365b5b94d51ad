// Package keras reads the HDF5 files in which Keras stores EvoPose2D networks:
// whole models (model.save) and weights alone (model.save_weights), of Keras 2
// and 3. It names and lays out tensors as package model does.
package keras

import (
	"errors"
	"fmt"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/hdf5"
)

// File is what a Keras file holds.
type File struct {
	Weights model.Weights
	// Clues has the tensors' shapes, and the strides and the input size if the
	// file is a whole model.
	Clues model.Clues
	// Version is that of the Keras that wrote the file, "" if it does not say.
	Version string
}

// variable is one array of a file.
type variable struct {
	path  string
	shape []int // as in Keras
	read  func() ([]float32, error)
}

// maxValues bounds what is read: ten times the largest published network.
const maxValues = 150e6

// Read reads the weights of a file. Weights that Keras 3 saved alone have
// numbers for names: they are named after the first of the networks like whose
// layers have their shapes, in order.
//
// An error names, layer by layer, what is no layer of an EvoPose2D network, is
// there twice, lacks weights, has a kernel of the wrong rank, or is computed in
// another way than ours according to the model's configuration.
func Read(f *hdf5.File, like ...*model.Network) (*File, error) {
	variables, err := variablesOf(f)
	if err != nil {
		return nil, err
	}
	c, err := readConfig(f)
	if err != nil {
		return nil, err
	}
	out, err := assemble(variables, c, like)
	if err != nil {
		return nil, err
	}
	out.Version = version(f)
	return out, nil
}

// variablesOf lists the numeric arrays of a file.
func variablesOf(f *hdf5.File) ([]variable, error) {
	sets, err := f.Datasets()
	if err != nil {
		return nil, err
	}
	var variables []variable
	for _, d := range sets {
		if d.Type != "string" {
			variables = append(variables, variable{d.Path, d.Shape, d.Float32s})
		}
	}
	return variables, nil
}

// version returns the attribute keras_version of the root, "" where it is not
// to be had: it is only told, nothing hangs on it.
func version(f *hdf5.File) string {
	a, ok, err := f.Attribute("/", "keras_version")
	if err != nil || !ok || len(a.Strings) != 1 {
		return ""
	}
	return a.Strings[0]
}

// assemble names the variables, checks them and reads their values.
func assemble(variables []variable, c *config, like []*model.Network) (*File, error) {
	named, err := name(variables, like)
	if err != nil {
		return nil, err
	}
	problems := named.problems
	out := &File{Weights: model.Weights{}, Clues: model.Clues{Shapes: map[string][]int{}}}
	total := 0
	for _, t := range named.tensors {
		shape, err := t.shape()
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		out.Clues.Shapes[t.name] = shape
		total += product(shape)
	}
	if c != nil {
		problems = append(problems, c.problems(named)...)
		out.Clues.Strides, out.Clues.Input = c.strides(), c.input()
	}
	if problems != nil {
		return nil, model.Problems{What: "not the weights of an EvoPose2D network", Lines: problems}
	}
	if total > maxValues {
		return nil, fmt.Errorf("%d values: more than any network of ours has", total)
	}
	for _, t := range named.tensors {
		if out.Weights[t.name], err = t.read(); err != nil {
			return nil, fmt.Errorf("%s: %w", t.path, err)
		}
	}
	return out, nil
}

var errNoWeights = errors.New("no weights: it has no datasets")
