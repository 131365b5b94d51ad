// Package preprocess turns picture bytes and person boxes into network input:
// decode, orient, crop, normalise.
package preprocess

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Box is a person's bounding box in pixels of the upright picture, origin at
// the top left; it may reach outside the picture.
type Box struct{ X, Y, W, H float64 }

const (
	// MaxCoordinate bounds every number of a box. It is far beyond any
	// picture, and keeps keypoints finite, so that they can be written as JSON.
	MaxCoordinate = 1e9
	// MaxBoxes bounds how many boxes ParseBoxes and ValidateBoxes accept; a
	// server's own limit is usually lower.
	MaxBoxes = 4096
)

// Validate reports what is wrong with the box: a coordinate that is not a
// number, is infinite or is beyond MaxCoordinate, or a width or height that is
// not positive. The error names the coordinate and its value.
func (b Box) Validate() error {
	fields := [4]struct {
		name  string
		value float64
		size  bool
	}{{"x", b.X, false}, {"y", b.Y, false}, {"width", b.W, true}, {"height", b.H, true}}
	for _, f := range fields {
		switch {
		case math.IsNaN(f.value) || math.IsInf(f.value, 0):
			return fmt.Errorf("%s %v: must be a finite number", f.name, f.value)
		case f.size && f.value <= 0:
			return fmt.Errorf("%s %v: must be > 0", f.name, f.value)
		case math.Abs(f.value) > MaxCoordinate:
			return fmt.Errorf("%s %v: must be at most %.0e pixels from 0", f.name, f.value, MaxCoordinate)
		}
	}
	return nil
}

// ValidateBoxes validates every box. The error names the box by its place,
// from 1, and says what is wrong with it.
func ValidateBoxes(boxes []Box) error {
	if len(boxes) > MaxBoxes {
		return fmt.Errorf("%d boxes: must be at most %d", len(boxes), MaxBoxes)
	}
	for i, b := range boxes {
		if err := b.Validate(); err != nil {
			return fmt.Errorf("box %d of %d: %w", i+1, len(boxes), err)
		}
	}
	return nil
}

// ParseBoxes reads "x,y,w,h;x,y,w,h": boxes separated by semicolons, each with
// four numbers in pixels. White space around numbers and a semicolon at the
// end are allowed; text without a box gives none. Every box returned is valid.
func ParseBoxes(s string) ([]Box, error) {
	s = strings.TrimSuffix(strings.TrimSpace(s), ";")
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	n := strings.Count(s, ";") + 1
	if n > MaxBoxes {
		return nil, fmt.Errorf("%d boxes: must be at most %d", n, MaxBoxes)
	}
	boxes := make([]Box, 0, n)
	for part := range strings.SplitSeq(s, ";") {
		b, err := parseBox(part)
		if err == nil {
			err = b.Validate()
		}
		if err != nil {
			return nil, fmt.Errorf("box %d of %d: %w", len(boxes)+1, n, err)
		}
		boxes = append(boxes, b)
	}
	return boxes, nil
}

// parseBox reads "x,y,w,h" without validating the numbers.
func parseBox(s string) (b Box, err error) {
	if commas := strings.Count(s, ","); commas != 3 {
		return Box{}, fmt.Errorf("%s: want 4 numbers, x,y,width,height; got %d", quote(s), commas+1)
	}
	fields := strings.Split(s, ",")
	names := [4]string{"x", "y", "width", "height"}
	for i, v := range [4]*float64{&b.X, &b.Y, &b.W, &b.H} {
		text := strings.TrimSpace(fields[i])
		// A number too large for a float64 comes back as infinite: Validate
		// names it.
		if *v, err = strconv.ParseFloat(text, 64); err != nil && !math.IsInf(*v, 0) {
			return Box{}, fmt.Errorf("%s %s: must be a number", names[i], quote(text))
		}
	}
	return b, nil
}

// quote quotes text for a message, shortened when it is long.
func quote(s string) string {
	const most = 40
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
