package ort

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// environment is the one ONNX Runtime of the process.
var environment struct {
	sync.Mutex
	library  Library
	sessions int // open ones
}

// Init finds and loads the library, once in a process; later calls return what
// is loaded, or an error if they name another file. A failed call may be
// repeated. It is safe for concurrent use.
func Init(ctx context.Context, o LibraryOptions) (Library, error) {
	environment.Lock()
	defer environment.Unlock()
	if ort.IsInitialized() {
		return environment.library, sameLibrary(environment.library, o.Path)
	}
	lib, err := FindLibrary(ctx, o)
	if err != nil {
		return Library{}, err
	}
	ort.SetSharedLibraryPath(lib.Path)
	keepSignals(func() { err = ort.InitializeEnvironment() })
	if err != nil {
		return Library{}, fmt.Errorf("ONNX Runtime %s at %s: %w", lib.Version, lib.Path, err)
	}
	_ = ort.DisableTelemetry() // only builds for Windows have any
	environment.library = lib
	return lib, nil
}

// sameLibrary refuses a path other than that of the loaded library.
func sameLibrary(lib Library, path string) error {
	if path == "" {
		return nil
	}
	if info, err := os.Stat(path); err != nil {
		return fmt.Errorf("ONNX Runtime: %w", err)
	} else if loaded, err := os.Stat(lib.Path); info.IsDir() || err == nil && os.SameFile(info, loaded) {
		return nil
	}
	return fmt.Errorf("ONNX Runtime: %s is loaded already; one process cannot load %s too", lib.Path, path)
}

// Shutdown unloads the library; it is meant for the end of the process. It is
// an error while sessions are open, and does nothing if none is loaded.
func Shutdown() error {
	environment.Lock()
	defer environment.Unlock()
	if !ort.IsInitialized() {
		return nil
	}
	if n := environment.sessions; n > 0 {
		return fmt.Errorf("ONNX Runtime: %d sessions are open", n)
	}
	return ort.DestroyEnvironment()
}

// errNotInit is returned where Init must have been called.
var errNotInit = errors.New("ONNX Runtime is not loaded: call Init first")

// hold counts a session, so that the library stays loaded; release uncounts.
func hold() (Library, error) {
	environment.Lock()
	defer environment.Unlock()
	if !ort.IsInitialized() {
		return Library{}, errNotInit
	}
	environment.sessions++
	return environment.library, nil
}

func release() {
	environment.Lock()
	defer environment.Unlock()
	environment.sessions--
}
