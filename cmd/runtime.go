package cmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evopose/evopose/model/ort"
)

// runtimeReport is what `evopose runtime --json` prints.
type runtimeReport struct {
	ort.Library
	Tested    string   `json:"tested"`            // the version that is installed and tested
	Oldest    string   `json:"oldest"`            // the oldest that is accepted
	Binding   string   `json:"binding"`           // version of the Go binding
	Providers []string `json:"providers"`         // execution providers that load
	NoCUDA    string   `json:"no_cuda,omitempty"` // why cuda is not among them
	Threads   int      `json:"threads"`           // of a run on the CPU, by default
	Cache     string   `json:"cache"`             // where libraries are installed
}

func newRuntime() *cobra.Command {
	var o ort.LibraryOptions
	var asJSON bool
	c := &cobra.Command{
		Use:   "runtime",
		Short: "Show, or install, the ONNX Runtime library",
		Long: `Show which ONNX Runtime library is used: the one of --ort-lib or EVOPOSE_ORT_LIB, else one
beside the program, in the user's cache, or in the system's usual places. With --install it is
installed into the cache (EVOPOSE_CACHE) when there is none: by pip, by npm, or from the release archive.`,
		Example: `  evopose runtime
  evopose runtime --install
  evopose runtime --install --provider cuda   # the build for NVIDIA GPUs, 220 MB`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := ort.ParseProvider(o.Provider); err != nil {
				return usagef("--%w", err)
			}
			o.Progress = c.ErrOrStderr()
			return runRuntime(c, o, asJSON)
		},
	}
	c.Flags().BoolVar(&o.Install, "install", false, "install the library when there is none")
	c.Flags().StringVar(&o.Provider, "provider", ort.Auto, "what it is for: auto, cpu or cuda (a build of its own)")
	c.Flags().StringVar(&o.Path, "ort-lib", "", "`path` of the library, or its folder, to look at")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func runRuntime(c *cobra.Command, o ort.LibraryOptions, asJSON bool) error {
	library, err := ort.Init(c.Context(), o)
	if err != nil {
		return err
	}
	r := runtimeReport{Library: library, Tested: ort.Version, Oldest: ort.Oldest, Binding: ort.BindingVersion,
		Providers: ort.Providers(), Threads: ort.PhysicalCores()}
	if reason := ort.CheckCUDA(0); reason != nil {
		r.NoCUDA = reason.Error()
	}
	if r.Cache, err = ort.CacheDir(); err != nil {
		return err
	}
	if asJSON {
		return writeJSON(c.OutOrStdout(), r)
	}
	return r.print(c.OutOrStdout())
}

func (r runtimeReport) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, `library    %s
version    %s (tested: %s; %s or newer serves)
source     %s
binding    %s
providers  %s
threads    %d
cache      %s
`, r.Path, r.Version, r.Tested, r.Oldest, r.Source, r.Binding, strings.Join(r.Providers, ", "), r.Threads, r.Cache)
	if err == nil && r.NoCUDA != "" {
		_, err = fmt.Fprintf(w, "no cuda    %s\n", strings.TrimPrefix(r.NoCUDA, "provider cuda: "))
	}
	return err
}
