package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"

	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs"
	"github.com/evopose/evopose/search/train"
	"github.com/evopose/evopose/search/trainer"
	"github.com/evopose/evopose/server"
)

// workerFlags are the flags of evopose worker.
type workerFlags struct {
	broker                       jobs.Connection
	search, name, cache          string
	data, images, val, valImages []string
	provider, library            string
	threads                      int
	saveMemory                   bool
	log                          server.Config // only the log's part
	logLevel, logFormat          string
}

func newWorker() *cobra.Command {
	var f workerFlags
	c := &cobra.Command{
		Use:   "worker --nats URL",
		Short: "Evaluate networks for a search, on this machine",
		Long: `Evaluate networks for searches: take one at a time from the broker, train it, and
answer with its loss and weights. Any number of workers may join and leave at any
time. Ctrl-C hands the evaluation in hand to another worker at once.

The settings come from the search. So do the labelled pictures if it was started
with --send-data; else name the same files here, in any order. They are compared
by SHA-256, and a worker whose data differs refuses, naming the file.

The password is taken from EVOPOSE_NATS_PASSWORD, a token from EVOPOSE_NATS_TOKEN.
See docs/search.md, "Many machines".`,
		Example: `  evopose worker --nats nats://10.0.0.5:4222
  evopose worker --nats nats://10.0.0.5:4222 --data train.json --images train --val val.json --val-images val
  evopose worker --nats tls://broker.example:4222 --nats-ca ca.pem --nats-creds worker.creds
  evopose worker --nats nats://10.0.0.5:4222 --search 2a1f09c3 --provider cuda`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runWorker(c, &f) },
	}
	f.register(c)
	return c
}

func (f *workerFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.DurationVar(&f.broker.Wait, "wait", 30*time.Second, "how long to wait at the start for the broker, and for --search; later it is for ever")
	flags.StringVar(&f.search, "search", "", "`ID` of the search to work for, until it ends (default: any, one after the other, for ever)")
	flags.StringVar(&f.name, "name", "", "name of this worker in results and logs (default: host and process)")
	flags.StringArrayVar(&f.data, "data", nil, "COCO keypoint annotation `file` that the search trains on; may be repeated")
	flags.StringArrayVar(&f.images, "images", nil, "`directory` of the pictures of the --data in the same place")
	flags.StringArrayVar(&f.val, "val", nil, "annotation `file` that the search validates on; may be repeated")
	flags.StringArrayVar(&f.valImages, "val-images", nil, "`directory` of the pictures of the --val in the same place")
	flags.StringVar(&f.cache, "cache", "", "`folder` for data sets from the broker (default: EVOPOSE_CACHE, else the user's cache)")
	flags.IntVar(&f.threads, "threads", 0, "threads of a training; 0: one per physical core")
	flags.StringVar(&f.provider, "provider", "cpu", "execution provider: cpu or cuda")
	flags.BoolVar(&f.saveMemory, "save-memory", false, "training steps mostly take less memory, up to two fifths, and a few per cent longer")
	flags.StringVar(&f.library, "ort-lib", "", "path of ONNX Runtime's shared library; empty: EVOPOSE_ORT_LIB, else find or install it")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.logFormat, "log-format", "console", "json or console")
	registerBroker(c, &f.broker)
}

func runWorker(c *cobra.Command, f *workerFlags) error {
	data, err := f.complete()
	if err != nil {
		return err
	}
	log, err := newLogger(f.log)
	if err != nil {
		return err
	}
	defer log.Sync() //nolint:errcheck // standard error need not support it
	w := jobs.Worker{Connection: f.broker, Search: f.search, Name: f.name, Data: data, Cache: f.cache, Log: log,
		Factory: func(ctx context.Context, s jobs.Setup) (search.Evaluator, error) {
			return f.open(ctx, s, c.ErrOrStderr())
		}}
	return w.Work(c.Context())
}

// complete checks the flags and returns the data sets that they name.
func (f *workerFlags) complete() (data jobs.Data, err error) {
	switch {
	case f.broker.URL == "":
		return data, usagef("--nats: missing: want the broker's URL, such as nats://10.0.0.5:4222; evopose search shows it")
	case f.provider != ort.CPU && f.provider != ort.CUDA:
		return data, usagef("--provider %q: want cpu or cuda", f.provider)
	case f.threads < 0:
		return data, usagef("--threads %d: want 0 (one per physical core) or more", f.threads)
	case f.broker.Wait < 0:
		return data, usagef("--wait %v: want 0 or more", f.broker.Wait)
	case f.logFormat != "json" && f.logFormat != "console":
		return data, usagef("--log-format %q: want json or console", f.logFormat)
	}
	if err := f.broker.Validate(); err != nil {
		return data, usagef("--nats: %w", err)
	}
	if err := jobs.CheckID(f.search); f.search != "" && err != nil {
		return data, usagef("--search: %w", err)
	}
	level, err := zapcore.ParseLevel(f.logLevel)
	if err != nil {
		return data, usagef("--log-level %q: want debug, info, warn or error", f.logLevel)
	}
	f.log.LogLevel, f.log.LogJSON = level, f.logFormat == "json"
	if f.cache, err = cacheDir(f.cache); err != nil {
		return data, err
	}
	if data.Train, err = ownSets("data", "images", f.data, f.images); err != nil {
		return data, err
	}
	data.Val, err = ownSets("val", "val-images", f.val, f.valImages)
	return data, err
}

// ownSets pairs annotation files with their pictures; there may be none.
func ownSets(a, b string, files, dirs []string) ([]jobs.Set, error) {
	if len(files)+len(dirs) == 0 {
		return nil, nil
	}
	sets, err := pairs(a, b, files, dirs)
	return jobSets(sets), err
}

func cacheDir(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	if dir := os.Getenv(ort.CacheEnv); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for data sets: %w; name one with --cache", err)
	}
	return filepath.Join(dir, "evopose"), nil
}

// open makes the evaluator for a search.
func (f *workerFlags) open(ctx context.Context, s jobs.Setup, progress io.Writer) (search.Evaluator, error) {
	o := trainer.Options{Graph: ort.GraphOptions{Provider: f.provider, Threads: f.threads, SaveMemory: f.saveMemory}, Name: f.name,
		Data: trainSets(s.Data.Train), Val: trainSets(s.Data.Val)}
	if err := json.Unmarshal(s.Settings, &o.Config); err != nil {
		return nil, fmt.Errorf("settings: %w; is the search of another version of evopose?", err)
	}
	if _, err := ort.Init(ctx, ort.LibraryOptions{Path: f.library, Provider: f.provider, Install: true, Progress: progress}); err != nil {
		return nil, err
	}
	return trainer.Open(ctx, o)
}

func trainSets(sets []jobs.Set) []train.DataSet {
	var all []train.DataSet
	for _, s := range sets {
		all = append(all, train.DataSet{Annotations: s.Annotations, Images: s.Images})
	}
	return all
}
