package train

import (
	"testing"

	"github.com/evopose/evopose/search/coco"
)

// A network that sees the same few pictures again and again knows them by
// heart: loss, gradients, optimiser, moving average and decoding work together.
func TestOverfitting(t *testing.T) {
	if testing.Short() {
		t.Skip("some hundred steps")
	}
	c, o := tinyRun(t)
	c.Size, c.Data = c.Native, []DataSet{writeSet(t, t.TempDir(), 8, 1)}
	c.Val = c.Data
	c.Augment, c.Epochs, c.Batch, c.Rate, c.L2, c.EMA = coco.Augment{}, 7, 8, 5e-3, 0, 0.9
	// In one copy an epoch would be one step.
	c.Data = nil
	for range 50 {
		c.Data = append(c.Data, c.Val[0])
	}
	r := train(t, c, o)
	last := r.measured[len(r.measured)-1][0]
	t.Logf("training loss %.1f, PCK@0.2 %.3f, AP %.3f", r.points[len(r.points)-1].Loss, last.Report.PCKBox20, last.Report.AP)
	if last.Report.PCKBox10 < 0.95 {
		t.Errorf("PCK %.3f, want nearly 1", last.Report.PCKBox10)
	}
}
