package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/experiments/internal/pairs"
)

// progress tells of every epoch, and about how long all will take. It may be
// used by several goroutines.
type progress struct {
	w       io.Writer
	workers int

	mu    sync.Mutex
	left  int           // epochs
	done  int           // epochs of this process
	spent time.Duration // in them, of all workers together
}

// expect sets what there is to do.
func (p *progress) expect(jobs []search.Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = 0
	for _, j := range jobs {
		if _, purpose := pairs.Of(j.ID); j.ID == 0 || purpose != pairs.Start {
			p.left += j.Epochs
		}
	}
}

// of returns what a training tells its epochs to.
func (p *progress) of(job search.Job) func(epoch int, loss float64) {
	began := time.Now()
	return func(epoch int, loss float64) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.left--
		p.done++
		p.spent += time.Since(began)
		began = time.Now()
		each := p.spent / time.Duration(p.done)
		left := each * time.Duration(p.left) / time.Duration(p.workers)
		fmt.Fprintf(p.w, "%s: epoch %d of %d, loss %.4g; %d epochs of %v left, about %v\n",
			name(job), epoch, job.Epochs, loss, p.left, each.Round(time.Second), left.Round(time.Second))
	}
}

func name(job search.Job) string {
	if job.ID == 0 {
		return "parent"
	}
	pair, purpose := pairs.Of(job.ID)
	return fmt.Sprintf("pair %d (%s) %s", pair, job.Mutations[0], [...]string{"at the start", "with transfer", "from scratch"}[purpose])
}
