package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/evopose/evopose/server/batch"
	"github.com/spf13/cobra"
)

type benchFlags struct {
	engineFlags
	seconds      float64
	concurrency  int
	images, data string
	json         bool
}

func newBench() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the server against the bare network",
		Long: `Measure how many crops a second the network alone runs (full batches, nothing
else), how many the whole server serves over loopback HTTP (decode, crop, batch,
network, keypoints, JSON), their ratio, and where a request's time goes.

The two take turns in short slices, so that a machine that is faster or slower
for a while disturbs both alike; rates are medians over the slices. The clients
run in the same process and share its processors.

Pictures are synthetic 640x480 JPEGs with one person each, or those of --images
with the boxes of --data.`,
		Example: `  evopose bench
  evopose bench --model m --provider cuda --seconds 60 --concurrency 64
  evopose bench --images val --data val.json --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runBench(c, &f) },
	}
	f.register(c)
	flags := c.Flags()
	flags.Float64Var(&f.seconds, "seconds", 10, "how long to measure, warm-up not counted")
	flags.IntVar(&f.concurrency, "concurrency", 0, "clients, each with one request at a time; 0: twice the batch")
	flags.IntVar(&f.Batch.Max, "batch", 16, "largest batch")
	flags.DurationVar(&f.Batch.Delay, "delay", 2*time.Millisecond, "how long a crop waits for company while the network is idle")
	flags.StringVar(&f.images, "images", "", "directory of pictures to post")
	flags.StringVar(&f.data, "data", "", "COCO annotation file with the boxes of --images")
	flags.BoolVar(&f.json, "json", false, "print the report as JSON")
	return c
}

func (f *benchFlags) check() error {
	if err := f.engineFlags.check(); err != nil {
		return err
	}
	switch {
	case !(f.seconds >= 0.1 && f.seconds <= 3600):
		return usagef("--seconds %v: want 0.1 to 3600", f.seconds)
	case f.Batch.Max < 1 || f.Batch.Max > 1024:
		return usagef("--batch %d: want 1 to 1024", f.Batch.Max)
	case f.concurrency < 0 || f.concurrency > 10000:
		return usagef("--concurrency %d: want 0 to 10000", f.concurrency)
	case f.data != "" && f.images == "":
		return usagef("--data needs --images")
	}
	if f.concurrency == 0 {
		f.concurrency = 2 * f.Batch.Max
	}
	return nil
}

func runBench(c *cobra.Command, f *benchFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	jobs, err := benchJobs(f.images, f.data)
	if err != nil {
		return err
	}
	f.Batch.Queue = benchQueue(jobs, f.concurrency, f.Batch)
	var log runLog
	f.OnRun = func(_ string, size int, run time.Duration) { log.add(size, run) }
	e, m, err := f.load(c)
	if err != nil {
		return err
	}
	handler, err := benchHandler(c.Context(), e, m.Card.Name)
	if err != nil {
		return joinClose(err, e)
	}
	b := &bench{runner: m.Runner, handler: handler, log: &log, jobs: jobs, batch: f.Batch.Max, clients: f.concurrency}
	report, err := b.measure(c.Context(), time.Duration(f.seconds*float64(time.Second)))
	if err != nil {
		return joinClose(err, e)
	}
	report.Model, report.Provider, report.Runtime = m.Card.Name, m.Runner.Provider(), e.Library.Version
	if err := f.print(c.OutOrStdout(), report); err != nil {
		return joinClose(err, e)
	}
	return e.close()
}

// benchQueue returns a queue that never refuses: the bench measures speed.
func benchQueue(jobs []job, clients int, o batch.Options) int {
	most := slices.MaxFunc(jobs, func(a, b job) int { return a.crops - b.crops }).crops
	return max(most*clients, 16*o.Max)
}

// benchReport is what bench measured.
type benchReport struct {
	Model       string `json:"model"`
	Provider    string `json:"provider"`
	Runtime     string `json:"onnxruntime"`
	Batch       int    `json:"batch"`
	Concurrency int    `json:"concurrency"`
	// Slices is the number of pairs of a raw and a served slice.
	Slices int `json:"slices"`
	// Raw is the network's rate in full batches, Served that behind HTTP, in
	// crops a second; Ratio is the median of the pairs' Served/Raw.
	Raw    float64 `json:"raw_crops_per_second"`
	Served float64 `json:"served_crops_per_second"`
	Ratio  float64 `json:"ratio"`
	// Requests is the number of answers; Images the rate of answers.
	Requests int     `json:"requests"`
	Images   float64 `json:"images_per_second"`
	// MeanBatch is the mean number of crops in a served run.
	MeanBatch float64 `json:"mean_batch"`
	// Stages are those of Server-Timing, and "request" as the client saw it.
	Stages []stageReport `json:"stages"`
}

// stageReport is the distribution of one stage's time, in milliseconds.
type stageReport struct {
	Stage string  `json:"stage"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
}

func (f *benchFlags) print(w io.Writer, r benchReport) error {
	if f.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "model\t%s on %s, ONNX Runtime %s\n", r.Model, r.Provider, r.Runtime)
	fmt.Fprintf(t, "raw\t%.1f crops/s in batches of %d\n", r.Raw, r.Batch)
	fmt.Fprintf(t, "served\t%.1f crops/s, %.1f images/s to %d clients, mean batch %.1f\n", r.Served, r.Images, r.Concurrency, r.MeanBatch)
	fmt.Fprintf(t, "ratio\t%.3f (median of %d slices, %d requests)\n", r.Ratio, r.Slices, r.Requests)
	fmt.Fprintf(t, "\nstage\tp50 ms\tp99 ms\n")
	for _, s := range r.Stages {
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\n", s.Stage, s.P50, s.P99)
	}
	return t.Flush()
}
