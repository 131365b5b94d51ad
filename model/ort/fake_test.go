package ort

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// fakeLibrary compiles a shared library that says it is ONNX Runtime of the
// given version, in a folder of its own; of version "" it is something else.
func fakeLibrary(t testing.TB, version string) string {
	t.Helper()
	source := "int unrelated(void) { return 1; }\n"
	if version != "" {
		source = fmt.Sprintf(`static const void *api(unsigned v) { return 0; }
static const char *version(void) { return "%s"; }
static struct { const void *(*a)(unsigned); const char *(*v)(void); } base = {api, version};
void *OrtGetApiBase(void) { return &base; }
`, version)
	}
	dir := t.TempDir()
	c, lib := filepath.Join(dir, "fake.c"), filepath.Join(dir, libraryName())
	if err := os.WriteFile(c, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "cc"
	}
	if _, err := exec.LookPath(compiler); err != nil {
		t.Skipf("no C compiler to build a fake library with: %v", err)
	}
	if out, err := exec.Command(compiler, "-shared", "-fPIC", "-o", lib, c).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return lib
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// The fake archives hold a library at this path.
const fakeMember = "fake/lib/library"

func zipOf(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(fakeMember)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tgzOf(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	for _, h := range []*tar.Header{
		{Name: "fake/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./" + fakeMember, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func fakePin(archive, library []byte) pin {
	return pin{tag: "any", archive: sumOf(archive), size: int64(len(archive)), members: []member{{fakeMember, sumOf(library)}}}
}

// onPath puts scripts of the given names and bodies before all else on PATH.
func onPath(t *testing.T, scripts map[string]string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake clients are shell scripts")
	}
	dir := t.TempDir()
	for name, body := range scripts {
		writeFile(t, filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"))
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}
