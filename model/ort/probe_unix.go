//go:build !windows

package ort

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>

// The head of OrtApiBase, which no version changes.
typedef struct {
	const void *(*get_api)(uint32_t);
	const char *(*version)(void);
} api_base;

static const char *library_version(void *handle) {
	api_base *(*base)(void) = (api_base *(*)(void))dlsym(handle, "OrtGetApiBase");
	return base ? base()->version() : 0;
}

enum { signals = 32 };
typedef struct { struct sigaction at[signals]; } handlers;

static void save_handlers(handlers *h) {
	for (int s = 1; s < signals; s++) sigaction(s, 0, &h->at[s]);
}

static void restore_handlers(handlers *h) {
	for (int s = 1; s < signals; s++)
		if (s != SIGKILL && s != SIGSTOP) sigaction(s, &h->at[s], 0);
}
*/
import "C"

import (
	"errors"
	"unsafe"
)

// libraryVersion loads the shared library at path, asks it for its version
// and lets it go. The file's name is not trusted.
func libraryVersion(path string) (string, error) {
	handle, err := dlopen(path)
	if err != nil {
		return "", err
	}
	defer C.dlclose(handle)
	version := C.library_version(handle)
	if version == nil {
		return "", errors.New("it is not an ONNX Runtime library (no OrtGetApiBase)")
	}
	return C.GoString(version), nil
}

func dlopen(path string) (unsafe.Pointer, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	handle := C.dlopen(name, C.RTLD_LAZY|C.RTLD_LOCAL)
	if handle == nil {
		return nil, errors.New(C.GoString(C.dlerror()))
	}
	return handle, nil
}

// canLoad returns the loader's message when a shared library, or one that it
// needs, cannot be loaded.
func canLoad(path string) error {
	handle, err := dlopen(path)
	if err == nil {
		C.dlclose(handle)
	}
	return err
}

// keepSignals runs f and then puts back the signal handlers that were in
// place before: the CUDA provider installs its own over Go's, after which
// SIGTERM would kill the process instead of reaching os/signal.
func keepSignals(f func() error) error {
	h := (*C.handlers)(C.malloc(C.sizeof_handlers))
	defer C.free(unsafe.Pointer(h))
	C.save_handlers(h)
	defer C.restore_handlers(h)
	return f()
}
