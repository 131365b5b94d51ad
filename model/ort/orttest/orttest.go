// Package orttest gives tests the real ONNX Runtime.
package orttest

import (
	"os"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort"
)

// Init loads ONNX Runtime, after installing it if there is none. A test that
// cannot have it fails: without the runtime nothing is tested.
func Init(t testing.TB) ort.Library {
	t.Helper()
	lib, err := ort.Init(t.Context(), ort.LibraryOptions{Install: true, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// Open opens a network on the CPU, or with the options given instead, until
// the test ends.
func Open(t testing.TB, onnx []byte, card model.Card, options ...ort.Options) *ort.Session {
	t.Helper()
	Init(t)
	o := ort.Options{Provider: ort.CPU}
	if len(options) > 0 {
		o = options[0]
	}
	s, err := ort.Open(onnx, card, o)
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
