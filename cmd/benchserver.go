package cmd

import (
	"context"
	"net/http"

	"go.uber.org/zap"

	"github.com/evopose/evopose/server"
)

// benchHandler returns the real server's routes over the engine's models.
func benchHandler(ctx context.Context, e *engine, name string) (http.Handler, error) {
	config, err := server.LoadConfig("bench", nil, nil, map[string]string{
		"model": name, "limits.timeout": "1h", "limits.boxes": "4096", "batch.queue": "65536"})
	if err != nil {
		return nil, err
	}
	s, err := server.New(config, e.Pool, e.Registry, server.NewMetrics(), zap.NewNop())
	if err != nil {
		return nil, err
	}
	return s.Handler(), s.Load(ctx)
}
