package ort

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func failing(name string, err error) source {
	return source{name: name, fetch: func(context.Context, pin, string, io.Writer) (string, error) { return "", err }}
}

// from returns a source whose archive is a file.
func from(name, archive string, p pin) source {
	return source{name, p, func(_ context.Context, _ pin, dir string, _ io.Writer) (string, error) {
		data, err := os.ReadFile(archive)
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, filepath.Base(archive))
		return path, os.WriteFile(path, data, 0o600)
	}}
}

func testInstaller(dir string, log io.Writer, s ...source) installer {
	return installer{dir: dir, sources: s, stall: 2 * time.Second, limit: time.Minute, log: newReporter(log)}
}

// nothingLeft checks that an installation left no temporary files.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(dir, temporaryPrefix+"*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestInstall(t *testing.T) {
	library := readFile(t, fakeLibrary(t, Version))
	wheel, tarball := zipOf(t, library), tgzOf(t, library)
	zipFile := writeFile(t, filepath.Join(t.TempDir(), "a.whl"), wheel)
	tgzFile := writeFile(t, filepath.Join(t.TempDir(), "a.tgz"), tarball)
	noMember := fakePin(wheel, library)
	noMember.members = []member{{"fake/other", sumOf(library)}}
	for name, c := range map[string]struct {
		sources []source
		source  string   // of the result; empty: an error
		says    []string // in the log
	}{
		"zip":           {[]source{from("one", zipFile, fakePin(wheel, library))}, "installed (one)", []string{"installing ONNX Runtime", "installed from one"}},
		"tgz":           {[]source{from("one", tgzFile, fakePin(tarball, library))}, "installed (one)", nil},
		"second works":  {[]source{failing("one", errors.New("no route")), from("two", tgzFile, fakePin(tarball, library))}, "installed (two)", []string{"passed over source one: no route"}},
		"wrong archive": {[]source{from("one", zipFile, fakePin([]byte("x"), library))}, "", []string{"source one: refused: the archive a.whl has SHA-256 " + sumOf(wheel), "pinned is " + sumOf([]byte("x"))}},
		"wrong library": {[]source{from("one", tgzFile, fakePin(tarball, []byte("x")))}, "", []string{"source one: a.tgz: refused: the library", sumOf(library), sumOf([]byte("x"))}},
		"no member":     {[]source{from("one", zipFile, noMember)}, "", []string{"fake/other"}},
		"no source":     {nil, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			dir := filepath.Join(t.TempDir(), "cache")
			in := testInstaller(dir, &log, c.sources...)
			lib, err := in.install(t.Context())
			if (err == nil) != (c.source != "") || lib.Source != c.source {
				t.Fatalf("%+v, %v", lib, err)
			}
			for _, part := range c.says {
				if !strings.Contains(log.String(), part) {
					t.Errorf("the log lacks %q:\n%s", part, log.String())
				}
			}
			nothingLeft(t, dir)
			cached, cacheErr := in.cached()
			if err != nil {
				if !errors.Is(cacheErr, os.ErrNotExist) {
					t.Errorf("after a failure the cache is not empty: %+v, %v", cached, cacheErr)
				}
				return
			}
			if cacheErr != nil || cached.Path != lib.Path || cached.Version != Version || cached.Source != strings.Replace(c.source, "installed", "cache", 1) {
				t.Errorf("cached %+v, %v", cached, cacheErr)
			}
			if got := readFile(t, lib.Path); !bytes.Equal(got, library) {
				t.Error("the installed library differs")
			}
		})
	}
}

// A library of the right sum may still not load here.
func TestInstallTriesTheLibrary(t *testing.T) {
	library := readFile(t, fakeLibrary(t, ""))
	archive := zipOf(t, library)
	in := testInstaller(t.TempDir(), io.Discard, from("one", writeFile(t, filepath.Join(t.TempDir(), "a.whl"), archive), fakePin(archive, library)))
	if _, err := in.install(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be used here: it is not ONNX Runtime") {
		t.Errorf("error %v", err)
	}
}

// The fake clients stand in for pip and npm.
func TestClients(t *testing.T) {
	library := readFile(t, fakeLibrary(t, Version))
	archive := writeFile(t, filepath.Join(t.TempDir(), "archive"), zipOf(t, library))
	good := fakePin(readFile(t, archive), library)
	const version = `case "$*" in *--version*) echo fake 1.0; exit 0;; esac; `
	none := "exit 127"
	for name, c := range map[string]struct {
		pip, npm string
		source   string
		want     []string
	}{
		"pip works":   {version + "cp " + archive + " onnxruntime.whl", none, "installed (pip)", nil},
		"npm works":   {none, "cp " + archive + " onnxruntime.tgz", "installed (npm)", []string{"source pip: there is no pip"}},
		"pip fails":   {version + "echo no matching distribution >&2; exit 1", "cp " + archive + " a.tgz", "installed (npm)", []string{"source pip: python3 -m pip download onnxruntime==" + Version, "exit status 1", "no matching distribution"}},
		"pip hangs":   {version + "echo looking; sleep 600 & sleep 600", "cp " + archive + " a.tgz", "installed (npm)", []string{"source pip: no answer for 2s", "looking"}},
		"pip's probe": {"sleep 600", "cp " + archive + " a.tgz", "installed (npm)", []string{"source pip: no answer for 2s"}},
		"pip is slow": {version + "for i in 1 2 3 4 5 6; do sleep 0.5; echo $i; done; cp " + archive + " a.whl", none, "installed (pip)", nil},
		"pip grows":   {version + `for i in 1 2 3 4 5 6; do sleep 0.5; echo $i >> "$TMPDIR/part"; done; cp ` + archive + " a.whl", none, "installed (pip)", nil},
		"pip lies":    {version + "echo wrong > a.whl", none, "", []string{"source pip: refused: the archive a.whl", good.archive}},
		"two wheels":  {version + "cp " + archive + " a.whl; cp a.whl b.whl", none, "", []string{"source pip: it delivered 2 files"}},
		"nothing":     {version + "true", "true", "", []string{"source pip: it delivered 0 files", "source npm: it delivered 0 files"}},
	} {
		t.Run(name, func(t *testing.T) {
			onPath(t, map[string]string{"python3": c.pip, "python": none, "pip3": none, "pip": none, "npm": c.npm})
			var log bytes.Buffer
			dir := t.TempDir()
			in := testInstaller(dir, &log, source{"pip", good, fetchPip("onnxruntime")}, source{"npm", good, fetchNpm})
			start := time.Now()
			lib, err := in.install(t.Context())
			if lib.Source != c.source || (err == nil) != (c.source != "") {
				t.Fatalf("%+v, %v", lib, err)
			}
			for _, part := range c.want {
				if !strings.Contains(log.String(), part) {
					t.Errorf("the log lacks %q:\n%s", part, log.String())
				}
			}
			if took := time.Since(start); took > 30*time.Second { // a client that hangs sleeps for 600 s
				t.Errorf("took %v", took)
			}
			nothingLeft(t, dir)
		})
	}
}

func TestNoClients(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, fetch := range map[string]func(context.Context, pin, string, io.Writer) (string, error){"pip": fetchPip("onnxruntime"), "npm": fetchNpm} {
		if _, err := fetch(t.Context(), pin{}, t.TempDir(), io.Discard); err == nil || !strings.Contains(err.Error(), "there is no "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLimit(t *testing.T) {
	in := testInstaller(t.TempDir(), io.Discard, source{"slow", pin{}, func(ctx context.Context, _ pin, _ string, out io.Writer) (string, error) {
		for ctx.Err() == nil {
			_, _ = io.WriteString(out, "still here\n")
			time.Sleep(10 * time.Millisecond)
		}
		return "", ctx.Err()
	}})
	in.limit = 500 * time.Millisecond
	if _, err := in.install(t.Context()); err == nil || !strings.Contains(err.Error(), "source slow: not finished within 500ms") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := in.install(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestDownload(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			_, _ = io.WriteString(w, "bytes")
		case "/hang":
			_, _ = io.WriteString(w, "by")
			w.(http.Flusher).Flush()
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	defer close(hang)
	path := filepath.Join(t.TempDir(), "file")
	if _, err := download(t.Context(), server.URL+"/good", path); err != nil || string(readFile(t, path)) != "bytes" {
		t.Errorf("download: %v", err)
	}
	if _, err := download(t.Context(), server.URL+"/none", path); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("missing: %v", err)
	}
	in := testInstaller(t.TempDir(), io.Discard, source{"release", pin{}, func(ctx context.Context, _ pin, dir string, _ io.Writer) (string, error) {
		return download(ctx, server.URL+"/hang", filepath.Join(dir, "file"))
	}})
	if _, err := in.install(t.Context()); err == nil || !strings.Contains(err.Error(), "source release: no answer for 2s") {
		t.Errorf("hanging: %v", err)
	}
}

// A cache that was damaged, or that a killed process left half written, is
// never used, and is repaired by the next installation.
func TestDamagedCache(t *testing.T) {
	library := readFile(t, fakeLibrary(t, Version))
	archive := zipOf(t, library)
	s := from("one", writeFile(t, filepath.Join(t.TempDir(), "a.whl"), archive), fakePin(archive, library))
	flipped := bytes.Clone(library)
	flipped[len(flipped)/2] ^= 1
	for name, c := range map[string]struct {
		damage func(dir string)
		want   string
	}{
		"half written": {func(dir string) {
			writeFile(t, filepath.Join(dir, libraryName()), library[:len(library)/2])
			_ = os.Remove(filepath.Join(dir, markerName))
			writeFile(t, filepath.Join(dir, temporaryPrefix+"123", "part"), library[:10])
		}, "no such file"},
		"cut off":    {func(dir string) { writeFile(t, filepath.Join(dir, libraryName()), library[:len(library)/2]) }, "bytes, installed were"},
		"flipped":    {func(dir string) { writeFile(t, filepath.Join(dir, libraryName()), flipped) }, "has SHA-256"},
		"removed":    {func(dir string) { _ = os.Remove(filepath.Join(dir, libraryName())) }, "is missing"},
		"no marker":  {func(dir string) { writeFile(t, filepath.Join(dir, markerName), []byte("{")) }, "is unreadable"},
		"empty list": {func(dir string) { writeFile(t, filepath.Join(dir, markerName), []byte("{}")) }, "is unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			in := testInstaller(t.TempDir(), io.Discard, s)
			if _, err := in.install(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.damage(in.dir)
			if lib, err := in.cached(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("cached %+v, %v; want %q", lib, err, c.want)
			}
			if lib, err := in.install(t.Context()); err != nil || lib.Source != "installed (one)" {
				t.Fatalf("repair: %+v, %v", lib, err)
			}
			if _, err := in.cached(); err != nil {
				t.Error(err)
			}
			nothingLeft(t, in.dir)
		})
	}
}

// installProcess runs this test binary as a process that installs from the
// archive, in a way that the environment says; see TestMain.
func installProcess(t *testing.T, dir, archive, mode string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "ORT_TEST_INSTALL="+mode, "ORT_TEST_DIR="+dir, "ORT_TEST_ARCHIVE="+archive)
	return c
}

// installMain is the process of installProcess: it writes a line to the file
// "fetches" for each fetch, and prints the library's source.
func installMain() int {
	dir, archive := os.Getenv("ORT_TEST_DIR"), os.Getenv("ORT_TEST_ARCHIVE")
	data, err := os.ReadFile(archive)
	if err != nil {
		panic(err)
	}
	sum, err := os.ReadFile(archive + ".library")
	if err != nil {
		panic(err)
	}
	in := testInstaller(dir, io.Discard, source{"fake", pin{archive: sumOf(data), members: []member{{fakeMember, string(sum)}}},
		func(_ context.Context, _ pin, temp string, _ io.Writer) (string, error) {
			f, err := os.OpenFile(filepath.Join(filepath.Dir(archive), "fetches"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				return "", err
			}
			_, _ = f.WriteString("fetch\n")
			_ = f.Close()
			if os.Getenv("ORT_TEST_INSTALL") == "hang" {
				select {}
			}
			time.Sleep(100 * time.Millisecond)
			path := filepath.Join(temp, "a.whl")
			return path, os.WriteFile(path, data, 0o600)
		}})
	in.stall = time.Hour
	lib, err := in.install(context.Background())
	if err != nil {
		println(err.Error())
		return 1
	}
	if _, err := in.cached(); err != nil {
		println(err.Error())
		return 1
	}
	println(lib.Source)
	return 0
}

func TestConcurrentInstall(t *testing.T) {
	library := readFile(t, fakeLibrary(t, Version))
	archive := writeFile(t, filepath.Join(t.TempDir(), "a.whl"), zipOf(t, library))
	writeFile(t, archive+".library", []byte(sumOf(library)))
	dir, fetches := filepath.Join(t.TempDir(), "cache"), filepath.Join(filepath.Dir(archive), "fetches")

	// One process is killed in the middle of it, holding the lock.
	hung := installProcess(t, dir, archive, "hang")
	if err := hung.Start(); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(fetches); err == nil {
			break
		}
		if time.Since(start) > time.Minute {
			t.Fatal("the first process does not fetch")
		}
	}
	waits := installProcess(t, dir, archive, "work")
	var waited bytes.Buffer
	waits.Stderr = &waited
	if err := waits.Start(); err != nil {
		t.Fatal(err)
	}
	_ = hung.Process.Kill()
	_ = hung.Wait()
	if err := waits.Wait(); err != nil || !strings.Contains(waited.String(), "fake") {
		t.Fatalf("after the killed one: %v: %s", err, waited.String())
	}
	nothingLeft(t, dir)

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(fetches)
	outputs := make([]bytes.Buffer, 8)
	errs := make([]error, len(outputs))
	var wg sync.WaitGroup
	for i := range outputs {
		wg.Go(func() {
			c := installProcess(t, dir, archive, "work")
			c.Stderr = &outputs[i]
			errs[i] = c.Run()
		})
	}
	wg.Wait()
	installed := 0
	for i := range outputs {
		if errs[i] != nil {
			t.Errorf("process %d: %v: %s", i, errs[i], outputs[i].String())
		}
		installed += strings.Count(outputs[i].String(), "installed (fake)")
	}
	if n := strings.Count(string(readFile(t, fetches)), "fetch"); n != 1 || installed != 1 {
		t.Errorf("%d fetches and %d installations by 8 processes, want one", n, installed)
	}
	nothingLeft(t, dir)
}

// The real sources, as far as this machine has them. A machine without network
// skips; a sum that differs, or a library that does not load, fails.
func TestInstallForReal(t *testing.T) {
	if testing.Short() {
		t.Skip("downloads 19 MB; not in -short mode")
	}
	var log bytes.Buffer
	in := newInstaller(cpuBuild, newReporter(&log))
	in.dir = t.TempDir()
	lib, err := in.install(t.Context())
	if strings.Contains(log.String(), "refused") || strings.Contains(log.String(), "cannot be used here") {
		t.Fatal(log.String())
	}
	if err != nil {
		t.Skipf("no source can be reached from here:\n%v", err)
	}
	if lib.Version != Version {
		t.Errorf("installed %+v, want version %s", lib, Version)
	}
	t.Logf("%+v", lib)
}
