package cmd

import (
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/evopose/evopose/models"
	"github.com/evopose/evopose/server"
)

// serveFlags are the configuration keys that have a flag.
var serveFlags = []struct{ key, flag, usage string }{
	{"listen", "listen", "address to listen on (default :8080)"},
	{"model", "model", "default model, such as evopose2d-s (default) or m"},
	{"load", "load", "models to load at start, separated by commas"},
	{"models_dir", "models-dir", "folder of model files (default models)"},
	{"provider", "provider", "execution provider: auto (default), cpu or cuda"},
	{"threads", "threads", "threads of the network (default 0: physical cores)"},
	{"log.level", "log-level", "debug, info (default), warn or error"},
	{"log.format", "log-format", "json (default) or console"},
}

func newServe() *cobra.Command {
	var file, library string
	var check bool
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve keypoints over HTTP",
		Long: `Serve POST picture -> keypoints over HTTP.

Every key of the configuration file is also an environment variable
(batch.max is EVOPOSE_BATCH_MAX), and the common ones a flag: flags win over the
environment, the environment over the file, the file over the defaults. See
docs/configuration.md.`,
		Example: `  evopose serve
  evopose serve --listen 127.0.0.1:9000 --model m
  EVOPOSE_BATCH_MAX=8 evopose serve --config evopose.yaml
  evopose serve --config evopose.yaml --check`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := readConfig(c, file)
			if err != nil {
				return err
			}
			if check {
				fmt.Fprintln(c.OutOrStdout(), "the configuration is valid")
				return nil
			}
			return serve(c, config, library)
		},
	}
	flags := c.Flags()
	flags.StringVar(&file, "config", os.Getenv("EVOPOSE_CONFIG"), "YAML configuration `file`")
	flags.StringVar(&library, "ort-lib", "", "`path` of ONNX Runtime's shared library (default: EVOPOSE_ORT_LIB, else found or installed)")
	flags.BoolVar(&check, "check", false, "only check the configuration")
	for _, f := range serveFlags {
		flags.String(f.flag, "", f.usage)
	}
	return c
}

// readConfig merges file, environment and flags and checks the result,
// including that the models exist.
func readConfig(c *cobra.Command, file string) (server.Config, error) {
	var text []byte
	if file != "" {
		var err error
		if text, err = os.ReadFile(file); err != nil {
			return server.Config{}, fmt.Errorf("--config: %w", err)
		}
	}
	flags := map[string]string{}
	for _, f := range serveFlags {
		if flag := c.Flags().Lookup(f.flag); flag.Changed {
			flags[f.key] = flag.Value.String()
		}
	}
	config, err := server.LoadConfig(file, text, os.Environ(), flags)
	if err != nil {
		return config, fmt.Errorf("configuration: %w", err)
	}
	registry, err := models.Open(config.ModelsDir)
	if err != nil {
		return config, err
	}
	if err := config.CheckModels(registry); err != nil {
		return config, fmt.Errorf("configuration: %w", err)
	}
	return config, nil
}

func newLogger(config server.Config) (*zap.Logger, error) {
	z := zap.NewProductionConfig()
	z.Level = zap.NewAtomicLevelAt(config.LogLevel)
	z.Sampling = nil // one line a request
	z.DisableStacktrace, z.DisableCaller = true, true
	z.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	z.EncoderConfig.TimeKey = "time"
	if !config.LogJSON {
		z.Encoding = "console"
	}
	return z.Build()
}

func serve(c *cobra.Command, config server.Config, library string) error {
	log, err := newLogger(config)
	if err != nil {
		return err
	}
	defer log.Sync() //nolint:errcheck // standard error need not support it
	listener, err := new(net.ListenConfig).Listen(c.Context(), "tcp", config.Listen)
	if err != nil {
		return fmt.Errorf("%w; choose another address with --listen", err)
	}
	defer listener.Close()
	metrics := server.NewMetrics()
	e, err := openEngine(c.Context(), engineOptions{ModelsDir: config.ModelsDir, Provider: config.Provider, Threads: config.Threads,
		Library: library, Batch: config.Batch, OnRun: metrics.OnRun}, c.ErrOrStderr())
	if err != nil {
		return err
	}
	log.Info("ONNX Runtime", zap.String("version", e.Library.Version), zap.String("path", e.Library.Path), zap.String("source", e.Library.Source))
	s, err := server.New(config, e.Pool, e.Registry, metrics, log)
	if err != nil {
		return joinClose(err, e)
	}
	if !strings.EqualFold(config.LogLevel.String(), "error") {
		fmt.Fprintf(c.ErrOrStderr(), "evopose serves on http://%s\n", browserAddress(listener.Addr()))
	}
	return s.Run(c.Context(), listener)
}

// browserAddress writes an address of all interfaces as one that a browser
// can open.
func browserAddress(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", tcp.Port)
	}
	return a.String()
}
