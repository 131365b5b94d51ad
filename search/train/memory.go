package train

import (
	"fmt"
	"strings"

	"github.com/evopose/evopose/model"
)

// What EstimateMemory goes by: the peak resident memory of three steps of S at
// 128x96 (batch 8, 16, 32), 192x144 (16) and 256x192 (4, 16), and of L's widths
// at 128x96 (16), 192x144 (8) and 256x192 (2, 4, 8). For each sample these took
// 0.8 to 1.47 times the bytes of all layers' outputs, with SaveMemory 0.5 to
// 1.39 times: the runtime's arena grows by doubling, which may eat all that is
// saved. The estimate is to hold for each of them, so it goes by the largest.
const (
	memoryPerOutput      = 1.5
	savedMemoryPerOutput = 1.4
	copiesOfWeights      = 16 // weights, moments, gradients, both directions, checkpoints
	memoryOfRuntime      = 80 << 20
	bytesOfValue         = 4
)

// EstimateMemory returns about how many bytes of memory training steps take on
// the CPU: what was measured or more, mostly up to 20 %. save is ort.GraphOptions'
// SaveMemory.
func EstimateMemory(n *model.Network, batch int, save bool) int64 {
	fixed, sample := memoryParts(n, save)
	return int64(fixed + float64(batch)*sample)
}

// memoryParts returns what steps take whatever their batch, and what each
// sample adds, in bytes.
func memoryParts(n *model.Network, save bool) (fixed, sample float64) {
	outputs := 0.0
	for i := range n.Layers {
		out := n.Layers[i].Out
		outputs += float64(out.C) * float64(out.H) * float64(out.W)
	}
	factor := memoryPerOutput
	if save {
		factor = savedMemoryPerOutput
	}
	fixed = memoryOfRuntime + bytesOfValue*copiesOfWeights*float64(newLayout(n, 1).size)
	return fixed, bytesOfValue * factor * outputs
}

// checkMemory reports a batch whose steps do not fit into free bytes, and
// names what would.
func checkMemory(n *model.Network, batch int, save bool, free int64) error {
	need := EstimateMemory(n, batch, save)
	if need <= free {
		return nil
	}
	fixed, sample := memoryParts(n, save)
	advice := "choose a smaller --size or network"
	if fits := int((float64(free) - fixed) / sample); fits >= 2 {
		advice = fmt.Sprintf("--batch %d fits, or choose a smaller --size or network", fits)
	}
	if !save {
		advice += ", or --save-memory, which mostly takes less"
	}
	const gib = 1 << 30
	return fmt.Errorf("a batch of %d at %v takes about %.1f GiB of memory and %.1f GiB are free: %s",
		batch, n.Input, float64(need)/gib, float64(free)/gib, advice)
}

// outOfMemory explains the runtime's error where memory ran out.
func outOfMemory(err error, c Config) error {
	text := strings.ToLower(err.Error())
	for _, sign := range []string{"bad_alloc", "failed to allocate memory", "bfc_arena", "cuda out of memory", "cudnn_status_alloc_failed"} {
		if strings.Contains(text, sign) {
			return fmt.Errorf("out of memory at %v with a batch of %d: choose a smaller --batch or --size, or --save-memory (the last checkpoint is kept): %w",
				c.Size, c.Batch, err)
		}
	}
	return err
}
