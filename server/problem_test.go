package server

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/evopose/evopose/server/pose"
)

// Who waits for a model that is being loaded is told to come again; the load
// goes on. A client that has left is not.
func TestProblemWhileLoading(t *testing.T) {
	for _, tt := range []struct {
		cause  error
		status int
		retry  bool
	}{
		{context.DeadlineExceeded, http.StatusServiceUnavailable, true},
		{context.Canceled, statusClientGone, false},
	} {
		p := asProblem(fmt.Errorf("%w: evopose2d-m: %w", pose.ErrLoading, tt.cause))
		if p.Status != tt.status || (p.retry > 0) != tt.retry {
			t.Errorf("%v: status %d, retry %d", tt.cause, p.Status, p.retry)
		}
	}
}
