package keras

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/hdf5"
)

// config is the configuration of a model, the attribute model_config of a file
// of a whole model.
type config struct{ layers []layerConfig }

// layerConfig is one layer of it; what a class of layers has not is left as it
// is here.
type layerConfig struct {
	Class  string `json:"class_name"`
	Config struct {
		Name            string
		Layers          []layerConfig   // of a model as a layer
		BatchShape      []*int          `json:"batch_shape"`       // Keras 3
		BatchInputShape []*int          `json:"batch_input_shape"` // Keras 2
		Strides         json.RawMessage // a number or two
		Dilation        json.RawMessage `json:"dilation_rate"`
		OutputPadding   json.RawMessage `json:"output_padding"`
		Padding         string
		DataFormat      string `json:"data_format"`
		DepthMultiplier *int   `json:"depth_multiplier"`
		Groups          *int
		Epsilon         *float64
		Activation      json.RawMessage // a name, or an object with one
	}
}

// readConfig returns the configuration, nil where the file has none.
func readConfig(f *hdf5.File) (*config, error) {
	a, ok, err := f.Attribute("/", "model_config")
	if err != nil || !ok {
		return nil, err
	}
	if len(a.Strings) != 1 {
		return nil, errors.New("model_config: want one text")
	}
	return parseConfig(a.Strings[0])
}

func parseConfig(text string) (*config, error) {
	var root layerConfig
	if err := json.Unmarshal([]byte(text), &root); err != nil {
		return nil, fmt.Errorf("model_config: %w", err)
	}
	c := &config{}
	c.flatten(root.Config.Layers)
	if c.layers == nil {
		return nil, fmt.Errorf("model_config: a %q without layers: want a functional model", root.Class)
	}
	return c, nil
}

// flatten collects the layers, those of inner models too.
func (c *config) flatten(layers []layerConfig) {
	for _, l := range layers {
		if l.Config.Layers != nil {
			c.flatten(l.Config.Layers)
		} else {
			c.layers = append(c.layers, l)
		}
	}
}

// strides returns those of the convolutions, by name.
func (c *config) strides() map[string]int {
	strides := map[string]int{}
	for _, l := range c.layers {
		if s := numbers(l.Config.Strides); len(s) > 0 {
			strides[l.Config.Name] = s[0]
		}
	}
	return strides
}

// input returns the size of the first input, zero where it is left open.
func (c *config) input() model.Size {
	for _, l := range c.layers {
		if s := l.inputShape(); len(s) == 4 && s[1] != nil && s[2] != nil {
			return model.Size{H: *s[1], W: *s[2]}
		}
	}
	return model.Size{}
}

// inputShape returns the shape of an input as [batch, height, width, channels].
func (l *layerConfig) inputShape() []*int {
	if l.Config.BatchShape != nil {
		return l.Config.BatchShape
	}
	return l.Config.BatchInputShape
}

// numbers reads one number, or a list of them.
func numbers(raw json.RawMessage) []int {
	var list []int
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	var one int
	if json.Unmarshal(raw, &one) == nil {
		return []int{one, one}
	}
	return nil
}

// problems lists the layers that compute something else than ours of that
// name, or have no weights.
func (c *config) problems(named *naming) []string {
	var problems []string
	for i := range c.layers {
		l := &c.layers[i]
		for _, text := range l.problems(named.layers) {
			problems = append(problems, l.Config.Name+": "+text)
		}
	}
	return problems
}

// harmless are the classes without weights that our networks are made of.
// Dropout does nothing when a network is used.
var harmless = []string{"InputLayer", "Activation", "Reshape", "GlobalAveragePooling2D", "Multiply", "Add", "Dropout", "Silu", "Sigmoid"}

func (l *layerConfig) problems(weighted map[string]bool) []string {
	kind, ok := model.LayerKind(l.Config.Name)
	if !ok {
		return l.harm()
	}
	var problems []string
	want := classNames[kind]
	if strings.TrimPrefix(l.Class, "Sync") != want {
		problems = append(problems, fmt.Sprintf("a %s: want a %s", l.Class, want))
	}
	if !weighted[l.Config.Name] {
		problems = append(problems, "the model has this layer, the file no weights for it")
	}
	if kind == model.BatchNorm {
		return append(problems, l.normProblems()...)
	}
	return append(problems, l.convProblems(kind)...)
}

var classNames = map[model.Kind]string{
	model.Conv: "Conv2D", model.DepthwiseConv: "DepthwiseConv2D", model.ConvTranspose: "Conv2DTranspose", model.BatchNorm: "BatchNormalization",
}

// harm says why a layer that is none of ours changes what is computed.
func (l *layerConfig) harm() []string {
	if !slices.Contains(harmless, l.Class) {
		return []string{fmt.Sprintf("a %s: our networks have no such layer", l.Class)}
	}
	if s := l.inputShape(); l.Class == "InputLayer" && (len(s) != 4 || s[3] == nil || *s[3] != 3) {
		return []string{"an input that is not [batch, height, width, 3]"}
	}
	return l.activation("linear", "swish", "sigmoid")
}

// activation says what is wrong with the activation if it is none of those
// allowed.
func (l *layerConfig) activation(allowed ...string) []string {
	name := activationName(l.Config.Activation)
	if slices.Contains(allowed, name) {
		return nil
	}
	return []string{fmt.Sprintf("activation %q: want %s", name, strings.Join(allowed, " or "))}
}

// activationName reads an activation: none, a name, or an object that has it
// as its configuration. Swish and silu are one.
func activationName(raw json.RawMessage) string {
	if len(raw) == 0 || string(raw) == "null" {
		return "linear"
	}
	var name string
	if json.Unmarshal(raw, &name) != nil {
		var object struct{ Config string }
		if json.Unmarshal(raw, &object) != nil {
			return string(raw)
		}
		name = object.Config
	}
	if name == "silu" {
		return "swish"
	}
	return name
}

func (l *layerConfig) normProblems() []string {
	if e := l.Config.Epsilon; e != nil && math.Abs(*e-model.Epsilon) > 1e-9 {
		return []string{fmt.Sprintf("epsilon %g: want %g", *e, model.Epsilon)}
	}
	return nil
}

func (l *layerConfig) convProblems(kind model.Kind) []string {
	c := &l.Config
	var problems []string
	fail := func(what string, got any, want string) {
		problems = append(problems, fmt.Sprintf("%s %v: want %s", what, got, want))
	}
	if s := numbers(c.Strides); len(s) != 2 || s[0] != s[1] {
		fail("strides", string(c.Strides), "two equal ones")
	}
	if d := numbers(c.Dilation); len(d) > 0 && (d[0] != 1 || d[len(d)-1] != 1) {
		fail("dilation_rate", d, "1")
	}
	if c.Padding != "same" {
		fail("padding", c.Padding, "same")
	}
	if c.DataFormat != "" && c.DataFormat != "channels_last" {
		fail("data_format", c.DataFormat, "channels_last")
	}
	if numbers(c.OutputPadding) != nil && string(c.OutputPadding) != "null" {
		fail("output_padding", string(c.OutputPadding), "none")
	}
	if m := c.DepthMultiplier; m != nil && *m != 1 {
		fail("depth_multiplier", *m, "1")
	}
	if g := c.Groups; kind == model.Conv && g != nil && *g != 1 {
		fail("groups", *g, "1")
	}
	allowed := []string{"linear"}
	switch {
	case strings.HasSuffix(c.Name, "_se_reduce"):
		allowed = append(allowed, "swish")
	case strings.HasSuffix(c.Name, "_se_expand"):
		allowed = append(allowed, "sigmoid")
	}
	return append(problems, l.activation(allowed...)...)
}
