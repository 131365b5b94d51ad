package server

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/preprocess"
	"github.com/evopose/evopose/server/pose"
)

// The forms of an answer.
const (
	formatJSON = "json"
	formatCOCO = "coco"
)

// poseRequest is what a client asks for, in whichever form it came.
type poseRequest struct {
	image   []byte
	model   string
	boxes   []preprocess.Box
	format  string
	options pose.Options
}

// optionNames are the options of a pose request, the same as query
// parameters, form fields and JSON keys.
var optionNames = []string{"model", "boxes", "flip", "decode", "min_score", "nms", "format"}

// values are options by name, as text; boxes may be JSON.
type values map[string]string

// add takes over an option; one that is unknown, or given twice with
// different values, is an error.
func (v values) add(name, value string) error {
	if !slices.Contains(optionNames, name) {
		return badOption(name, "unknown option; there are "+strings.Join(optionNames, ", "))
	}
	if old, ok := v[name]; ok && old != value {
		return badOption(name, fmt.Sprintf("given twice, as %q and %q", short(old), short(value)))
	}
	v[name] = value
	return nil
}

func short(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

// readPose reads a pose request of any of the three body forms.
func readPose(r *http.Request, c *Config, model string) (*poseRequest, error) {
	v := values{}
	// Boxes are separated by semicolons, which net/url refuses unescaped.
	query, err := url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, ";", "%3B"))
	if err != nil {
		return nil, badOption("query", err.Error())
	}
	for name, list := range query {
		for _, value := range list {
			if err := v.add(name, value); err != nil {
				return nil, err
			}
		}
	}
	if model != "" {
		if err := v.add("model", model); err != nil {
			return nil, err
		}
	}
	image, err := readBody(r, v)
	if err != nil {
		return nil, bodyProblem(err)
	}
	if len(image) == 0 {
		return nil, newProblem(http.StatusBadRequest, "not_an_image", "the body holds no picture")
	}
	q := &poseRequest{image: image}
	return q, q.parse(v, c)
}

// bodyProblem translates errors of reading the body.
func bodyProblem(err error) error {
	var p *problem
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &p), errors.As(err, &tooLong):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		p = newProblem(http.StatusRequestTimeout, "slow_body", "the body did not arrive within limits.timeout")
	case errors.Is(err, multipart.ErrMessageTooLarge):
		p = newProblem(http.StatusRequestEntityTooLarge, "body_too_large", "the form's fields are too long")
	default:
		p = newProblem(http.StatusBadRequest, "bad_body", "the body could not be read: "+err.Error())
	}
	p.cause = err
	return p
}

// readBody returns the picture's bytes and adds the body's options to v.
func readBody(r *http.Request, v values) ([]byte, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Header.Get("Content-Type") == "", strings.HasPrefix(kind, "image/"), kind == "application/octet-stream",
		kind == "application/x-www-form-urlencoded": // what curl --data-binary says of raw bytes
		return readAll(r.Body, r.ContentLength)
	case err != nil:
		return nil, newProblem(http.StatusUnsupportedMediaType, "content_type", "Content-Type: "+err.Error())
	case kind == "multipart/form-data":
		return readForm(multipart.NewReader(r.Body, params["boundary"]), v)
	case kind == "application/json":
		return readJSON(r, v)
	}
	return nil, newProblem(http.StatusUnsupportedMediaType, "content_type",
		fmt.Sprintf("Content-Type %q: send a picture (image/*, application/octet-stream), multipart/form-data or application/json", kind))
}

// readAll reads a body of a known length without growing a buffer step by
// step. What it allocates is bounded by the body's limit, checked before.
func readAll(r io.Reader, length int64) ([]byte, error) {
	var b bytes.Buffer
	if length > 0 {
		b.Grow(int(length) + bytes.MinRead)
	}
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// maxField bounds a form field other than the picture, in bytes.
const maxField = 1 << 20

// readForm reads the parts of a form as they come; nothing goes to disk.
func readForm(form *multipart.Reader, v values) (image []byte, err error) {
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return image, nil
		}
		if err != nil {
			return nil, err
		}
		name := part.FormName()
		if name == "image" {
			if image != nil {
				return nil, badOption("image", "given twice")
			}
			if image, err = readAll(part, 0); err != nil {
				return nil, err
			}
			continue
		}
		text, err := io.ReadAll(io.LimitReader(part, maxField+1))
		if err != nil {
			return nil, err
		}
		if len(text) > maxField {
			return nil, multipart.ErrMessageTooLarge
		}
		if err := v.add(name, string(text)); err != nil {
			return nil, err
		}
	}
}

func readJSON(r *http.Request, v values) ([]byte, error) {
	text, err := readAll(r.Body, r.ContentLength)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	var image []byte
	for name, raw := range fields {
		var s string
		isString := json.Unmarshal(raw, &s) == nil
		switch {
		case name == "image" && !isString:
			return nil, badOption("image", "want the picture's bytes in base64")
		case name == "image":
			if image, err = base64.StdEncoding.DecodeString(s); err != nil {
				return nil, badOption("image", err.Error())
			}
		case isString:
			err = v.add(name, s)
		default:
			err = v.add(name, string(raw))
		}
		if err != nil {
			return nil, err
		}
	}
	return image, nil
}

// parse checks the options and completes them with the configured defaults.
func (q *poseRequest) parse(v values, c *Config) error {
	q.model, q.format = c.Model, formatJSON
	q.options = pose.Options{Decode: c.Decode, Flip: c.Flip, MinScore: c.MinScore}
	for _, name := range optionNames {
		value, ok := v[name]
		if !ok {
			continue
		}
		if err := q.set(name, value); err != nil {
			return badOption(name, err.Error())
		}
	}
	if len(q.boxes) > c.Limits.Boxes {
		return badOption("boxes", fmt.Sprintf("%d boxes; the limit is %d", len(q.boxes), c.Limits.Boxes))
	}
	return nil
}

func (q *poseRequest) set(name, value string) (err error) {
	switch name {
	case "model":
		q.model = value
	case "boxes":
		q.boxes, err = parseBoxes(value)
	case "flip":
		if q.options.Flip, err = strconv.ParseBool(value); err != nil {
			err = fmt.Errorf("%q: want true or false", short(value))
		}
	case "decode":
		q.options.Decode, err = postprocess.ParseDecode(value)
	case "min_score":
		q.options.MinScore, err = unitOption(value)
	case "nms":
		q.options.NMS, err = unitOption(value)
	case "format":
		q.format = value
		if err = oneOf(value, formatJSON, formatCOCO); err != nil {
			err = fmt.Errorf("%q: want json or coco", short(value))
		}
	}
	return err
}

func unitOption(value string) (float64, error) {
	f, err := unitInterval(value)
	if err != nil {
		err = fmt.Errorf("%q: want a number from 0 to 1", short(value))
	}
	return f, err
}

// parseBoxes reads boxes as a JSON array of [x, y, w, h] or as the text
// "x,y,w,h;x,y,w,h". None at all means the whole picture.
func parseBoxes(value string) ([]preprocess.Box, error) {
	value = strings.TrimSpace(value)
	if !strings.HasPrefix(value, "[") {
		if value == "" || value == "null" {
			return nil, nil
		}
		return preprocess.ParseBoxes(value)
	}
	var rows [][]float64
	if err := json.Unmarshal([]byte(value), &rows); err != nil {
		return nil, fmt.Errorf("want [[x, y, w, h], ...]: %w", err)
	}
	boxes := make([]preprocess.Box, len(rows))
	for i, row := range rows {
		if len(row) != 4 {
			return nil, fmt.Errorf("box %d of %d has %d numbers, want x, y, w, h", i+1, len(rows), len(row))
		}
		boxes[i] = preprocess.Box{X: row[0], Y: row[1], W: row[2], H: row[3]}
	}
	return boxes, preprocess.ValidateBoxes(boxes)
}
