//go:build unix

package ort

/*
#cgo LDFLAGS: -ldl
#define _GNU_SOURCE // dladdr
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// The head of OrtApiBase, which is the same in every version.
typedef struct {
	const void *(*get_api)(unsigned version);
	const char *(*version)(void);
} api_base;

// probe loads the library, copies its version and the path that it was loaded
// from, and unloads it. It returns 0, or 1 when it cannot be loaded, or 2 when
// it is another library; message then says more.
static int probe(const char *name, char *version, char *path, char *message, size_t size) {
	void *handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
	if (!handle) {
		strncpy(message, dlerror(), size - 1);
		return 1;
	}
	api_base *(*base)(void) = (api_base *(*)(void))dlsym(handle, "OrtGetApiBase");
	if (!base) {
		dlclose(handle);
		return 2;
	}
	Dl_info info;
	if (dladdr((void *)base, &info) && info.dli_fname) strncpy(path, info.dli_fname, size - 1);
	strncpy(version, base()->version(), size - 1);
	dlclose(handle);
	return 0;
}
*/
import "C"

import (
	"errors"
	"unsafe"
)

// probe loads a library, asks it for its version, and unloads it. name is a
// path, or a bare file name that the system's loader looks up; path is where
// it was found. Nothing is concluded from the file's name.
func probe(name string) (version, path string, err error) {
	const size = 4096
	buffers := (*[3 * size]C.char)(C.calloc(3, size))
	defer C.free(unsafe.Pointer(buffers))
	cname := C.CString(name)
	defer C.free(unsafe.Pointer(cname))
	v, p, m := &buffers[0], &buffers[size], &buffers[2*size]
	switch C.probe(cname, v, p, m, size) {
	case 1:
		return "", "", errors.New(C.GoString(m))
	case 2:
		return "", "", errNotRuntime
	}
	return C.GoString(v), C.GoString(p), nil
}
