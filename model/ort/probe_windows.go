package ort

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// probe loads a library, asks it for its version, and unloads it. name is a
// path, or a bare file name that the system's loader looks up; path is where
// it was found. Nothing is concluded from the file's name.
func probe(name string) (version, path string, err error) {
	handle, err := windows.LoadLibraryEx(name, 0, windows.LOAD_WITH_ALTERED_SEARCH_PATH)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = windows.FreeLibrary(handle) }()
	base, err := windows.GetProcAddress(handle, "OrtGetApiBase")
	if err != nil {
		return "", "", errNotRuntime
	}
	var buffer [windows.MAX_LONG_PATH]uint16
	n, err := windows.GetModuleFileName(handle, &buffer[0], uint32(len(buffer)))
	if err != nil {
		return "", "", err
	}
	return callVersion(base), windows.UTF16ToString(buffer[:n]), nil
}

// callVersion calls OrtGetApiBase()->GetVersionString(), the second of the two
// functions of OrtApiBase in every version.
func callVersion(base uintptr) string {
	r, _, _ := syscall.SyscallN(base)
	functions := *(**[2]uintptr)(unsafe.Pointer(&r)) // C memory: no Go pointer is made from an integer
	r, _, _ = syscall.SyscallN(functions[1])
	return windows.BytePtrToString(*(**byte)(unsafe.Pointer(&r)))
}
