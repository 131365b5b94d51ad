package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// requestTimeout bounds one request to the broker.
const requestTimeout = 3 * time.Second

// permanentError is one that trying again does not change.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// retry does something with the broker until it works, its error is permanent
// or the context ends. What is named in the log when it does not work is also
// told to the function trouble, if there is one.
func retry(ctx context.Context, log *zap.Logger, what string, f func(context.Context) error) error {
	var told time.Time
	for try := 0; ; try++ {
		attempt, cancel := context.WithTimeout(ctx, requestTimeout)
		err := f(attempt)
		cancel()
		var permanent permanentError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &permanent):
			return permanent.error
		}
		if try > 2 && time.Since(told) > 30*time.Second {
			told = time.Now()
			log.Warn("trying again: "+what, zap.Error(explainStore(err)))
		}
		if err := sleep(ctx, min(backoff(try), 2*time.Second)); err != nil {
			return err
		}
	}
}

// Codes of JetStream's errors that mean that it cannot store any more.
const (
	codeInsufficientResources = 10023
	codeStorageExceeded       = 10047
	codeMemoryExceeded        = 10028
	codeStoreFailed           = 10077
)

// full reports whether the broker refused to store because something is full.
func full(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch int(api.ErrorCode) {
	case codeInsufficientResources, codeStorageExceeded, codeMemoryExceeded, codeStoreFailed:
		return true
	}
	return strings.Contains(api.Description, "maximum bytes exceeded") || strings.Contains(api.Description, "no space left")
}

// explainStore says what to do when the broker's store is full.
func explainStore(err error) error {
	if !full(err) {
		return err
	}
	return fmt.Errorf("%w: the broker's disk or its JetStream limit is full: free space there, or raise max_file_store; nothing is lost", err)
}
