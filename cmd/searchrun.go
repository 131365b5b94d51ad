package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs"
	"github.com/evopose/evopose/search/train"
	"github.com/evopose/evopose/search/trainer"
)

func runSearch(c *cobra.Command, f *searchFlags) (err error) {
	if f.reportOnly {
		return writeReport(c.OutOrStdout(), f.out)
	}
	if err := f.complete(c); err != nil {
		return err
	}
	unlock, err := train.LockRun(f.out)
	if err != nil {
		return err
	}
	defer unlock()
	header, err := f.header()
	if err != nil {
		return err
	}
	journal, err := search.OpenJournal(f.out, header)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	progress := newSearchProgress(c.ErrOrStderr(), tableWriter(c, f), f.settings)
	defer progress.close()
	ctx, stop := context.WithCancelCause(c.Context())
	defer stop(nil)
	engine, err := openSearchEngine(ctx, c, f, journal, progress, stop)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.close()) }()
	entries, err := evolve(ctx, f.settings, engine, journal, progress)
	if err != nil {
		return err
	}
	progress.close()
	if err := engine.End(ctx); err != nil {
		return err
	}
	return f.finish(ctx, c.OutOrStdout(), engine, journal.Header(), entries)
}

// tableWriter is where the generations' tables go.
func tableWriter(c *cobra.Command, f *searchFlags) io.Writer {
	if f.asJSON {
		return c.ErrOrStderr()
	}
	return c.OutOrStdout()
}

// searchEngine is the coordinator of a search with what it needs in this
// process: the broker and workers.
type searchEngine struct {
	*jobs.Coordinator
	broker    *jobs.Broker // nil if it is elsewhere
	evaluator *trainer.Evaluator
	stop      context.CancelFunc // ends the workers
	workers   sync.WaitGroup
}

// openSearchEngine reads the data and starts the broker and the workers. A worker
// that cannot work ends the search through failed.
func openSearchEngine(ctx context.Context, c *cobra.Command, f *searchFlags, j *search.Journal, p *searchProgress, failed context.CancelCauseFunc) (_ *searchEngine, err error) {
	if len(j.Entries()) >= f.settings.Total() {
		f.workers = 0 // all is there
	}
	e := &searchEngine{stop: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	if f.workers > 0 {
		if _, err := ort.Init(ctx, ort.LibraryOptions{Path: f.library, Provider: f.provider, Install: true, Progress: c.ErrOrStderr()}); err != nil {
			return e, err
		}
		if e.evaluator, err = trainer.Open(ctx, f.trainer); err != nil {
			return e, err
		}
	}
	log := p.logger()
	if f.broker.URL == "" {
		if e.broker, err = jobs.Embedded(f.out, jobs.BrokerOptions{Listen: f.listen, Password: f.broker.Password, Token: f.broker.Token, User: f.broker.User,
			Cert: f.broker.Cert, Key: f.broker.Key, CA: f.broker.CA, Log: log}); err != nil {
			return e, err
		}
		f.broker = e.broker.Connection()
	}
	s, err := f.jobs(j.Header())
	if err != nil {
		return e, err
	}
	if e.Coordinator, err = jobs.Open(ctx, f.broker, s, jobs.Options{Log: log, Progress: p.epoch}); err != nil {
		return e, err
	}
	if f.start != nil {
		if _, err := e.PutWeights(ctx, f.start); err != nil {
			return e, err
		}
	}
	e.startWorkers(ctx, f, s.ID, log, failed)
	if e.broker != nil && len(j.Entries()) < f.settings.Total() {
		fmt.Fprintf(p, "more workers may join: evopose worker --nats %s --search %s\n", e.broker.URL(), s.ID)
	}
	return e, nil
}

// startWorkers starts the workers of this process.
func (e *searchEngine) startWorkers(ctx context.Context, f *searchFlags, id string, log *zap.Logger, failed context.CancelCauseFunc) {
	ctx, e.stop = context.WithCancel(ctx)
	for i := range f.workers {
		w := jobs.Worker{Connection: f.broker, Search: id, Name: fmt.Sprintf("here-%d", i+1), Data: f.jobsData(), Cache: filepath.Join(f.out, "cache"), Log: log,
			Factory: func(context.Context, jobs.Setup) (search.Evaluator, error) { return e.evaluator, nil }}
		e.workers.Go(func() {
			if err := w.Work(ctx); err != nil && ctx.Err() == nil {
				failed(fmt.Errorf("worker %s: %w", w.Name, err))
			}
		})
	}
}

// close ends the workers first, then what they use. Parts that were not opened
// are left out.
func (e *searchEngine) close() error {
	e.stop()
	e.workers.Wait()
	var errs []error
	if e.Coordinator != nil {
		errs = append(errs, e.Close())
	}
	if e.broker != nil {
		errs = append(errs, e.broker.Close())
	}
	if e.evaluator != nil {
		e.evaluator.Close()
	}
	return errors.Join(errs...)
}

// searched is what `evopose search --json` prints.
type searched struct {
	Evaluations int            `json:"evaluations"`
	Best        []search.Entry `json:"best"` // the parents that a next generation would have
	Fitness     float64        `json:"fitness"`
	Winner      exported       `json:"winner"`
}

// finish writes the winner and tells of it.
func (f *searchFlags) finish(ctx context.Context, w io.Writer, engine search.Engine, h search.Header, entries []search.Entry) error {
	// Whatever parents are chosen by, the winner is the fittest.
	byFitness := f.settings
	byFitness.Selection = search.SelectFitness
	best := byFitness.Best(entries)
	if len(best) == 0 {
		return fmt.Errorf("none of %d evaluations has a loss; the first failed: %s", len(entries), entries[0].Result.Failed)
	}
	id := best[0].Job.ID
	file, err := engine.Weights(ctx, best[0].Result)
	if err != nil {
		return err
	}
	data, card, err := search.Export(file, f.name, h, entries, id, f.before)
	if err != nil {
		return err
	}
	e, err := writeModel(filepath.Join(f.out, f.name+".onnx"), card, data)
	if err != nil {
		return err
	}
	if f.asJSON {
		return writeJSON(w, searched{len(entries), f.settings.Best(entries), search.Fitness(f.settings.Cost, best[0].Result), e})
	}
	fmt.Fprintf(w, "\nthe best of %d evaluations is %d:\n", len(entries), id)
	for _, line := range card.Lineage {
		fmt.Fprintf(w, "  %s\n", line)
	}
	return e.write(w)
}
