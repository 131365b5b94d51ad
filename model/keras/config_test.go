package keras

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
)

// layer returns a layer's JSON; more are settings beside its name.
func layer(class, name, more string) string {
	return fmt.Sprintf(`{"class_name": %q, "config": {"name": %q%s}}`, class, name, more)
}

// conv returns the settings of a sound convolution with one setting changed;
// of a key that is there twice the last one counts.
func conv(strides, changed string) string {
	s := `, "strides": ` + strides + `, "padding": "same", "data_format": "channels_last", "dilation_rate": [1, 1], "groups": 1, "activation": "linear", "output_padding": null`
	if changed != "" {
		s += ", " + changed
	}
	return s
}

func configOf(t *testing.T, layers ...string) *config {
	t.Helper()
	c, err := parseConfig(`{"class_name": "Functional", "config": {"name": "evopose", "layers": [` + strings.Join(layers, ", ") + `]}}`)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigTells(t *testing.T) {
	for _, key := range []string{"batch_shape", "batch_input_shape"} {
		inner := fmt.Sprintf(`{"class_name": "Functional", "config": {"name": "inner", "layers": [%s]}}`, layer("DepthwiseConv2D", "block1a_dwconv", conv("1", "")))
		c := configOf(t, layer("InputLayer", "in", `, "`+key+`": [null, 256, 192, 3]`), layer("Conv2D", "stem_conv", conv("[2, 2]", "")), inner)
		if got := c.input(); got != (model.Size{H: 256, W: 192}) {
			t.Errorf("%s: input %v", key, got)
		}
		if d := cmp.Diff(map[string]int{"stem_conv": 2, "block1a_dwconv": 1}, c.strides()); d != "" {
			t.Error(d)
		}
		named := &naming{layers: map[string]bool{"stem_conv": true, "block1a_dwconv": true}}
		if problems := c.problems(named); problems != nil {
			t.Error(problems)
		}
	}
	if got := configOf(t, layer("InputLayer", "in", `, "batch_shape": [null, null, null, 3]`)).input(); got != (model.Size{}) {
		t.Errorf("an open input: %v", got)
	}
}

// TestConfigProblems has one layer for each rule.
func TestConfigProblems(t *testing.T) {
	dense := conv("[1, 1]", "")
	for _, test := range []struct{ layer, want string }{
		{layer("Conv2D", "stem_conv", conv("[2, 2]", "")), ""},
		{layer("Conv2D", "block1a_se_reduce", conv("[1, 1]", `"activation": "silu"`)), ""},
		{layer("Conv2D", "block1a_se_reduce", conv("[1, 1]", `"activation": {"class_name": "function", "config": "swish", "module": "builtins"}`)), ""},
		{layer("Conv2D", "block1a_se_expand", conv("[1, 1]", `"activation": "sigmoid"`)), ""},
		{layer("BatchNormalization", "stem_bn", `, "epsilon": 0.001, "momentum": 0.9`), ""},
		{layer("SyncBatchNormalization", "stem_bn", `, "epsilon": 0.001`), ""},
		{layer("Activation", "any", `, "activation": "swish"`), ""},
		{layer("Dropout", "block2b_drop", ``), ""},
		{layer("InputLayer", "in", `, "batch_shape": [null, null, null, 3]`), ""},

		{layer("SeparableConv2D", "stem_conv", dense), "stem_conv: a SeparableConv2D: want a Conv2D"},
		{layer("Conv2D", "block1a_dwconv", dense), "block1a_dwconv: a Conv2D: want a DepthwiseConv2D"},
		{layer("Conv2D", "block1a_project_conv", dense), "block1a_project_conv: the model has this layer, the file no weights for it"},
		{layer("Conv2D", "stem_conv", conv("[2, 1]", "")), "stem_conv: strides [2, 1]: want two equal ones"},
		{layer("Conv2D", "stem_conv", conv("[2, 2]", `"dilation_rate": [2, 2]`)), "stem_conv: dilation_rate [2 2]: want 1"},
		{layer("Conv2D", "stem_conv", conv("[2, 2]", `"padding": "valid"`)), "stem_conv: padding valid: want same"},
		{layer("Conv2D", "stem_conv", conv("[2, 2]", `"data_format": "channels_first"`)), "stem_conv: data_format channels_first: want channels_last"},
		{layer("Conv2D", "stem_conv", conv("[2, 2]", `"groups": 4`)), "stem_conv: groups 4: want 1"},
		{layer("Conv2D", "stem_conv", conv("[2, 2]", `"activation": "swish"`)), `stem_conv: activation "swish": want linear`},
		{layer("Conv2D", "block1a_se_reduce", conv("[1, 1]", `"activation": "relu"`)), `block1a_se_reduce: activation "relu": want linear or swish`},
		{layer("Conv2D", "block1a_se_expand", conv("[1, 1]", `"activation": "hard_sigmoid"`)), `block1a_se_expand: activation "hard_sigmoid": want linear or sigmoid`},
		{layer("DepthwiseConv2D", "block1a_dwconv", conv("[1, 1]", `"depth_multiplier": 2`)), "block1a_dwconv: depth_multiplier 2: want 1"},
		{layer("Conv2DTranspose", "head_block1_conv", conv("[2, 2]", `"output_padding": [1, 1]`)), "head_block1_conv: output_padding [1, 1]: want none"},
		{layer("BatchNormalization", "stem_bn", `, "epsilon": 1e-05`), "stem_bn: epsilon 1e-05: want 0.001"},
		{layer("LayerNormalization", "stem_bn", ``), "stem_bn: a LayerNormalization: want a BatchNormalization"},
		{layer("Activation", "stem_activation", `, "activation": "relu"`), `stem_activation: activation "relu": want linear or swish or sigmoid`},
		{layer("Activation", "odd", `, "activation": 7`), `odd: activation "7": want linear or swish or sigmoid`},
		{layer("Rescaling", "rescaling", ``), "rescaling: a Rescaling: our networks have no such layer"},
		{layer("InputLayer", "in", `, "batch_shape": [null, 256, 192, 1]`), "in: an input that is not [batch, height, width, 3]"},
	} {
		named := &naming{layers: map[string]bool{"stem_conv": true, "stem_bn": true, "block1a_dwconv": true, "block1a_se_reduce": true, "block1a_se_expand": true, "head_block1_conv": true}}
		got := strings.Join(configOf(t, test.layer).problems(named), "\n")
		if got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.layer, got, test.want)
		}
	}
}

func TestConfigThatIsNone(t *testing.T) {
	for text, want := range map[string]string{
		``:   "model_config: unexpected end",
		`[]`: "model_config: json:",
		`{"class_name": "Sequential", "config": {"name": "x"}}`: `model_config: a "Sequential" without layers`,
	} {
		if _, err := parseConfig(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
