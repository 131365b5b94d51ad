package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/preprocess"
	"github.com/evopose/evopose/server/batch"
	"github.com/evopose/evopose/server/pose"
)

// statusClientGone is logged for a client that went away; nothing is sent.
const statusClientGone = 499

// problem is an error with what the client is told of it (RFC 9457). cause is
// for the log only.
type problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail,omitempty"`
	RequestID string       `json:"request_id,omitempty"`
	Errors    []fieldError `json:"errors,omitempty"`

	reason string // label of evopose_rejected_total; empty: not counted
	retry  int    // seconds for Retry-After; 0: none
	cause  error
}

// fieldError names the option that was wrong.
type fieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

func (p *problem) Error() string {
	if p.cause != nil {
		return p.Detail + ": " + p.cause.Error()
	}
	return p.Detail
}

func (p *problem) Unwrap() error { return p.cause }

func newProblem(status int, reason, detail string) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, reason: reason}
}

// badOption is the answer to an option that is unknown or out of range.
func badOption(name, message string) *problem {
	p := newProblem(http.StatusUnprocessableEntity, "bad_option", name+": "+message)
	p.Errors = []fieldError{{Location: name, Message: message}}
	return p
}

func unavailable(reason, detail string) *problem {
	p := newProblem(http.StatusServiceUnavailable, reason, detail)
	p.retry = 1
	return p
}

// asProblem translates the errors of the pipeline.
func asProblem(err error) *problem {
	var p *problem
	var tooLong *http.MaxBytesError
	var box pose.BoxError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooLong):
		return newProblem(http.StatusRequestEntityTooLarge, "body_too_large", "the body is over the limit of "+strconv.FormatInt(tooLong.Limit, 10)+" bytes")
	case errors.Is(err, preprocess.ErrTooManyPixels):
		return newProblem(http.StatusRequestEntityTooLarge, "too_many_pixels", err.Error())
	case errors.Is(err, preprocess.ErrNotImage):
		return newProblem(http.StatusBadRequest, "not_an_image", err.Error())
	case errors.As(err, &box):
		return badOption("boxes", err.Error())
	case errors.Is(err, model.ErrUnknownModel):
		return newProblem(http.StatusNotFound, "unknown_model", err.Error())
	case errors.Is(err, batch.ErrQueueFull):
		return unavailable("queue_full", "too many requests are waiting; try again later")
	case errors.Is(err, batch.ErrClosed):
		return unavailable("draining", "the server is shutting down")
	case errors.Is(err, pose.ErrLoading) && !errors.Is(err, context.Canceled):
		return unavailable("loading", "the model is still being loaded; try again later")
	case errors.Is(err, context.DeadlineExceeded):
		return newProblem(http.StatusGatewayTimeout, "deadline", "the request took longer than limits.timeout")
	case errors.Is(err, context.Canceled):
		return newProblem(statusClientGone, "client_gone", "the client went away")
	}
	p = newProblem(http.StatusInternalServerError, "internal", "an internal error; the log has the cause under this request_id")
	p.cause = err
	return p
}

// writeProblem is the only place that writes an error's answer.
func writeProblem(w http.ResponseWriter, r *http.Request, p *problem) {
	if p.Status == statusClientGone {
		return
	}
	body := *p
	body.RequestID = requestID(r.Context())
	if p.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.retry))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // the client may be gone
}
