package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/models"
	"github.com/evopose/evopose/server/batch"
	"github.com/evopose/evopose/server/pose"
	"github.com/spf13/cobra"
)

// engineOptions say which runtime and models a command works with.
type engineOptions struct {
	ModelsDir string // directory of *.yaml and *.onnx; may be absent
	Provider  string // auto, cpu or cuda
	Threads   int    // 0: physical cores
	Library   string // ONNX Runtime's shared library; empty: find or install it
	Batch     batch.Options
	OnRun     func(model string, size int, run time.Duration)
}

// libraryOptions ask for the build of ONNX Runtime that the provider needs, and
// allow to install it.
func (o engineOptions) libraryOptions(progress io.Writer) ort.LibraryOptions {
	return ort.LibraryOptions{Path: o.Library, Provider: o.Provider, Install: true, Progress: progress}
}

// engine is a runtime, the models it can load and those it has loaded.
type engine struct {
	Library  ort.Library
	Registry *model.Registry
	Pool     *pose.Pool
}

// openEngine finds the runtime (installing it, with a progress bar on
// progress, when there is none), reads the models' cards and returns a pool
// that loads models on demand. The caller closes the pool.
func openEngine(ctx context.Context, o engineOptions, progress io.Writer) (*engine, error) {
	registry, err := models.Open(o.ModelsDir)
	if err != nil {
		return nil, err
	}
	return openEngineOn(ctx, registry, o, progress)
}

// openEngineOn is openEngine with these models.
func openEngineOn(ctx context.Context, registry *model.Registry, o engineOptions, progress io.Writer) (*engine, error) {
	library, err := ort.Init(ctx, o.libraryOptions(progress))
	if err != nil {
		return nil, err
	}
	session := ort.Options{Provider: o.Provider, Threads: o.Threads, MaxBatch: o.Batch.Max}
	pool := pose.NewPool(pose.PoolOptions{
		Registry: registry,
		Open: func(data []byte, card model.Card) (model.Runner, error) {
			return ort.Open(data, card, session)
		},
		Batch: o.Batch,
		OnRun: o.OnRun,
	})
	return &engine{Library: library, Registry: registry, Pool: pool}, nil
}

// close drains and closes the loaded models.
func (e *engine) close() error { return e.Pool.Close(context.Background()) }

// engineFlags are the flags shared by the commands that run models without a
// configuration file. Their defaults come from the same environment variables
// that `evopose serve` reads.
type engineFlags struct {
	model string
	engineOptions
	threads string // as given; an environment variable need not be a number
}

func (f *engineFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.model, "model", env("EVOPOSE_MODEL", "evopose2d-s"), "model name, its short form (s, m, l, xs), an ONNX file of ours, or a checkpoint of train")
	flags.StringVar(&f.ModelsDir, "models-dir", env("EVOPOSE_MODELS_DIR", "models"), "directory of model files (*.onnx with *.yaml)")
	flags.StringVar(&f.Provider, "provider", env("EVOPOSE_PROVIDER", "auto"), "execution provider: auto, cpu or cuda")
	flags.StringVar(&f.threads, "threads", env("EVOPOSE_THREADS", "0"), "threads of the network; 0: one per physical core")
	flags.StringVar(&f.Library, "ort-lib", "", "path of ONNX Runtime's shared library; empty: EVOPOSE_ORT_LIB, else find or install it")
}

// env returns an environment variable, or fallback when it is not set.
func env(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}

// check reports a flag outside its range as a usage error.
func (f *engineFlags) check() error {
	providers := []string{"auto", "cpu", "cuda"}
	if !slices.Contains(providers, f.Provider) {
		return usagef("--provider %q: want one of %s", f.Provider, strings.Join(providers, ", "))
	}
	n, err := strconv.Atoi(f.threads)
	if err != nil || n < 0 {
		return usagef("--threads %q: want a number, 0 or more", f.threads)
	}
	f.Threads = n
	return nil
}

// load opens the engine and the model that the flags name, which may be an ONNX
// file without a card. It warns when the model's keypoints mean nothing. The
// caller closes the engine.
func (f *engineFlags) load(c *cobra.Command) (*engine, *pose.Model, error) {
	registry, name, err := f.registry()
	if err != nil {
		return nil, nil, err
	}
	e, err := openEngineOn(c.Context(), registry, f.engineOptions, c.ErrOrStderr())
	if err != nil {
		return nil, nil, err
	}
	m, err := e.Pool.Get(c.Context(), name)
	if err != nil {
		return nil, nil, joinClose(err, e)
	}
	if !m.Card.Trained {
		fmt.Fprintf(c.ErrOrStderr(), "warning: model %s is not trained: its keypoints mean nothing\n", m.Card.Name)
	}
	return e, m, nil
}

// joinClose closes the engine after an error, which it returns.
func joinClose(err error, e *engine) error {
	return errors.Join(err, e.close())
}
