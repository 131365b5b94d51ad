package cmd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/google/renameio/v2/maybe"
	"github.com/spf13/cobra"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/weightfile"
)

// exportFlags are the flags of evopose export.
type exportFlags struct {
	model, weights, out, size string
	plus, minus               string
	share                     float64
	half                      bool
	seed                      uint64
}

func newExport() *cobra.Command {
	var f exportFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "export --model s|m|l|xs|FILE.yaml",
		Short: "Write a network as an ONNX file with its card, or as .npz, safetensors or .pt",
		Long: `Write a network as an ONNX file, with the card that lets the server load it beside
it, or its weights as NumPy's .npz, safetensors or a PyTorch state dict (.pt, .pth):
the end of --out says which. The network is a published one (xs, s, m, l) or that of
a YAML file with at least genotype and input. The weights are those of a file in any
of these formats, those of a model that the server has, by its name, or the initial
ones of a seed: random, good for measuring speed and as a start of training. With
--weights and without --model the network is the one that the weights' file says.
The model's name is the name of the file that is written.

--plus and --minus bring a network up to date that was grown from another one and
trained: to the weights comes --share of what --plus has learnt since --minus, a
later and an earlier state of the other network.`,
		Example: `  evopose export --model m
  evopose export --model l --half --out /srv/models/large.onnx
  evopose export --model xs --weights models/evopose2d-s.onnx
  evopose export --weights found.onnx --out found.onnx     # a card for a file that has none
  evopose export --weights runs/s/last.ckpt --out now.onnx # how far a training is
  evopose export --weights evopose2d-s --out s.safetensors # weights of a model of the server
  evopose export --weights s.safetensors --out models/s.onnx
  evopose export --model s --weights other.pt --out models/other.onnx # a file without metadata
  evopose export --weights runs/m/best.onnx --plus evopose2d-s --minus runs/s-old/best.onnx --share 0.75 --out m.onnx`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.weights != "" && c.Flags().Changed("seed") {
				return usagef("--seed is the seed of initial weights; with --weights there are none")
			}
			if err := f.checkTask(c.Flags().Changed("share")); err != nil {
				return err
			}
			if f.half && f.out != "" && filepath.Ext(f.out) != ".onnx" {
				return usagef("--half: only ONNX files are written in half precision, not %s", f.out)
			}
			e, err := f.export()
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), e)
			}
			return e.write(c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&f.model, "model", "", "network: s, m, l, xs, or a YAML file with genotype and input")
	c.Flags().StringVar(&f.weights, "weights", "", "file to take the weights from: .onnx of ours, .ckpt of train, .npz, .safetensors, .pt; or a model's name (default: initial weights)")
	c.Flags().StringVar(&f.out, "out", "", "file to write: .onnx, .npz, .safetensors, .pt or .pth (default models/NAME.onnx)")
	c.Flags().BoolVar(&f.half, "half", false, "store the kernels in half precision: half the size, computed in single precision")
	c.Flags().StringVar(&f.plus, "plus", "", "with --weights and --minus: file or model whose learning since --minus is added")
	c.Flags().StringVar(&f.minus, "minus", "", "file or model that --plus was trained from")
	c.Flags().Float64Var(&f.share, "share", 1, "share of it that is added; for evopose2d-m 0.75 was better than all")
	c.Flags().StringVar(&f.size, "size", "", "input size, HEIGHTxWIDTH (default: the network's own)")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "seed of the initial weights")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// exported is what `evopose export --json` prints.
type exported struct {
	ONNX    string     `json:"onnx,omitempty"` // the files' paths: this with its card,
	YAML    string     `json:"yaml,omitempty"`
	Weights string     `json:"weights,omitempty"` // or this alone
	Bytes   int        `json:"bytes"`             // of the file with the weights
	Card    model.Card `json:"card"`
}

// export makes the model that the flags ask for and writes it.
func (f exportFlags) export() (exported, error) {
	card, weights, err := f.source()
	if err != nil {
		return exported{}, err
	}
	out := f.out
	if out == "" {
		out = filepath.Join("models", card.Name+".onnx")
		if weights == nil && isTrained(out) {
			return exported{}, usagef("%s is trained, and random weights would take its place; to want that, say --out %s", out, out)
		}
	}
	if card.Name, err = nameOf(out); err != nil {
		return exported{}, err
	}
	n, err := model.NewNetwork(card.Genotype, card.Input)
	if err != nil {
		return exported{}, err
	}
	if weights == nil {
		weights = model.InitialWeights(n, card.Seed)
	}
	var e exported
	if filepath.Ext(out) == ".onnx" {
		e, err = f.exportONNX(out, n, weights, card)
	} else {
		e, err = f.exportWeights(out, n, weights, card)
	}
	if err != nil && f.weights != "" {
		return exported{}, fmt.Errorf("%s: %w", f.weights, err)
	}
	return e, err
}

func (f exportFlags) exportONNX(out string, n *model.Network, w model.Weights, card model.Card) (exported, error) {
	data, err := onnx.Export(n, w, card, f.half)
	if err != nil {
		return exported{}, err
	}
	return writeModel(out, card, data)
}

// isTrained tells whether the card beside an ONNX file says that it is trained.
func isTrained(path string) bool {
	text, err := os.ReadFile(strings.TrimSuffix(path, ".onnx") + ".yaml")
	if err != nil {
		return false
	}
	card, err := model.ParseCard(text)
	return err == nil && card.Trained
}

// nameOf returns the name of the model in a file.
func nameOf(out string) (string, error) {
	extension := filepath.Ext(out)
	if extension != ".onnx" && !slices.Contains(weightfile.Extensions, extension) {
		return "", usagef("--out %s: want a file that ends in .onnx or one of %s", out, strings.Join(weightfile.Extensions, " "))
	}
	name := strings.TrimSuffix(filepath.Base(out), extension)
	if err := model.CheckName(name); err != nil {
		return "", usagef("--out %s: the file names the model: %w", out, err)
	}
	return name, nil
}

// source returns the card of the model to write, as far as it is known, and
// its weights, nil for initial ones. Its name is that of the default file.
func (f exportFlags) source() (model.Card, model.Weights, error) {
	var network model.Card
	if f.model != "" {
		var err error
		if network, err = readNetwork(f.model); err != nil {
			return model.Card{}, nil, err
		}
	}
	if f.size != "" {
		size, err := model.ParseSize(f.size)
		if err != nil {
			return model.Card{}, nil, usagef("--size: %w", err)
		}
		network.Input = size
	}
	switch {
	case f.weights != "":
		return f.fromWeights(network)
	case f.model == "":
		return model.Card{}, nil, usagef("--model: missing: want s, m, l, xs or a YAML file with genotype and input")
	}
	network.Seed = f.seed
	network.Data, network.Licence = "none, the weights are random", "Apache-2.0"
	network.Lineage = []string{fmt.Sprintf("initial weights, seed %d", f.seed)}
	return network, nil, nil
}

// readNetwork returns a card with the name, genotype and input of a published
// network or of a YAML file. What else a file says is about its weights.
func readNetwork(arg string) (model.Card, error) {
	if p, ok := model.FindPreset(strings.TrimPrefix(arg, "evopose2d-")); ok {
		return model.Card{Name: "evopose2d-" + p.Name, Genotype: p.Genotype, Input: p.Input}, nil
	}
	base, isYAML := strings.CutSuffix(filepath.Base(arg), ".yaml")
	if !isYAML {
		return model.Card{}, usagef("--model %q: want s, m, l, xs or a YAML file with genotype and input", arg)
	}
	text, err := os.ReadFile(arg)
	if err != nil {
		return model.Card{}, err
	}
	draft, err := model.ParseDraft(text)
	if err != nil {
		return model.Card{}, fmt.Errorf("%s: %w", arg, err)
	}
	if draft.Name == "" {
		draft.Name = base
	}
	return model.Card{Name: draft.Name, Genotype: draft.Genotype, Input: draft.Input}, nil
}

// writeModel writes the ONNX file and the card beside it, each whole or not at
// all. Cut off between the two, the old card refuses the new file.
func writeModel(out string, card model.Card, data []byte) (exported, error) {
	card.File = filepath.Base(out)
	card.SHA256 = fmt.Sprintf("%x", sha256.Sum256(data))
	text, err := model.MarshalCard(card)
	if err != nil {
		return exported{}, err
	}
	// Read as the server will read it: what it would refuse is not written.
	if card, err = model.ParseCard(text); err != nil {
		return exported{}, fmt.Errorf("the card of %s: %w", out, err)
	}
	if text, err = model.MarshalCard(card); err != nil {
		return exported{}, err
	}
	e := exported{ONNX: out, YAML: strings.TrimSuffix(out, ".onnx") + ".yaml", Bytes: len(data), Card: card}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return exported{}, err
	}
	if err := maybe.WriteFile(e.ONNX, data, 0o644); err != nil {
		return exported{}, explainWrite(e.ONNX, err)
	}
	if err := maybe.WriteFile(e.YAML, text, 0o644); err != nil {
		return exported{}, explainWrite(e.YAML, err)
	}
	return e, nil
}

// explainWrite names the file that could not be written; the error itself
// names the temporary file beside it.
func explainWrite(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: may not be written; choose another place with --out: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

func (e exported) write(w io.Writer) error {
	c := e.Card
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if e.Weights != "" {
		fmt.Fprintf(w, "wrote %s (%.1f MB), which says of itself:\n", e.Weights, float64(e.Bytes)/1e6)
	} else {
		fmt.Fprintf(w, "wrote %s (%.1f MB) and %s\n", e.ONNX, float64(e.Bytes)/1e6, e.YAML)
	}
	trained := yesNo(c.Trained)
	if !c.Trained {
		trained = fmt.Sprintf("no, random weights of seed %d: its keypoints mean nothing", c.Seed)
	}
	for _, row := range [][2]string{
		{"name", c.Name}, {"genotype", c.Genotype.String()},
		{"input", c.Input.String()}, {"heatmap", c.Heatmap.String()},
		{"parameters", thousands(c.Parameters)}, {"multiply-adds", giga(c.MultiplyAdds)},
		{"trained", trained}, {"sha256", c.SHA256},
	} {
		if row[1] == "" {
			continue
		}
		fmt.Fprintf(t, "  %s\t%s\n", row[0], row[1])
	}
	return t.Flush()
}
