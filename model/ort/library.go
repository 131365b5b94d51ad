// Package ort runs networks on ONNX Runtime: it finds or installs the shared
// library, chooses the execution provider and runs sessions. It is the only
// package that uses cgo.
package ort

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	binding "github.com/yalue/onnxruntime_go"
)

// LibraryEnv names the environment variable with the library's path, and
// CacheEnv the one with the folder to install into.
const (
	LibraryEnv = "EVOPOSE_ORT_LIB"
	CacheEnv   = "EVOPOSE_CACHE"
)

// LibraryOptions says how to find the shared library.
type LibraryOptions struct {
	// Path is the library to use, before any other; empty: LibraryEnv, and
	// without that the places of FindLibrary.
	Path string
	// Provider is what it is wanted for: "cuda" looks for (and installs) the
	// build with CUDA, "auto" takes that where it is installed already.
	Provider string
	// Install allows installing it into the user's cache.
	Install bool
	// Progress receives progress and what was passed over; nil: nothing.
	Progress io.Writer
}

// Library is an ONNX Runtime shared library that was found.
type Library struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	// Source tells where it was found: "flag", "environment", "next to the
	// binary", "cache", "system" or "installed".
	Source string `json:"source"`
}

// FindLibrary returns the first usable library: LibraryOptions.Path or
// LibraryEnv (if one is given and not usable, that is the error), next to the
// binary, the user's cache, the system's usual places; else it installs one.
func FindLibrary(ctx context.Context, o LibraryOptions) (Library, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Path != "" {
		return explicit(o.Path, "flag")
	}
	if path := os.Getenv(LibraryEnv); path != "" {
		return explicit(path, "environment")
	}
	for _, c := range candidates(o.Provider) {
		if _, err := os.Stat(c.Path); err != nil {
			continue
		}
		version, err := usable(c.Path)
		if err == nil {
			c.Version = version
			return c, nil
		}
		fmt.Fprintf(o.Progress, "passed over %s: %v\n", c.Path, err)
	}
	if !o.Install {
		return Library{}, errors.New("no ONNX Runtime library found" + advice)
	}
	return install(ctx, o)
}

// advice is what a user can do when there is no library.
const advice = "; you can\n" +
	"  - name one: " + LibraryEnv + "=/path/to/libonnxruntime.so (ONNX Runtime 1.24 or newer, from its release archives)\n" +
	"  - put that file next to the evopose binary, or install it system-wide\n" +
	"  - run `evopose runtime --install` with pip or npm at hand; without a network, do so on another machine and copy its cache folder"

func explicit(path, from string) (Library, error) {
	version, err := usable(path)
	if err != nil {
		return Library{}, fmt.Errorf("ONNX Runtime library %s (from the %s): %w", path, from, err)
	}
	return Library{Path: path, Version: version, Source: from}, nil
}

// usable returns a library's version if the binding can load it.
func usable(path string) (string, error) {
	version, err := libraryVersion(path)
	if err != nil {
		return "", err
	}
	if !supported(version) {
		return "", fmt.Errorf("it is version %s and 1.%d or newer is needed; `evopose runtime --install` gets %s",
			version, oldestMinor, LibraryVersion)
	}
	return version, nil
}

func supported(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(minor)
	return err == nil && major == "1" && n >= oldestMinor
}

// libraryNames are the file names to look for, the pinned version first.
func libraryNames() []string {
	switch runtime.GOOS {
	case "windows":
		return []string{"onnxruntime.dll"}
	case "darwin":
		return []string{"libonnxruntime." + LibraryVersion + ".dylib", "libonnxruntime.dylib"}
	}
	return []string{"libonnxruntime.so." + LibraryVersion, "libonnxruntime.so.1", "libonnxruntime.so"}
}

// systemFolders are where packages and release archives are usually put.
func systemFolders() []string {
	switch runtime.GOOS {
	case "windows":
		return []string{filepath.Join(os.Getenv("ProgramFiles"), "onnxruntime", "lib")}
	case "darwin":
		return []string{"/opt/homebrew/lib", "/usr/local/lib"}
	}
	triple := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	return append(filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")),
		"/usr/local/lib", "/usr/lib/"+triple, "/usr/lib64", "/usr/lib", "/opt/onnxruntime/lib")
}

// candidates lists the paths to look at, in order.
func candidates(provider string) []Library {
	var list []Library
	add := func(folder, source string) {
		for _, name := range libraryNames() {
			list = append(list, Library{Path: filepath.Join(folder, name), Source: source})
		}
	}
	if exe, err := os.Executable(); err == nil {
		add(filepath.Dir(exe), "next to the binary")
	}
	if cache, err := CacheDir(); err == nil {
		if provider != "cpu" {
			add(variantDir(cache, "cuda"), "cache")
		}
		if provider != "cuda" {
			add(variantDir(cache, "cpu"), "cache")
		}
	}
	for _, folder := range systemFolders() {
		add(folder, "system")
	}
	return list
}

// CacheDir returns the folder that libraries are installed into: CacheEnv, or
// "evopose" in the user's cache folder.
func CacheDir() (string, error) {
	if dir := os.Getenv(CacheEnv); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w; set %s to a folder to install ONNX Runtime into", err, CacheEnv)
	}
	return filepath.Join(dir, "evopose"), nil
}

// variantDir is the folder of one build of the pinned version.
func variantDir(cache, variant string) string {
	return filepath.Join(cache, "onnxruntime", LibraryVersion+"-"+runtime.GOOS+"-"+runtime.GOARCH+"-"+variant)
}

// loaded is the library of this process; there can be only one.
var loaded struct {
	sync.Mutex
	library Library
	ok      bool
}

// Init loads the library into the process. Later calls return what the first
// one loaded; asking then for another path is an error.
func Init(ctx context.Context, o LibraryOptions) (Library, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.ok {
		if o.Path != "" && o.Path != loaded.library.Path {
			return loaded.library, fmt.Errorf("ONNX Runtime is already loaded from %s; %s cannot be loaded too", loaded.library.Path, o.Path)
		}
		return loaded.library, nil
	}
	library, err := FindLibrary(ctx, o)
	if err != nil {
		return Library{}, err
	}
	binding.SetSharedLibraryPath(library.Path)
	if err := binding.InitializeEnvironment(binding.WithLogLevelError()); err != nil {
		return Library{}, fmt.Errorf("ONNX Runtime %s at %s does not start: %w", library.Version, library.Path, err)
	}
	loaded.library, loaded.ok = library, true
	return library, nil
}
