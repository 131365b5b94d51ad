package cmd

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evopose/evopose/model/ort"
	"github.com/evopose/evopose/model/ort/orttest"
)

// argumentsEnv makes this binary the program itself: it holds the arguments,
// with line feeds between them.
const argumentsEnv = "TEST_PROGRAM_ARGUMENTS"

// TestMain lets a test start this binary as the program itself, since one
// process cannot load two builds of ONNX Runtime.
func TestMain(m *testing.M) {
	if line := os.Getenv(argumentsEnv); line != "" {
		os.Args = append([]string{"evopose"}, strings.Split(line, "\n")...)
		os.Exit(Execute())
	}
	if os.Getenv(hugePagesTest) != "" {
		reportHugePages()
		return
	}
	os.Exit(m.Run())
}

// program runs the program in an empty folder and returns its status and what
// it printed on standard error.
func program(t *testing.T, env []string, arguments ...string) (status int, text string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self)
	c.Dir = t.TempDir()
	c.Env = append(append(os.Environ(), env...), argumentsEnv+"="+strings.Join(arguments, "\n"))
	var b strings.Builder
	c.Stderr = &b
	var exit *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), b.String()
}

func wantParts(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("the message lacks %q:\n%s", part, text)
		}
	}
}

func TestEngineAsksForTheProvidersBuild(t *testing.T) {
	for _, provider := range []string{"auto", "cpu", "cuda"} {
		o := engineOptions{Provider: provider, Library: "/some/lib.so"}
		want := ort.LibraryOptions{Path: "/some/lib.so", Provider: provider, Install: true, Progress: io.Discard}
		if got := o.libraryOptions(io.Discard); got != want {
			t.Errorf("%s: %+v", provider, got)
		}
	}
}

// On a fresh machine `--provider cuda` wants the build with CUDA and no other.
// Where that cannot be had the program ends with what to do.
func TestCUDAOnAFreshMachine(t *testing.T) {
	env := []string{"EVOPOSE_CACHE=" + t.TempDir(), "PATH=" + t.TempDir(), "LD_LIBRARY_PATH=", ort.LibraryEnv + "="}
	for _, arguments := range [][]string{{"serve", "--listen", "127.0.0.1:0", "--provider", "cuda"}, {"bench", "--provider", "cuda"}} {
		status, text := program(t, env, arguments...)
		if status != 1 {
			t.Errorf("%v ended with %d", arguments, status)
		}
		wantParts(t, text, "ONNX Runtime with CUDA was not found and could not be installed", "evopose runtime --install --provider cuda",
			"linux-amd64-cuda", "source pip: there is no pip")
	}
}

// A library without CUDA that the user named stops the start, and the error
// names the file that is missing.
func TestCUDAWithALibraryWithoutIt(t *testing.T) {
	library := orttest.Init(t)
	if ort.CheckCUDA(0) == nil {
		t.Skip("this library has CUDA")
	}
	missing := filepath.Join(filepath.Dir(library.Path), "libonnxruntime_providers_cuda.so")
	status, text := program(t, []string{ort.LibraryEnv + "=" + library.Path}, "serve", "--listen", "127.0.0.1:0", "--provider", "cuda")
	if status != 1 {
		t.Errorf("it ended with %d", status)
	}
	wantParts(t, text, "provider cuda", filepath.Base(missing), library.Path)
}
