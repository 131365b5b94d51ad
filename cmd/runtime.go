package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evopose/evopose/model/ort"
)

// runtimeReport is what `evopose runtime --json` prints.
type runtimeReport struct {
	ort.Library
	Providers []string `json:"providers"`
	NoCUDA    string   `json:"no_cuda,omitempty"` // why cuda is not among them
	Cache     string   `json:"cache"`
}

func newRuntime() *cobra.Command {
	var o ort.LibraryOptions
	var asJSON bool
	c := &cobra.Command{
		Use:   "runtime",
		Short: "Show, or install, the ONNX Runtime library",
		Long: `Show which ONNX Runtime library is used: the one of --ort-lib or EVOPOSE_ORT_LIB, else one next to
the binary, in the user's cache, or in the system's usual places. With --install
it is installed into the cache (EVOPOSE_CACHE) when there is none, with pip or npm.`,
		Example: `  evopose runtime
  evopose runtime --install`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Progress = c.ErrOrStderr()
			return runRuntime(c, o, asJSON)
		},
	}
	c.Flags().BoolVar(&o.Install, "install", false, "install the library when there is none")
	c.Flags().StringVar(&o.Path, "ort-lib", "", "`path` of the library to look at")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func runRuntime(c *cobra.Command, o ort.LibraryOptions, asJSON bool) error {
	library, err := ort.Init(c.Context(), o)
	if err != nil {
		return err
	}
	r := runtimeReport{Library: library}
	r.Providers = ort.Providers()
	if reason := ort.CheckCUDA(0); reason != nil {
		r.NoCUDA = reason.Error()
	}
	if r.Cache, err = ort.CacheDir(); err != nil {
		return err
	}
	if asJSON {
		return writeJSON(c.OutOrStdout(), r)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "library    %s\nversion    %s\nsource     %s\nproviders  %s\ncache      %s\n",
		r.Path, r.Version, r.Source, strings.Join(r.Providers, ", "), r.Cache)
	if r.NoCUDA != "" && err == nil {
		_, err = fmt.Fprintf(c.OutOrStdout(), "no cuda    %s\n", r.NoCUDA)
	}
	return err
}
