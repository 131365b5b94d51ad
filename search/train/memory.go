package train

import (
	"fmt"
	"strings"
)

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
