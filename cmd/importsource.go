package cmd

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/hdf5"
	"github.com/evopose/evopose/model/keras"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/weightfile"
)

// weightSource is a file of weights that was read.
type weightSource struct {
	path    string
	sum     []byte // SHA-256 of the file
	format  string
	weights model.Weights
	clues   model.Clues
	card    model.Card // what the file says of its network, if hasCard
	hasCard bool
}

// readSource reads a file of any format that evopose import takes.
func readSource(path string, said saidNetwork) (*weightSource, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err != nil {
		return nil, err
	}
	s := &weightSource{path: path, sum: hash.Sum(nil)}
	h, err := hdf5.Open(file, size)
	if errors.Is(err, hdf5.ErrNotHDF5) {
		return s, s.readOther(file)
	}
	if err != nil {
		return nil, err
	}
	return s, s.readKeras(h, said)
}

func (s *weightSource) readKeras(h *hdf5.File, said saidNetwork) error {
	like, err := said.like()
	if err != nil {
		return err
	}
	k, err := keras.Read(h, like...)
	if err != nil {
		return err
	}
	s.weights, s.clues, s.format = k.Weights, k.Clues, "Keras"
	if k.Version != "" {
		s.format += " " + k.Version
	}
	return nil
}

// readOther reads a file that is not HDF5.
func (s *weightSource) readOther(file io.ReaderAt) error {
	data, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	f, err := weightfile.Parse(data)
	if errors.Is(err, weightfile.ErrUnknownFormat) {
		return explainFormat(file)
	}
	if err != nil {
		return err
	}
	s.format = f.Format
	if s.weights, s.clues.Shapes, err = f.Weights(); err != nil {
		return err
	}
	s.card, err = onnx.CardOf(f.Meta)
	s.hasCard = err == nil
	if errors.Is(err, onnx.ErrNoCard) {
		return nil
	}
	return err
}

// explainFormat says what a file is that is not one of weights.
func explainFormat(file io.ReaderAt) error {
	start := make([]byte, 512)
	n, _ := file.ReadAt(start, 0) // a shorter file has fewer
	switch start = bytes.ToLower(bytes.TrimSpace(start[:n])); {
	case bytes.HasPrefix(start, []byte("<!doctype html")), bytes.HasPrefix(start, []byte("<html")):
		return errors.New("a web page, not a file of weights: the download needs a browser, or a confirmation there")
	case bytes.HasPrefix(start, []byte("version https://git-lfs")):
		return errors.New("a pointer of Git LFS, not the file itself: run `git lfs pull`")
	case bytes.HasPrefix(start, []byte("pk\x03\x04")):
		return errors.New("a ZIP file, but neither .npz nor PyTorch's; if it is Keras 3's .keras, load it there and save model.save(\"model.h5\")")
	}
	return errors.New("want a Keras .h5, .npz, safetensors or PyTorch file; an ONNX file of ours is for `evopose export --weights`")
}

// network returns the network whose weights the file has: the one that was
// said or that the file says, else the one inferred. It is an error that names
// each layer if that does not fit.
func (s *weightSource) network(said saidNetwork, notes io.Writer) (*model.Network, error) {
	clues, g, input, what := s.clues, said.Genotype, said.Input, said.Name
	if said.size {
		clues.Input = said.Input
	}
	switch {
	case said.Name != "":
	case s.hasCard:
		g, what = s.card.Genotype, "the network that it says it is"
		if !said.size {
			input = s.card.Input
		}
	default:
		var err error
		if g, input, err = clues.Infer(); err != nil {
			return nil, err
		}
		what = "the network inferred from it"
		if clues.Input == (model.Size{}) {
			fmt.Fprintf(notes, "note: the file does not tell its input size; taken is %v, that of the published network of these widths. Another one: --size\n", input)
		}
	}
	n, err := model.NewNetwork(g, input)
	if err != nil {
		return nil, err
	}
	if problems := clues.Contradictions(n); problems != nil {
		return nil, model.Problems{What: fmt.Sprintf("does not fit %s (genotype %v, input %v)", what, g, input), Lines: problems}
	}
	if problems := n.Faults(s.weights); problems != nil {
		return nil, model.Problems{What: "has values that cannot be weights", Lines: problems}
	}
	return n, nil
}
