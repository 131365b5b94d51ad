package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/preprocess"
	"github.com/evopose/evopose/server/pose"
)

// drawScore is the score below which a keypoint is not drawn; it is the one
// below which it does not count for its person's score.
const drawScore = 0.2

// poseAnswer is the JSON answer of a pose request.
type poseAnswer struct {
	Model     string               `json:"model"`
	Image     imageSize            `json:"image"`
	People    []postprocess.Person `json:"people"`
	RequestID string               `json:"request_id"`
}

type imageSize struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// pose answers POST /v1/pose.
func (s *Server) pose(w http.ResponseWriter, r *http.Request) error {
	if err := s.acceptsWork(); err != nil {
		return err
	}
	kind, err := answerType(r.Header.Values("Accept"))
	if err != nil {
		return err
	}
	q, err := s.readPose(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.config.Limits.Timeout)
	defer cancel()
	m, err := s.pool.Get(ctx, q.model)
	if err != nil {
		return err
	}
	img, people, err := s.estimate(ctx, w, m, q)
	if err != nil {
		return err
	}
	s.metrics.people.WithLabelValues(m.Card.Name).Add(float64(len(people)))
	note(r.Context(), func(l *logLine) { l.model, l.people = m.Card.Name, len(people) })
	if strings.HasPrefix(kind, "image/") {
		return writePicture(w, kind, img, people)
	}
	return writeJSON(w, q.answer(m, img, people, requestID(r.Context())))
}

// readPose reads the request, no longer than the limit and no slower than the
// timeout.
func (s *Server) readPose(w http.ResponseWriter, r *http.Request) (*poseRequest, error) {
	limit := s.config.Limits.Body
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	control := http.NewResponseController(w)
	// Recorders in tests have no deadline; real connections do.
	control.SetReadDeadline(time.Now().Add(s.config.Limits.Timeout)) //nolint:errcheck // see above
	q, err := readPose(r, &s.config, chi.URLParam(r, "model"))
	if err == nil {
		control.SetReadDeadline(time.Time{}) //nolint:errcheck // see above
	}
	return q, err
}

// estimate decodes the picture and finds its people. Decoding waits until the
// memory that it needs is free.
func (s *Server) estimate(ctx context.Context, w http.ResponseWriter, m *pose.Model, q *poseRequest) (*image.NRGBA, []postprocess.Person, error) {
	began := time.Now()
	header, err := preprocess.Sniff(q.image)
	if err != nil {
		return nil, nil, err
	}
	if pixels := int64(header.Width) * int64(header.Height); pixels > s.config.Limits.Pixels {
		return nil, nil, &preprocess.TooManyPixelsError{Width: header.Width, Height: header.Height, Limit: s.config.Limits.Pixels}
	}
	cost := min(preprocess.DecodeCost(header), s.memoryLimit)
	if err := s.memory.Acquire(ctx, cost); err != nil {
		return nil, nil, err
	}
	defer s.memory.Release(cost)
	img, err := preprocess.Decode(q.image, preprocess.Limits{Pixels: s.config.Limits.Pixels})
	if err != nil {
		return nil, nil, err
	}
	decode := time.Since(began)
	people, t, err := m.Estimate(ctx, img, q.boxes, q.options)
	if err != nil {
		return nil, nil, err
	}
	s.stages(ctx, w, m.Card.Name, decode, t)
	return img, people, nil
}

// stages reports where the time went: to the client, the metrics, the log.
func (s *Server) stages(ctx context.Context, w http.ResponseWriter, model string, decode time.Duration, t pose.Timing) {
	var header []string
	note(ctx, func(l *logLine) { l.stages = map[string]time.Duration{} })
	for _, stage := range []struct {
		name string
		took time.Duration
	}{{"decode", decode}, {"crop", t.Crop}, {"queue", t.Queue}, {"infer", t.Infer}, {"keypoints", t.Keypoints}} {
		header = append(header, fmt.Sprintf("%s;dur=%.3f", stage.name, stage.took.Seconds()*1e3))
		s.metrics.stage.WithLabelValues(stage.name, model).Observe(stage.took.Seconds())
		note(ctx, func(l *logLine) { l.stages[stage.name] = stage.took })
	}
	w.Header().Set("Server-Timing", strings.Join(header, ", "))
}

func (q *poseRequest) answer(m *pose.Model, img *image.NRGBA, people []postprocess.Person, id string) any {
	if q.format == formatCOCO {
		return postprocess.COCO(people, 0)
	}
	if people == nil {
		people = []postprocess.Person{}
	}
	return poseAnswer{Model: m.Card.Name, Image: imageSize{img.Rect.Dx(), img.Rect.Dy()}, People: people, RequestID: id}
}

// writeJSON writes a whole answer or, if v cannot be encoded, none of it.
func writeJSON(w http.ResponseWriter, v any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.Write(b.Bytes()) //nolint:errcheck // the client may be gone
	return nil
}

func writePicture(w http.ResponseWriter, kind string, img *image.NRGBA, people []postprocess.Person) error {
	postprocess.Draw(img, people, drawScore)
	var b bytes.Buffer
	var err error
	if kind == "image/png" {
		err = (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, img)
	} else {
		err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 90})
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.Write(b.Bytes()) //nolint:errcheck // the client may be gone
	return nil
}

// answerType chooses the answer's content type from the Accept headers: the
// one with the highest quality, JSON in a tie and where anything goes.
func answerType(accept []string) (string, error) {
	offers := []string{"application/json", "image/png", "image/jpeg"}
	ranges := strings.Split(strings.Join(accept, ","), ",")
	if len(accept) == 0 {
		return offers[0], nil
	}
	best, quality := "", 0.0
	for _, offer := range offers {
		if q := acceptQuality(ranges, offer); q > quality {
			best, quality = offer, q
		}
	}
	if best == "" {
		return "", newProblem(http.StatusNotAcceptable, "not_acceptable",
			fmt.Sprintf("Accept %q: there are application/json, image/png and image/jpeg", short(strings.Join(accept, ", "))))
	}
	return best, nil
}

// acceptQuality returns the quality that the most specific matching range
// gives an offer; 0 when none matches.
func acceptQuality(ranges []string, offer string) float64 {
	major, _, _ := strings.Cut(offer, "/")
	rank := map[string]int{offer: 3, major + "/*": 2, "*/*": 1}
	best, quality := 0, 0.0
	for _, r := range ranges {
		kind, params, err := mime.ParseMediaType(r)
		if err != nil || rank[kind] <= best {
			continue
		}
		best, quality = rank[kind], 1
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
			quality = q
		}
	}
	return quality
}
