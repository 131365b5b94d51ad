package ort

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestNewEnough(t *testing.T) {
	for _, c := range []struct {
		version string
		want    bool
	}{
		{"1.24.0", true}, {"1.24.0-dev", true}, {"1.27.0", true}, {"1.100", true}, {"2.0.0", true},
		{"1.23.9", false}, {"1.3.24", false}, {"0.99.0", false}, {"", false}, {"v1.27.0", false}, {"1", false},
	} {
		if got := newEnough(c.version, "1.24"); got != c.want {
			t.Errorf("newEnough(%q) = %v", c.version, got)
		}
	}
}

// A library that the user names must serve, or the error says what is wrong
// with it; nothing else is tried.
func TestExplicitLibraryThatDoesNotServe(t *testing.T) {
	old, other, good := fakeLibrary(t, "1.20.1"), fakeLibrary(t, ""), fakeLibrary(t, "1.27.0")
	whole := readFile(t, good)
	dir := t.TempDir()
	for name, c := range map[string]struct{ path, want string }{
		"missing":       {filepath.Join(dir, "nowhere.so"), "there is no such file"},
		"empty folder":  {dir, "the folder holds no"},
		"text":          {writeFile(t, filepath.Join(dir, "a", "text.so"), []byte("hello")), "not"},
		"cut off":       {writeFile(t, filepath.Join(dir, "b", "cut.so"), whole[:len(whole)*2/5]), "it is"},
		"cut to header": {writeFile(t, filepath.Join(dir, "c", "cut.so"), whole[:64]), "it is"},
		"empty file":    {writeFile(t, filepath.Join(dir, "d", "empty.so"), nil), "not"},
		"other library": {other, "it is not ONNX Runtime"},
		"too old":       {old, "it is ONNX Runtime 1.20.1, which is too old: 1.24 or newer is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(LibraryEnv, good) // must not be fallen back to
			_, err := FindLibrary(t.Context(), LibraryOptions{Path: c.path})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
				t.Errorf("error %q, want one with %q and %q", err, c.want, c.path)
			}
			t.Setenv(LibraryEnv, c.path)
			if _, err = FindLibrary(t.Context(), LibraryOptions{}); err == nil || !strings.Contains(err.Error(), LibraryEnv+"="+c.path) {
				t.Errorf("by environment: error %q", err)
			}
		})
	}
}

func TestExplicitLibrary(t *testing.T) {
	good := fakeLibrary(t, "1.26.3")
	// The name says another version than the library itself.
	misnamed := writeFile(t, filepath.Join(t.TempDir(), "libonnxruntime.so.1.2.0"), readFile(t, good))
	t.Chdir(filepath.Dir(good))
	for _, c := range []struct{ path, env, source, want string }{
		{good, "", "--ort-lib", good},
		{good, "/nowhere", "--ort-lib", good},
		{"", good, LibraryEnv, good},
		{filepath.Dir(good), "", "--ort-lib", good},
		{filepath.Base(good), "", "--ort-lib", good}, // relative, and not looked up in the system
		{misnamed, "", "--ort-lib", misnamed},
	} {
		t.Setenv(LibraryEnv, c.env)
		lib, err := FindLibrary(t.Context(), LibraryOptions{Path: c.path})
		if err != nil || lib != (Library{Path: c.want, Version: "1.26.3", Source: c.source}) {
			t.Errorf("path %q, environment %q: %+v, %v", c.path, c.env, lib, err)
		}
	}
}

// testFinder looks only in the given folders.
func testFinder(t *testing.T, program string, log *bytes.Buffer, system ...string) *finder {
	in := testInstaller(filepath.Join(t.TempDir(), "cache"), log)
	return &finder{program: program, system: system, log: in.log, caches: []installer{in}}
}

func TestFinderOrder(t *testing.T) {
	good, old := readFile(t, fakeLibrary(t, "1.27.0")), readFile(t, fakeLibrary(t, "1.19.0"))
	program, system1, system2 := t.TempDir(), t.TempDir(), t.TempDir()
	oldPath := writeFile(t, filepath.Join(system1, libraryName()), old)
	systemPath := writeFile(t, filepath.Join(system2, libraryName()), good)
	var log bytes.Buffer
	f := testFinder(t, program, &log, "libno-such-onnxruntime.so", system1, system2)
	want := func(path, source string) {
		t.Helper()
		lib, err := f.find(t.Context(), false)
		if err != nil || lib.Path != path || lib.Source != source {
			t.Errorf("found %+v, %v; want %s (%s)", lib, err, path, source)
		}
	}
	want(systemPath, "system")
	if text := log.String(); !strings.Contains(text, "passed over "+oldPath) || !strings.Contains(text, "1.19.0") || strings.Contains(text, "no-such") {
		t.Errorf("log is %q", text)
	}
	file := writeFile(t, filepath.Join(t.TempDir(), libraryName()), good)
	if err := os.MkdirAll(f.caches[0].dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := place([]string{file}, f.caches[0].dir, "test"); err != nil {
		t.Fatal(err)
	}
	want(filepath.Join(f.caches[0].dir, libraryName()), "cache (test)")
	want(filepath.Join(f.caches[0].dir, libraryName()), "cache (test)")
	beside := writeFile(t, filepath.Join(program, "lib", libraryName()), good)
	want(beside, "beside the program")
	beside = writeFile(t, filepath.Join(program, libraryName()), good)
	want(beside, "beside the program")
}

// For CUDA a build without it does not serve, wherever it lies.
func TestFinderForCUDA(t *testing.T) {
	good := readFile(t, fakeLibrary(t, "1.27.0"))
	plainDir, cudaDir := t.TempDir(), t.TempDir()
	without := writeFile(t, filepath.Join(plainDir, libraryName()), good)
	with := writeFile(t, filepath.Join(cudaDir, libraryName()), good)
	writeFile(t, cudaLibrary(Library{Path: with}), []byte("provider"))
	var log bytes.Buffer
	f := testFinder(t, plainDir, &log, cudaDir)
	if lib, err := f.find(t.Context(), false); err != nil || lib.Path != without {
		t.Errorf("auto found %+v, %v", lib, err)
	}
	f.cuda = true
	if lib, err := f.find(t.Context(), false); err != nil || lib.Path != with {
		t.Errorf("cuda found %+v, %v", lib, err)
	}
	if !strings.Contains(log.String(), "providers_cuda") {
		t.Errorf("log is %q", log.String())
	}
}

func TestFinderBuilds(t *testing.T) {
	for provider, want := range map[string]string{"": "cuda cpu", Auto: "cuda cpu", CPU: "cpu", CUDA: "cuda"} {
		f, err := newFinder(LibraryOptions{Provider: provider})
		if err != nil {
			t.Fatal(err)
		}
		var builds []string
		for _, c := range f.caches {
			builds = append(builds, c.dir[strings.LastIndex(c.dir, "-")+1:])
		}
		if got := strings.Join(builds, " "); got != want {
			t.Errorf("provider %q: builds %q, want %q", provider, got, want)
		}
	}
	t.Setenv(LibraryEnv, "")
	if _, err := FindLibrary(t.Context(), LibraryOptions{Provider: "tpu"}); err == nil || !strings.Contains(err.Error(), `"tpu"`) {
		t.Errorf("provider tpu: %v", err)
	}
}

// Where there is nothing, the message holds the reasons and three remedies.
func TestNothingFound(t *testing.T) {
	var log bytes.Buffer
	f := testFinder(t, t.TempDir(), &log, t.TempDir())
	writeFile(t, filepath.Join(f.system[0], libraryName()), []byte("not a library"))
	f.caches[0].sources = []source{failing("one", errors.New("is down")), failing("two", errors.New("is empty"))}
	_, err := f.find(t.Context(), true)
	var none *NoLibrary
	if !errors.As(err, &none) || none.Cache != f.caches[0].dir {
		t.Fatalf("error %v", err)
	}
	for _, part := range []string{"not found and could not be installed", filepath.Join(f.system[0], libraryName()), "source one: is down", "source two: is empty",
		"1. ", "--ort-lib", LibraryEnv, "2. ", "beside the program", "3. ", "evopose runtime --install", f.caches[0].dir} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("message lacks %q:\n%v", part, err)
		}
	}
	if _, err := f.find(t.Context(), false); err == nil || strings.Contains(err.Error(), "could not be installed") {
		t.Errorf("without installing: %v", err)
	}
}

// Where only CUDA would do, the remedies are those for its build.
func TestNothingFoundForCUDA(t *testing.T) {
	t.Setenv(CacheEnv, t.TempDir())
	f, err := newFinder(LibraryOptions{Provider: CUDA})
	if err != nil {
		t.Fatal(err)
	}
	f.program, f.system = "", nil
	f.caches[0].sources = []source{failing("pip", errors.New("is down"))}
	_, err = f.find(t.Context(), true)
	if err == nil {
		t.Fatal("found without a source")
	}
	for _, part := range []string{"ONNX Runtime with CUDA was not found", "a library with CUDA of version", "source pip: is down",
		"providers_cuda", `"evopose runtime --install --provider cuda"`, f.caches[0].dir} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("message lacks %q:\n%v", part, err)
		}
	}
}

func TestCacheDir(t *testing.T) {
	t.Setenv(CacheEnv, "/somewhere")
	if dir, err := CacheDir(); err != nil || dir != filepath.FromSlash("/somewhere/onnxruntime") && runtime.GOOS != "windows" {
		t.Errorf("CacheDir() = %q, %v", dir, err)
	}
	if runtime.GOOS != "linux" {
		return
	}
	t.Setenv(CacheEnv, "")
	t.Setenv("XDG_CACHE_HOME", "/xdg")
	if dir, err := CacheDir(); err != nil || dir != "/xdg/evopose/onnxruntime" {
		t.Errorf("CacheDir() = %q, %v", dir, err)
	}
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	if _, err := CacheDir(); err == nil || !strings.Contains(err.Error(), CacheEnv) {
		t.Errorf("without a home: %v", err)
	}
	in := newInstaller(cpuBuild, newReporter(nil))
	if _, err := in.install(t.Context()); err == nil || !strings.Contains(err.Error(), CacheEnv) {
		t.Errorf("install without a home: %v", err)
	}
}
