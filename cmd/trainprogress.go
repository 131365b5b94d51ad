package cmd

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/evopose/evopose/search/train"
)

// trainProgress shows a run: on a terminal a bar for each epoch and lines that
// stay; elsewhere, in a log, lines only, of which one a minute shows life.
type trainProgress struct {
	w        io.Writer
	dir      string
	terminal bool
	every    time.Duration // between lines in a log
	shown    time.Time     // when the last was written
	epochs   int
	bar      *progressbar.ProgressBar
	epoch    int     // that of the bar
	loss     float64 // smoothed
	steps    int     // that it is of
	last     train.StepReport
}

func newTrainProgress(w io.Writer, dir string) *trainProgress {
	f, ok := w.(*os.File)
	return &trainProgress{w: w, dir: dir, terminal: ok && term.IsTerminal(int(f.Fd())), every: time.Minute, shown: time.Now()}
}

func (p *trainProgress) close() {
	if p.bar != nil {
		_ = p.bar.Exit()
		p.bar = nil
	}
}

// line writes a line that stays, above the bar.
func (p *trainProgress) line(format string, args ...any) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	p.shown = time.Now()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// Started implements train.Progress.
func (p *trainProgress) Started(c *train.Config, s *train.Start, epoch, step, stepsPerEpoch int, skipped error) {
	p.epochs = c.Epochs
	if skipped != nil {
		p.line("warning: %v; going on from the one before", skipped)
	}
	if s.Summary != nil {
		p.line("%s from %s: %v", c.Name, c.From, s.Summary)
	}
	p.line("%s at %v, batch %d, epochs %d, steps an epoch %d, into %s", c.Name, c.Size, c.Batch, c.Epochs, stepsPerEpoch, p.dir)
	switch {
	case epoch >= c.Epochs:
		p.line("all epochs are done; to train further start a new run --from %s", filepath.Join(p.dir, train.BestONNX))
	case epoch > 0 || step > 0:
		p.line("going on in epoch %d after step %d", epoch+1, step)
	}
}

// Stepped implements train.Progress. The loss shown is the mean of all steps so
// far, and after the first 50 moves with about the last 50.
func (p *trainProgress) Stepped(s train.StepReport) {
	p.last = s
	p.steps++
	p.loss += (s.Loss - p.loss) / float64(min(p.steps, 50))
	if p.terminal {
		p.showBar(s)
		return
	}
	if time.Since(p.shown) >= p.every {
		p.line("epoch %d/%d  step %d/%d  loss %.2f  %s", s.Epoch, p.epochs, s.Step, s.StepsPerEpoch, p.loss, speed(s.ImagesPerSecond, s))
	}
}

func (p *trainProgress) showBar(s train.StepReport) {
	if p.bar == nil || p.epoch != s.Epoch {
		p.close()
		p.epoch = s.Epoch
		p.bar = progressbar.NewOptions(s.StepsPerEpoch, progressbar.OptionSetWriter(p.w), progressbar.OptionSetWidth(20),
			progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish())
	}
	p.bar.Describe(fmt.Sprintf("epoch %d/%d  loss %.2f  %.1f images/s  %s left", s.Epoch, p.epochs, p.loss, s.ImagesPerSecond, s.Left.Round(time.Second)))
	_ = p.bar.Set(s.Step)
}

// speed says how fast the run goes.
func speed(rate float64, s train.StepReport) string {
	return fmt.Sprintf("%.1f images/s, waited %.1f %%, %s left", rate, 100*s.Waited, s.Left.Round(time.Second))
}

// Broken implements train.Progress.
func (p *trainProgress) Broken(err error) { p.line("warning: %v; left out", err) }

// Measured implements train.Progress.
func (p *trainProgress) Measured(point train.Point, all []train.Validation, best bool) {
	text := fmt.Sprintf("epoch %d/%d  loss %.2f  val %.2f", point.Epoch, p.epochs, point.Loss, point.Val)
	for _, v := range all {
		text += fmt.Sprintf("  %s AP %.3f PCK@0.2 %.3f", v.Name, max(0, v.Report.AP), max(0, v.Report.PCK20))
	}
	if !math.IsNaN(point.ImagesPerSecond) { // else this process has only measured
		text += "  " + speed(point.ImagesPerSecond, p.last)
	}
	if best {
		text += "  -> " + filepath.Join(p.dir, train.BestONNX)
	}
	p.line("%s", text)
}
