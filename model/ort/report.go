package ort

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// reporter tells the user what happens: lines, and a progress bar where it
// writes to a terminal.
type reporter struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
}

func newReporter(w io.Writer) *reporter {
	if w == nil {
		w = io.Discard
	}
	r := &reporter{w: w}
	if f, ok := w.(*os.File); ok {
		r.terminal = term.IsTerminal(int(f.Fd()))
	}
	return r
}

func (r *reporter) line(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprintf(r.w, format+"\n", args...)
}

// bar shows how much of a download is there.
type bar struct{ *progressbar.ProgressBar }

// start begins a bar of total bytes, 0 if that is not known; off a terminal it
// is one line.
func (r *reporter) start(label string, total int64) bar {
	if !r.terminal {
		if total > 0 {
			label += fmt.Sprintf(" (%.1f MB)", float64(total)/1e6)
		}
		r.line("installing %s", label)
		return bar{}
	}
	if total <= 0 {
		total = -1 // a spinner
	}
	return bar{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(r.w), progressbar.OptionSetDescription(label), progressbar.OptionShowBytes(true),
		progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())}
}

// set shows size bytes; a source may keep the archive twice while it works.
func (b bar) set(size int64) {
	if b.ProgressBar == nil {
		return
	}
	if most := b.GetMax64(); most > 0 {
		size = min(size, most)
	}
	_ = b.Set64(size)
}

func (b bar) end() {
	if b.ProgressBar != nil {
		_ = b.Clear()
	}
}

// tail keeps the end of a command's output, and counts all of it.
type tail struct {
	mu   sync.Mutex
	data []byte
	n    int64
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n += int64(len(p))
	t.data = append(t.data, p...)
	t.data = t.data[max(0, len(t.data)-2000):]
	return len(p), nil
}

func (t *tail) count() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// last returns the last lines, each on a new line and indented; empty if there
// are none.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(string(t.data))
	if text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	return "\n  " + strings.Join(lines[max(0, len(lines)-4):], "\n  ")
}
