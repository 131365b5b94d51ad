// Package orttest opens networks on the real ONNX Runtime in tests.
package orttest

import (
	"os"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort"
)

// Init loads ONNX Runtime, installing it into the user's cache if need be; it
// fails the test when it cannot be had.
func Init(t testing.TB) ort.Library {
	t.Helper()
	library, err := ort.Init(t.Context(), ort.LibraryOptions{Install: true, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	return library
}

// Open runs a network on the CPU until the test ends.
func Open(t testing.TB, data []byte, card model.Card) *ort.Session {
	t.Helper()
	Init(t)
	s, err := ort.Open(data, card, ort.Options{Provider: ort.CPU})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
