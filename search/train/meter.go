package train

import (
	"math"
	"time"

	"github.com/evopose/evopose/search/coco"
)

// meter measures how fast steps are, validation not counted.
type meter struct {
	loader       *coco.Loader
	batch        int
	began        time.Time
	waitedBefore time.Duration
	steps        int
}

func newMeter(l *coco.Loader, batch int) *meter {
	return &meter{loader: l, batch: batch, began: time.Now(), waitedBefore: l.Waited()}
}

func (m *meter) stepped() { m.steps++ }

// rate is images a second; NaN before the first step.
func (m *meter) rate() float64 {
	if m.steps == 0 {
		return math.NaN()
	}
	return float64(m.steps*m.batch) / time.Since(m.began).Seconds()
}

// waited is the share of the time in which steps waited for their data.
func (m *meter) waited() float64 {
	return (m.loader.Waited() - m.waitedBefore).Seconds() / time.Since(m.began).Seconds()
}

// timeFor estimates the time that more steps take.
func (m *meter) timeFor(steps int) time.Duration {
	if m.steps == 0 {
		return 0
	}
	return time.Since(m.began) / time.Duration(m.steps) * time.Duration(steps)
}

// silent is the Progress that nobody sees.
type silent struct{}

func (silent) Started(*Config, *Start, int, int, int, error) {}
func (silent) Stepped(StepReport)                            {}
func (silent) Broken(error)                                  {}
func (silent) Measured(Point, []Validation, bool)            {}
