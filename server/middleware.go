package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	"go.uber.org/zap"
)

// logLine collects what the one log line of a request tells.
type logLine struct {
	id     string
	model  string
	people int
	stages map[string]time.Duration
	err    *problem
}

type logLineKey struct{}

// note adds to the log line of the request.
func note(ctx context.Context, f func(*logLine)) {
	if l, ok := ctx.Value(logLineKey{}).(*logLine); ok {
		f(l)
	}
}

// requestID returns the request's id.
func requestID(ctx context.Context) (id string) {
	note(ctx, func(l *logLine) { id = l.id })
	return id
}

// plainID is what a client's own request id may look like.
var plainID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// observe gives each request an id, and afterwards logs and counts it.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		id := r.Header.Get("X-Request-Id")
		if !plainID.MatchString(id) {
			id = uuid.NewString()
		}
		line := &logLine{id: id}
		w.Header().Set("X-Request-Id", id)
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		r = r.WithContext(context.WithValue(r.Context(), logLineKey{}, line))
		defer func() {
			if e := recover(); e != nil {
				p := asProblem(fmt.Errorf("panic: %v\n%s", e, debug.Stack()))
				line.err = p
				if ww.Status() == 0 {
					writeProblem(ww, r, p)
				}
			}
			s.finish(r, ww, line, time.Since(began))
		}()
		next.ServeHTTP(ww, r)
	})
}

// finish writes the request's log line and metrics.
func (s *Server) finish(r *http.Request, w middleware.WrapResponseWriter, l *logLine, took time.Duration) {
	status := w.Status()
	if status == 0 {
		status = http.StatusOK
	}
	if l.err != nil {
		status = l.err.Status
		if l.err.reason != "" {
			s.metrics.rejected.WithLabelValues(l.err.reason).Inc()
		}
	}
	route := chi.RouteContext(r.Context()).RoutePattern()
	if route == "" || route == "/*" {
		route = "none"
	}
	s.metrics.duration.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
	fields := []zap.Field{zap.String("request_id", l.id), zap.String("method", r.Method), zap.String("route", route),
		zap.Int("status", status), zap.Int("bytes", w.BytesWritten()), zap.Duration("took", took), zap.String("remote", r.RemoteAddr)}
	if l.model != "" {
		fields = append(fields, zap.String("model", l.model), zap.Int("people", l.people))
	}
	for name, d := range l.stages {
		fields = append(fields, zap.Duration(name, d))
	}
	switch {
	case l.err != nil && status >= 500 && l.err.cause != nil:
		s.log.Error("request", append(fields, zap.Error(l.err))...)
	case l.err != nil:
		s.log.Info("request", append(fields, zap.String("problem", l.err.Error()))...)
	default:
		s.log.Info("request", fields...)
	}
}

// handler is a handler that returns its error instead of writing it.
type handler func(http.ResponseWriter, *http.Request) error

// handle makes an http.HandlerFunc of a handler.
func handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		p := asProblem(err)
		note(r.Context(), func(l *logLine) { l.err = p })
		writeProblem(w, r, p)
	}
}

// authenticate lets only requests with one of the tokens pass. Sums are
// compared, so that the time tells nothing of a token, not even its length.
func authenticate(tokens []string) func(http.Handler) http.Handler {
	var sums [][sha256.Size]byte
	for _, t := range tokens {
		sums = append(sums, sha256.Sum256([]byte(t)))
	}
	return func(next http.Handler) http.Handler {
		return handle(func(w http.ResponseWriter, r *http.Request) error {
			scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			sum, found := sha256.Sum256([]byte(token)), 0
			for i := range sums {
				found |= subtle.ConstantTimeCompare(sum[:], sums[i][:])
			}
			if len(sums) > 0 && (found == 0 || !strings.EqualFold(scheme, "Bearer")) {
				w.Header().Set("WWW-Authenticate", "Bearer")
				return newProblem(http.StatusUnauthorized, "no_token", "send a known token: Authorization: Bearer TOKEN")
			}
			next.ServeHTTP(w, r)
			return nil
		})
	}
}
