// Package ort runs networks on ONNX Runtime: it finds or installs the shared
// library, chooses the execution provider, and is the only package that knows
// the binding and cgo.
package ort

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// LibraryEnv names the environment variable with the path of the library.
const LibraryEnv = "EVOPOSE_ORT_LIB"

// Library is an ONNX Runtime shared library.
type Library struct {
	// Path is the file.
	Path string `json:"path"`
	// Version is what the library says of itself, such as "1.27.0".
	Version string `json:"version"`
	// Source tells how it was found: "--ort-lib", "EVOPOSE_ORT_LIB",
	// "beside the program", "cache (SOURCE)", "system", or "installed (SOURCE)",
	// where SOURCE is pip, npm or release.
	Source string `json:"source"`
}

// errNotRuntime reports a library that is something else.
var errNotRuntime = errors.New("it is not ONNX Runtime: it has no OrtGetApiBase")

// LibraryOptions say which library is wanted and how it may be had.
type LibraryOptions struct {
	// Path is the library or its folder; empty: that in EVOPOSE_ORT_LIB, and
	// without that a search.
	Path string
	// Provider is what it is wanted for: with CUDA only a build that has that
	// provider is found or installed; Auto, or empty, takes such a build if
	// it is installed already; CPU does not.
	Provider string
	// Install allows to install the library if it is not found.
	Install bool
	// Progress gets what was passed over and the progress of an
	// installation; nil: nothing.
	Progress io.Writer
}

// FindLibrary returns the library to use, from the first of these places that
// has one of version Oldest or newer: the path that the user named (if that
// does not serve, that is an error: no other place is tried); the program's
// folder; the user cache; the system's usual places. If there is none and
// Install is true, it is installed into the user cache, once, however many
// processes start. The error, if none can be had, is a *NoLibrary.
func FindLibrary(ctx context.Context, o LibraryOptions) (Library, error) {
	if o.Path != "" {
		return explicit(o.Path, "--ort-lib")
	}
	if path := os.Getenv(LibraryEnv); path != "" {
		return explicit(path, LibraryEnv)
	}
	f, err := newFinder(o)
	if err != nil {
		return Library{}, err
	}
	return f.find(ctx, o.Install)
}

// finder holds what finding depends on, so that tests can set it.
type finder struct {
	program string      // folder of the program; empty: unknown
	system  []string    // folders, and bare names for the loader to look up
	caches  []installer // the builds to look for in the cache; the last is the one to install
	cuda    bool        // only a build with CUDA will do
	log     *reporter
	why     []error // what was passed over
}

func newFinder(o LibraryOptions) (*finder, error) {
	provider, err := ParseProvider(o.Provider)
	if err != nil {
		return nil, err
	}
	f := &finder{system: systemPlaces(), cuda: provider == CUDA, log: newReporter(o.Progress)}
	if provider != CPU {
		f.caches = append(f.caches, newInstaller(cudaBuild, f.log))
	}
	if provider != CUDA {
		f.caches = append(f.caches, newInstaller(cpuBuild, f.log))
	}
	if program, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(program); err == nil {
			program = real
		}
		f.program = filepath.Dir(program)
	}
	return f, nil
}

// explicit checks the library that the user named.
func explicit(path, from string) (Library, error) {
	lib, err := named(path)
	if err != nil {
		return Library{}, fmt.Errorf("ONNX Runtime: %s=%s: %w", from, path, err)
	}
	lib.Source = from
	return lib, nil
}

// named checks a file, or the plainest library of a folder.
func named(path string) (Library, error) {
	path, err := filepath.Abs(path) // a bare name would be looked up elsewhere
	if err != nil {
		return Library{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return Library{}, errors.New("there is no such file")
	}
	if !info.IsDir() {
		return check(path)
	}
	found := inFolder(path)
	if found == nil {
		return Library{}, fmt.Errorf("the folder holds no %s", libraryPattern())
	}
	return check(found[0])
}

func (f *finder) find(ctx context.Context, install bool) (Library, error) {
	if f.program != "" {
		places := append(inFolder(f.program), inFolder(filepath.Join(f.program, "lib"))...)
		if lib, ok := f.first(places, "beside the program"); ok {
			return lib, nil
		}
	}
	for _, c := range f.caches {
		lib, err := c.cached()
		if err == nil {
			return lib, nil
		}
		f.pass(err)
	}
	if lib, ok := f.first(f.systemCandidates(), "system"); ok {
		return lib, nil
	}
	in := f.caches[len(f.caches)-1]
	if install {
		lib, err := in.install(ctx)
		if err == nil || ctx.Err() != nil {
			return lib, err
		}
		f.why = append(f.why, err)
	}
	return Library{}, &NoLibrary{Cache: in.dir, CUDA: f.cuda, Installed: install, Why: f.why}
}

// first returns the first candidate that serves.
func (f *finder) first(paths []string, source string) (Library, bool) {
	for _, path := range paths {
		lib, err := check(path)
		if err == nil && f.cuda {
			err = hasCUDA(lib)
		}
		if err == nil {
			lib.Source = source
			return lib, true
		}
		if filepath.Base(path) != path { // a bare name that the loader does not know is no news
			f.pass(fmt.Errorf("%s: %w", path, err))
		}
	}
	return Library{}, false
}

// pass logs and keeps the reason for passing over a candidate.
func (f *finder) pass(err error) {
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	f.why = append(f.why, err)
	f.log.line("ONNX Runtime: passed over %v", err)
}

func (f *finder) systemCandidates() (paths []string) {
	for _, place := range f.system {
		if filepath.Base(place) == place {
			paths = append(paths, place)
		} else {
			paths = append(paths, inFolder(place)...)
		}
	}
	return paths
}

// check reports whether a library can be used: it loads, is ONNX Runtime, and
// is Oldest or newer.
func check(path string) (Library, error) {
	bare := filepath.Base(path) == path
	if !bare {
		if err := checkWhole(path); err != nil {
			return Library{}, err
		}
	}
	version, found, err := probe(path)
	if err != nil {
		return Library{}, err
	}
	if !newEnough(version, Oldest) {
		return Library{}, fmt.Errorf("it is ONNX Runtime %s, which is too old: %s or newer is needed (tested with %s); "+
			"`evopose runtime --install` installs that", version, Oldest, Version)
	}
	if bare && found != "" {
		path = found
	}
	return Library{Path: path, Version: version}, nil
}

// checkWhole refuses, on systems with ELF files, one that is cut off: mapping
// it would end the process with SIGBUS instead of an error.
func checkWhole(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a file")
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		return nil // their loaders check it
	}
	file, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("it is not a whole shared library: %w", err)
	}
	defer func() { _ = file.Close() }()
	for _, p := range file.Progs {
		if p.Type == elf.PT_LOAD && p.Off+p.Filesz > uint64(info.Size()) {
			return fmt.Errorf("it is cut off: %d bytes of at least %d", info.Size(), p.Off+p.Filesz)
		}
	}
	return nil
}

// libraryName is the usual name of the library on this system.
func libraryName() string {
	switch runtime.GOOS {
	case "windows":
		return "onnxruntime.dll"
	case "darwin":
		return "libonnxruntime.dylib"
	}
	return "libonnxruntime.so"
}

// libraryPattern matches the library's name with any version in it.
func libraryPattern() string {
	switch runtime.GOOS {
	case "windows":
		return "onnxruntime.dll"
	case "darwin":
		return "libonnxruntime*.dylib"
	}
	return "libonnxruntime.so*"
}

// inFolder lists the libraries in a folder, the plainest name first. The
// pattern's own characters in the folder's name must not count, so the folder
// is read rather than globbed.
func inFolder(folder string) (paths []string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if ok, _ := filepath.Match(libraryPattern(), e.Name()); ok {
			paths = append(paths, filepath.Join(folder, e.Name()))
		}
	}
	slices.SortFunc(paths, func(a, b string) int { return len(a) - len(b) })
	return paths
}

// systemPlaces lists where a system keeps libraries. The bare names are left
// to the loader, which knows LD_LIBRARY_PATH and ldconfig's cache.
func systemPlaces() []string {
	switch runtime.GOOS {
	case "windows":
		// Windows itself brings an onnxruntime.dll, of an old version, in its
		// system folder; the loader would find that first, so it is not asked.
		return []string{filepath.Join(os.Getenv("ProgramFiles"), "onnxruntime", "lib")}
	case "darwin":
		return []string{libraryName(), "/opt/homebrew/lib", "/usr/local/lib", "/opt/local/lib", "/opt/onnxruntime/lib"}
	}
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	return []string{libraryName(), libraryName() + ".1", "/usr/local/lib", "/usr/local/lib64", "/opt/onnxruntime/lib",
		"/usr/lib/" + triplet, "/usr/lib64", "/usr/lib", "/usr/lib/onnxruntime"}
}

// NoLibrary says that ONNX Runtime was not found, why each place and source
// was passed over, and what the user can do.
type NoLibrary struct {
	Cache     string  // the user cache's folder for this version and build
	CUDA      bool    // whether only a build with CUDA would have done
	Installed bool    // whether an installation was tried
	Why       []error // reasons, in order
}

// Error implements error; the text has several lines.
func (e *NoLibrary) Error() string {
	what, install := "", "evopose runtime --install"
	if e.CUDA {
		what, install = " with CUDA", install+" --provider cuda"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "ONNX Runtime%s was not found", what)
	if e.Installed {
		b.WriteString(" and could not be installed")
	}
	for _, err := range e.Why {
		fmt.Fprintf(&b, "\n  - %s", strings.ReplaceAll(err.Error(), "\n", "\n    "))
	}
	fmt.Fprintf(&b, `
What you can do, any one of:
  1. name a library%s of version %s or newer by --ort-lib or %s;
  2. put %s beside the program, or install ONNX Runtime%s in the system;
  3. install pip or npm and run "%s"; on a machine without network,
     run it on one of the same kind that has it, and copy its %s here.`, what, Oldest, LibraryEnv, e.files(), what, install, e.Cache)
	return b.String()
}

// files names what has to lie beside the program.
func (e *NoLibrary) files() string {
	if e.CUDA {
		return libraryName() + " and " + filepath.Base(cudaLibrary(Library{}))
	}
	return libraryName()
}

// Unwrap returns the reasons.
func (e *NoLibrary) Unwrap() []error { return e.Why }

// newEnough reports whether a version such as "1.27.0" is least or newer, by
// major and minor number. A version that is not of this form is not.
func newEnough(version, least string) bool {
	var v, l [2]int
	if n, _ := fmt.Sscanf(version, "%d.%d", &v[0], &v[1]); n != 2 {
		return false
	}
	if n, _ := fmt.Sscanf(least, "%d.%d", &l[0], &l[1]); n != 2 {
		return false
	}
	return slices.Compare(v[:], l[:]) >= 0
}
