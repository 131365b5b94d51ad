package cmd

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

// importFlags are the flags of evopose import.
type importFlags struct {
	model, size, out, about, licence string
	half                             bool
}

func newImport() *cobra.Command {
	var f importFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Turn a file of weights of Keras or another framework into a model",
		Long: `Turn a file of weights into a model: an ONNX file with its card. The file is what Keras
writes (.h5, a whole model or weights alone), as the authors' are, or an .npz, safetensors
or PyTorch file with the layers' names. Its content tells the format.

The network follows from the layers' names and shapes, and from the configuration that
a whole Keras model has. What the file leaves open is asked for: --model says which network
it is, --size which input. What is said and contradicts the file is refused, layer by layer.
The model's name is that of --out without ".onnx".`,
		Example: `  evopose import evopose2d_M_f32.h5
  evopose import evopose2d_M_f32.h5 --model m --out models/evopose2d-m.onnx
  evopose import found_weights.h5 --model found.yaml --licence MIT --about "COCO 2017 train"`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			e, err := f.run(args[0], c.ErrOrStderr())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), e)
			}
			if err := e.write(c.OutOrStdout()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "its accuracy is not known; measure it: evopose eval --data COCO.json --images DIR --model %s\n", e.ONNX)
			return err
		},
	}
	c.Flags().StringVar(&f.model, "model", "", "`network` that it is: s, m, l, xs, or a YAML file with genotype and input (default: inferred from the file)")
	c.Flags().StringVar(&f.size, "size", "", "input `size`, HEIGHTxWIDTH (default: the file's, else the network's own)")
	c.Flags().StringVar(&f.out, "out", "", "`file` to write (default models/NAME.onnx, NAME being the file's in small letters)")
	c.Flags().BoolVar(&f.half, "half", false, "store the kernels in half precision: half the size, computed in single precision")
	c.Flags().StringVar(&f.about, "about", "", "what the card says of the data it was trained on")
	c.Flags().StringVar(&f.licence, "licence", "", "what the card says of the licence of the weights")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// run imports the file; notes gets what was assumed.
func (f importFlags) run(path string, notes io.Writer) (exported, error) {
	out := f.outFor(path)
	name, err := nameOf(out)
	if err != nil {
		return exported{}, err
	}
	said, err := f.said()
	if err != nil {
		return exported{}, err
	}
	source, err := readSource(path, said)
	if err != nil {
		return exported{}, fmt.Errorf("%s: %w", path, err)
	}
	n, err := source.network(said, notes)
	if err != nil {
		return exported{}, fmt.Errorf("%s: %w", path, err)
	}
	card := f.card(source, n)
	card.Name = name
	data, err := onnx.Export(n, source.weights, card, f.half)
	if err != nil {
		return exported{}, fmt.Errorf("%s: %w", path, err)
	}
	return writeModel(out, card, data)
}

// outFor returns the file to write.
func (f importFlags) outFor(path string) string {
	if f.out != "" {
		return f.out
	}
	base := strings.ToLower(filepath.Base(path))
	base = strings.TrimSuffix(base, filepath.Ext(base))
	return filepath.Join("models", strings.TrimSuffix(base, ".weights")+".onnx")
}

// said is what the flags tell of the network: a name and a genotype, both
// empty without --model, and an input, zero without --model and --size.
func (f importFlags) said() (said saidNetwork, err error) {
	if f.model != "" {
		if said.Card, err = readNetwork(f.model); err != nil {
			return said, err
		}
	}
	if f.size != "" {
		said.size = true
		if said.Input, err = model.ParseSize(f.size); err != nil {
			return said, usagef("--size: %w", err)
		}
	}
	return said, nil
}

// saidNetwork is a network that the command line tells of.
type saidNetwork struct {
	model.Card
	size bool // Input is that of --size
}

// like lists the networks that the file's may be: the said one, else those
// published ones that can have the input.
func (s saidNetwork) like() ([]*model.Network, error) {
	if s.Name != "" {
		n, err := model.NewNetwork(s.Genotype, s.Input)
		return []*model.Network{n}, err
	}
	var networks []*model.Network
	for _, p := range model.Presets {
		if s.size {
			p.Input = s.Input
		}
		if n, err := model.NewNetwork(p.Genotype, p.Input); err == nil {
			networks = append(networks, n)
		}
	}
	return networks, nil
}

// card returns the card of the imported model, but for its name.
func (f importFlags) card(s *weightSource, n *model.Network) model.Card {
	c := s.card
	if !s.hasCard {
		c = model.Card{Trained: true, Data: "as stated by its authors", Licence: "unknown"}
	}
	c.Genotype, c.Input, c.Accuracy = n.Genotype, n.Input, nil
	if f.about != "" {
		c.Data = f.about
	}
	if f.licence != "" {
		c.Licence = f.licence
	}
	step := fmt.Sprintf("imported from %s (sha256 %.12x), %s", filepath.Base(s.path), s.sum, s.format)
	if f.half {
		step += ", kernels in half precision"
	}
	c.Lineage = append(c.Lineage, step)
	return c
}
