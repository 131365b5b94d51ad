package ort

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// libraryVersion loads the DLL at path, asks it for its version and lets it
// go. The file's name is not trusted.
func libraryVersion(path string) (string, error) {
	dll, err := windows.LoadDLL(path)
	if err != nil {
		return "", err
	}
	defer dll.Release() //nolint:errcheck // only a probe
	base, err := dll.FindProc("OrtGetApiBase")
	if err != nil {
		return "", errors.New("it is not an ONNX Runtime library (no OrtGetApiBase)")
	}
	// The head of OrtApiBase is two function pointers: GetApi and
	// GetVersionString.
	head, _, _ := base.Call()
	functions := (*[2]uintptr)(*(*unsafe.Pointer)(unsafe.Pointer(&head)))
	text, _, _ := syscall.SyscallN(functions[1])
	return windows.BytePtrToString((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&text)))), nil
}

// canLoad returns the loader's message when a DLL, or one that it needs,
// cannot be loaded.
func canLoad(path string) error {
	dll, err := windows.LoadDLL(path)
	if err == nil {
		err = dll.Release()
	}
	return err
}

// keepSignals runs f; Windows has no signal handlers to keep.
func keepSignals(f func() error) error { return f() }
