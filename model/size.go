// Package model describes pose networks: genotype, layers, weights and cards.
// It is pure Go; package ort runs what this package describes.
package model

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is the height and width of a picture, an input or a heatmap, in pixels.
type Size struct {
	H int
	W int
}

// ParseSize reads "HEIGHTxWIDTH", such as "256x192". Both must be positive.
func ParseSize(s string) (Size, error) {
	h, w, ok := strings.Cut(s, "x")
	hi, herr := strconv.Atoi(h)
	wi, werr := strconv.Atoi(w)
	if !ok || herr != nil || werr != nil || hi <= 0 || wi <= 0 {
		return Size{}, fmt.Errorf("size %q: want HEIGHTxWIDTH in pixels, such as 256x192", s)
	}
	return Size{H: hi, W: wi}, nil
}

// String returns "HEIGHTxWIDTH".
func (s Size) String() string { return fmt.Sprintf("%dx%d", s.H, s.W) }

// Area returns the number of pixels.
func (s Size) Area() int { return s.H * s.W }

// MarshalText writes the size as "HEIGHTxWIDTH".
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads "HEIGHTxWIDTH".
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}
