package cmd

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs"
)

// searchProgress shows a search: a table after each generation, and meanwhile a
// bar on a terminal or a line for each evaluation in a log. Its methods may be
// called from several goroutines.
type searchProgress struct {
	w, tables io.Writer
	terminal  bool
	settings  search.Settings

	mu       sync.Mutex
	bar      *progressbar.ProgressBar
	began    time.Time
	total    int // evaluations
	done     int
	fresh    map[int]bool // evaluated by this process
	running  map[int]int  // epochs done of the jobs under way
	epochs   int          // done by jobs that ended in this process
	left     int          // epochs of the jobs without a result
	best     float64      // fitness
	finished bool
}

func newSearchProgress(w, tables io.Writer, s search.Settings) *searchProgress {
	f, ok := w.(*os.File)
	return &searchProgress{w: w, tables: tables, terminal: ok && term.IsTerminal(int(f.Fd())), settings: s, began: time.Now(),
		fresh: map[int]bool{}, running: map[int]int{}, best: math.Inf(1),
		left: s.AncestorEpochs + s.Generations*s.Children*s.Epochs}
}

// close takes the bar away; nothing is shown any more.
func (p *searchProgress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.finished = true
}

func (p *searchProgress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// Write writes lines that stay, above the bar: a log's.
func (p *searchProgress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	return p.w.Write(text)
}

// logger writes warnings and errors.
func (p *searchProgress) logger() *zap.Logger {
	config := zap.NewDevelopmentEncoderConfig()
	config.EncodeTime = zapcore.TimeEncoderOfLayout(time.TimeOnly)
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(config), zapcore.AddSync(p), zap.WarnLevel))
}

// Started implements search.Observer.
func (p *searchProgress) Started(done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = total
	if done > 0 {
		fmt.Fprintf(p.w, "going on with %d of %d evaluations done\n", done, total)
	}
}

// Proposed implements search.Observer.
func (p *searchProgress) Proposed([]search.Job) { p.show() }

// epoch is told of jobs under way.
func (p *searchProgress) epoch(s jobs.Progress) {
	p.mu.Lock()
	if !p.fresh[s.Job] {
		p.running[s.Job] = max(p.running[s.Job], s.Epoch)
	}
	p.mu.Unlock()
	p.show()
}

// Evaluated implements search.Observer.
func (p *searchProgress) Evaluated(e search.Entry, kept bool) {
	p.mu.Lock()
	p.done++
	p.left -= e.Job.Epochs
	p.best = min(p.best, search.Fitness(p.settings.Cost, e.Result))
	delete(p.running, e.Job.ID)
	if !kept {
		p.fresh[e.Job.ID] = true
		p.epochs += e.Job.Epochs
	}
	if !kept && !p.terminal {
		fmt.Fprintf(p.w, "%d/%d  %s  %s left\n", p.done, p.total, describe(p.settings, e), p.timeLeft())
	}
	p.mu.Unlock()
	p.show()
}

// timeLeft estimates the time to the end by the epochs done so far.
func (p *searchProgress) timeLeft() string {
	done := p.epochs
	left := p.left
	for _, n := range p.running {
		done, left = done+n, left-n
	}
	if done == 0 {
		return "?"
	}
	return (time.Duration(float64(time.Since(p.began)) * float64(left) / float64(done))).Round(time.Second).String()
}

// show draws the bar.
func (p *searchProgress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.terminal || p.finished {
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions(p.total, progressbar.OptionSetWriter(p.w), progressbar.OptionSetWidth(20),
			progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish())
	}
	text := fmt.Sprintf("generation %d/%d  %d/%d done  %d running", p.settings.Generation(min(p.done, p.total-1)), p.settings.Generations, p.done, p.total, len(p.running))
	if !math.IsInf(p.best, 1) {
		text += fmt.Sprintf("  best fitness %.4g", p.best)
	}
	p.bar.Describe(text + "  " + p.timeLeft() + " left")
	_ = p.bar.Set(p.done)
}

// describe tells an evaluation in a line.
func describe(s search.Settings, e search.Entry) string {
	text := fmt.Sprintf("evaluation %d", e.Job.ID)
	if e.Job.Parent >= 0 {
		text += fmt.Sprintf(" (of %d, %s)", e.Job.Parent, strings.Join(e.Job.Mutations, ", "))
	}
	r := e.Result
	switch {
	case r.Failed != "":
		return text + ": failed: " + r.Failed
	case r.Stopped:
		return text + fmt.Sprintf(": stopped after epoch %d with loss %.4g", len(r.Losses), r.Loss)
	}
	return text + fmt.Sprintf(": loss %.4g, fitness %.4g, %s, %s, %.0f s", r.Loss, search.Fitness(s.Cost, r), mega(r.Parameters), giga(r.MultiplyAdds), r.Seconds)
}

// mega writes 5263151 as 5.26 M.
func mega(n int64) string { return fmt.Sprintf("%.2f M", float64(n)/1e6) }

// Generation implements search.Observer. What was there before this process
// is not shown again.
func (p *searchProgress) Generation(generation int, entries []search.Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := entries[max(0, len(entries)-p.settings.Children):]
	if generation == 0 {
		last = entries
	}
	if !slices.ContainsFunc(last, func(e search.Entry) bool { return p.fresh[e.Job.ID] }) {
		return
	}
	p.clear()
	writeGeneration(p.tables, p.settings, generation, last, entries)
}

// writeGeneration writes the table of a generation, the best first, those in
// front marked that are parents of the next.
func writeGeneration(w io.Writer, s search.Settings, generation int, last, all []search.Entry) {
	parents := map[int]bool{}
	var names []string
	for _, e := range s.Best(all) {
		parents[e.Job.ID] = true
		names = append(names, fmt.Sprint(e.Job.ID))
	}
	seconds := 0.0
	for _, e := range last {
		seconds += e.Result.Seconds
	}
	fmt.Fprintf(w, "\ngeneration %d of %d: %d evaluations in %s of work; %d of %d in all\n", generation, s.Generations, len(last),
		(time.Duration(seconds * float64(time.Second))).Round(time.Second), len(all), s.Total())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tid\tof\tloss\tfitness\tparameters\tmultiply-adds\t  change")
	for _, e := range ordered(s, last) {
		mark := ""
		if parents[e.Job.ID] {
			mark = "*"
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t  %s\n", mark, e.Job.ID, parentName(e), lossOf(e.Result), fitnessOf(s, e.Result),
			mega(e.Result.Parameters), giga(e.Result.MultiplyAdds), change(e))
	}
	_ = t.Flush()
	fmt.Fprintf(w, "* parents of the next: %s\n", strings.Join(names, ", "))
}

// ordered sorts by rank; what cannot be a parent comes last.
func ordered(s search.Settings, entries []search.Entry) []search.Entry {
	ranked := s.Rank(entries)
	in := map[int]bool{}
	for _, e := range ranked {
		in[e.Job.ID] = true
	}
	for _, e := range entries {
		if !in[e.Job.ID] {
			ranked = append(ranked, e)
		}
	}
	return ranked
}

func parentName(e search.Entry) string {
	if e.Job.Parent < 0 {
		return "-"
	}
	return fmt.Sprint(e.Job.Parent)
}

func lossOf(r search.Result) string {
	if r.Failed != "" {
		return "failed"
	}
	return fmt.Sprintf("%.4g", r.Loss)
}

func fitnessOf(s search.Settings, r search.Result) string {
	switch f := search.Fitness(s.Cost, r); {
	case r.Stopped:
		return "stopped"
	case math.IsInf(f, 1):
		return "-"
	default:
		return fmt.Sprintf("%.4g", f)
	}
}

// change tells what is new in an evaluation, or why it failed.
func change(e search.Entry) string {
	switch {
	case e.Result.Failed != "":
		return strings.Join(e.Job.Mutations, ", ") + ": " + e.Result.Failed
	case e.Job.Parent < 0:
		return e.Job.Genotype.String()
	}
	return strings.Join(e.Job.Mutations, ", ")
}
