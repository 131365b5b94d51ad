// Command simulate measures how a search spreads over workers whose
// evaluations sleep for a known time:
//
//	go run ./search/jobs/simulate                        # 1, 2, 4, 8 workers
//	go run ./search/jobs/simulate -workers 1000 -epochs 10 -epoch 1s -generations 3
//
// Everything is in one process: broker, coordinator, and workers with a
// connection each.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs"
	"github.com/evopose/evopose/search/jobs/jobstest"
)

// setting is what is measured.
type setting struct {
	workers            []int
	jobs, epochs, size int
	generations        int
	epoch, ackWait     time.Duration
}

func main() {
	var s setting
	workers := flag.String("workers", "1,2,4,8", "numbers of workers")
	flag.IntVar(&s.jobs, "jobs", 0, "evaluations in a generation (default 8 for each worker of the largest number, at most 1000 in all)")
	flag.IntVar(&s.generations, "generations", 1, "generations")
	flag.IntVar(&s.epochs, "epochs", 4, "epochs of an evaluation")
	flag.DurationVar(&s.epoch, "epoch", 250*time.Millisecond, "time of an epoch")
	flag.IntVar(&s.size, "size", 64, "bytes of trained weights")
	flag.DurationVar(&s.ackWait, "ack-wait", 30*time.Second, "silence after which a worker is taken for dead")
	flag.Parse()
	if err := s.run(*workers); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

func (s setting) run(workers string) error {
	for _, text := range strings.Split(workers, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("workers %q: want numbers from 1", text)
		}
		s.workers = append(s.workers, n)
	}
	if s.jobs == 0 {
		most := s.workers[len(s.workers)-1]
		s.jobs = max(most, min(8*most, 1000))
	}
	fmt.Printf("%d evaluations of %d x %v in each of %d generations, weights of %d bytes; %d processors, load %s\n",
		s.jobs, s.epochs, s.epoch, s.generations, s.size, runtime.NumCPU(), load())
	fmt.Println("workers  generation_s  ideal_s  efficiency  jobs_per_s  heap_MB  rss_MB  stored_MB")
	for _, n := range s.workers {
		if err := s.measure(n); err != nil {
			return err
		}
	}
	return nil
}

// measure runs a search of its own.
func (s setting) measure(workers int) (err error) {
	dir, err := os.MkdirTemp("", "simulate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := jobs.Embedded(dir, jobs.BrokerOptions{})
	if err != nil {
		return err
	}
	defer b.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log, err := zap.NewDevelopment(zap.IncreaseLevel(zap.ErrorLevel))
	if err != nil {
		return err
	}
	c, err := jobs.Open(ctx, b.Connection(), jobs.Search{ID: "simulated", AckWait: s.ackWait}, jobs.Options{Log: log})
	if err != nil {
		return err
	}
	defer c.Close()
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for i := range workers {
		w := jobs.Worker{Connection: jobs.Connection{URL: b.URL(), Wait: time.Minute}, Name: fmt.Sprint("w", i), Log: log,
			Factory: func(context.Context, jobs.Setup) (search.Evaluator, error) {
				return jobstest.Evaluator{Epoch: s.epoch, Size: s.size}, nil
			}}
		time.Sleep(5 * time.Millisecond) // not all at the same instant
		all.Go(func() {
			if err := w.Work(ctx); err != nil {
				fmt.Fprintln(os.Stderr, "worker:", err)
			}
		})
	}
	if err := until(ctx, c, workers); err != nil {
		return err
	}
	for g := range s.generations {
		if err := s.generation(ctx, c, g, workers, dir); err != nil {
			return err
		}
	}
	return nil
}

// until waits until so many workers ask for jobs.
func until(ctx context.Context, c *jobs.Coordinator, workers int) error {
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		waiting, _, err := c.Workers(ctx)
		if err == nil && waiting >= workers {
			return nil
		}
		if time.Since(begin) > 2*time.Minute {
			return fmt.Errorf("only %d of %d workers ask for jobs, error %w", waiting, workers, err)
		}
	}
}

func (s setting) generation(ctx context.Context, c *jobs.Coordinator, g, workers int, dir string) error {
	var list []search.Job
	for i := range s.jobs {
		id := g*s.jobs + i
		list = append(list, search.Job{ID: id, Generation: g, Parent: -1, Genotype: model.GenotypeDefault, Seed: uint64(id), Epochs: s.epochs})
	}
	told := 0
	begin := time.Now()
	results, err := c.Evaluate(ctx, list, func(search.Result) { told++ })
	if err != nil {
		return err
	}
	took := time.Since(begin).Seconds()
	if err := check(list, results, told, s.size); err != nil {
		return err
	}
	rounds := (s.jobs + workers - 1) / workers
	ideal := (time.Duration(rounds*s.epochs) * s.epoch).Seconds()
	heap, rss := memory()
	fmt.Printf("%7d  %12.2f  %7.2f  %10.3f  %10.1f  %7.1f  %6.1f  %9.1f\n", workers, took, ideal, ideal/took, float64(s.jobs)/took, heap, rss, stored(dir))
	return nil
}

// check requires that each job was evaluated and told once.
func check(list []search.Job, results []search.Result, told, size int) error {
	if told != len(list) {
		return fmt.Errorf("%d results of %d jobs were told", told, len(list))
	}
	for i, j := range list {
		if want := jobstest.Loss(jobstest.Weights(j, nil, max(size, 64))); results[i].ID != j.ID || results[i].Loss != want {
			data, _ := json.Marshal(results[i])
			return fmt.Errorf("job %d: result %s, want loss %v", j.ID, data, want)
		}
	}
	return nil
}
