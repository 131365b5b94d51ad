package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/server/pose"
)

// Server is the HTTP server. New makes it; Run runs it.
type Server struct {
	config   Config
	pool     *pose.Pool
	registry *model.Registry
	metrics  *Metrics
	log      *zap.Logger
	tokens   []string
	handler  http.Handler

	memory      *semaphore.Weighted // bytes that decoding pictures may hold
	memoryLimit int64

	mu    sync.Mutex
	state state
}

// state is the server's readiness.
type state string

const (
	starting state = "starting"
	ready    state = "ready"
	draining state = "draining"
)

// decodesAtOnce is how many pictures of the largest size may be decoded at a
// time; smaller ones are proportionally more.
const decodesAtOnce = 2

// decodeBytesPerPixel is the memory that a decode takes at most, about: planes,
// result and rotation.
const decodeBytesPerPixel = 16

// New returns a server for a checked configuration. The pool has to open
// models of the registry; the server closes it when Run ends.
func New(c Config, pool *pose.Pool, registry *model.Registry, metrics *Metrics, log *zap.Logger) (*Server, error) {
	tokens, err := readTokens(c.Tokens)
	if err != nil {
		return nil, fmt.Errorf("auth.tokens_file: %w", err)
	}
	s := &Server{config: c, pool: pool, registry: registry, metrics: metrics, log: log, tokens: tokens, state: starting}
	s.memoryLimit = decodesAtOnce * decodeBytesPerPixel * c.Limits.Pixels
	s.memory = semaphore.NewWeighted(s.memoryLimit)
	if err := metrics.registry.Register(poolCollector{pool}); err != nil {
		return nil, err
	}
	s.handler = s.routes()
	return s, nil
}

// Handler returns the routes. Pose requests are refused until Load has ended.
func (s *Server) Handler() http.Handler { return s.handler }

// Load loads and warms the configured models, after which the server is ready.
func (s *Server) Load(ctx context.Context) error {
	for _, name := range s.config.Load {
		began := time.Now()
		m, err := s.pool.Get(ctx, name)
		if err != nil {
			return fmt.Errorf("loading model %s: %w", name, err)
		}
		s.log.Info("model ready", zap.String("model", name), zap.String("provider", m.Runner.Provider()),
			zap.String("why", providerReason(m.Runner)), zap.Stringer("input", m.Card.Input), zap.Duration("took", time.Since(began)))
		if !m.Card.Trained {
			s.log.Warn("model is "+untrained, zap.String("model", name))
		}
	}
	s.setState(starting, ready)
	return nil
}

// providerReason tells why the runner's provider was chosen, if it knows.
func providerReason(r model.Runner) string {
	if p, ok := r.(interface{ ProviderReason() string }); ok {
		return p.ProviderReason()
	}
	return ""
}

// setState moves from one state to the next; from any other it does nothing.
func (s *Server) setState(from, to state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == from {
		s.state = to
	}
}

func (s *Server) currentState() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// acceptsWork returns the answer to work that comes too early or too late.
func (s *Server) acceptsWork() error {
	switch s.currentState() {
	case starting:
		return unavailable("starting", "the models are being loaded; try again in a moment")
	case draining:
		return unavailable("draining", "the server is shutting down")
	}
	return nil
}

// drainTime bounds how long Run waits at the end for requests in flight,
// beyond the requests' own timeout.
const drainTime = 5 * time.Second

// Run serves on the listener while it loads the models, until ctx ends. Then
// it is no longer ready, takes no new connections, finishes the requests in
// flight and closes the pool. Its error says why a model could not be loaded
// or why serving ended early.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          zap.NewStdLog(s.log),
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			stop(err)
		}
	})
	s.log.Info("listening", zap.String("address", l.Addr().String()), zap.String("model", s.config.Model))
	wg.Go(func() {
		if err := s.Load(ctx); err != nil && ctx.Err() == nil {
			stop(err)
		}
	})
	<-ctx.Done()
	cause := context.Cause(ctx)
	err := s.shutdown(context.WithoutCancel(ctx), h)
	wg.Wait()
	if !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

func (s *Server) shutdown(ctx context.Context, h *http.Server) error {
	s.mu.Lock()
	s.state = draining
	s.mu.Unlock()
	s.log.Info("draining")
	ctx, cancel := context.WithTimeout(ctx, s.config.Limits.Timeout+drainTime)
	defer cancel()
	err := h.Shutdown(ctx)
	if err != nil { // somebody would not finish
		err = errors.Join(err, h.Close())
	}
	return errors.Join(err, s.pool.Close(ctx))
}

// health is the answer of the health routes.
type health struct {
	Status string        `json:"status"`
	Reason string        `json:"reason,omitempty"`
	Models []modelHealth `json:"models,omitempty"`
}

type modelHealth struct {
	Name     string `json:"name"`
	Provider string `json:"provider"`
	Why      string `json:"why"`
	Trained  bool   `json:"trained"`
}

func (s *Server) livez(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, health{Status: "alive"})
}

// readyz tells whether pose requests are answered, by which models, on which
// execution provider and why on that.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) error {
	h := health{Status: string(s.currentState())}
	for _, m := range s.pool.Loaded() {
		h.Models = append(h.Models, modelHealth{m.Card.Name, m.Runner.Provider(), providerReason(m.Runner), m.Card.Trained})
	}
	if p := s.acceptsWork(); p != nil {
		h.Reason = p.Error()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	return writeJSON(w, h)
}
