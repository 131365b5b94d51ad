package ort

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseProvider(t *testing.T) {
	for in, want := range map[string]string{"": Auto, "auto": Auto, "cpu": CPU, "cuda": CUDA} {
		if got, err := ParseProvider(in); err != nil || got != want {
			t.Errorf("ParseProvider(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"CPU", "gpu", " cuda"} {
		if _, err := ParseProvider(in); err == nil || !strings.Contains(err.Error(), "want auto, cpu or cuda") {
			t.Errorf("ParseProvider(%q): %v", in, err)
		}
	}
}

// What is asked for and is not there is an error that names what is missing;
// auto goes on on the CPU and says why. On a machine with CUDA the results of
// both providers are compared instead.
func TestProviders(t *testing.T) {
	lib := loadRuntime(t)
	data, card := network(t, small)
	cpu := openSmall(t, Options{Provider: CPU})
	if cpu.Provider() != CPU || cpu.ProviderReason() != "asked for" || cpu.Card().Name != card.Name {
		t.Errorf("cpu: %s, %s, %s", cpu.Provider(), cpu.ProviderReason(), cpu.Card().Name)
	}
	auto := openSmall(t, Options{})
	cuda, err := Open(data, card, Options{Provider: CUDA})
	if err == nil {
		defer func() { _ = cuda.Close() }()
		compareProviders(t, cpu, cuda, auto)
		return
	}
	t.Logf("no CUDA here: %v", err)
	if !strings.Contains(err.Error(), "provider cuda: ") {
		t.Errorf("cuda: %v", err)
	}
	if hasCUDA(lib) != nil && (!strings.Contains(err.Error(), "providers_cuda") || !strings.Contains(err.Error(), "--provider cuda")) {
		t.Errorf("the error does not name the missing library and the remedy: %v", err)
	}
	if auto.Provider() != CPU || !strings.Contains(auto.ProviderReason(), "auto: provider cuda: ") {
		t.Errorf("auto: %s, because %s", auto.Provider(), auto.ProviderReason())
	}
	if missing := CheckCUDA(0); missing != nil && !slices.Equal(Providers(), []string{CPU}) {
		t.Errorf("Providers() = %v although %v", Providers(), missing)
	}
	b := noise(auto, 2, 1)
	if d := difference(reference(t, auto, b, 2), reference(t, cpu, b, 2)); d > tolerance {
		t.Errorf("auto differs from cpu by %g", d)
	}
}

func compareProviders(t *testing.T, cpu, cuda, auto *Session) {
	t.Helper()
	if cuda.Provider() != CUDA || auto.Provider() != CUDA || !slices.Contains(Providers(), CUDA) {
		t.Errorf("cuda: %s, auto: %s, all: %v", cuda.Provider(), auto.Provider(), Providers())
	}
	for n := 2; n < 20; n += 3 {
		b := noise(cpu, n, 1)
		want := reference(t, cpu, b, n)
		if err := cuda.Run(b.crops, b.heatmaps); err != nil {
			t.Fatal(err)
		}
		if d := difference(b.heatmaps, want); d > 1e-2 { // TF32 convolutions
			t.Errorf("batch of %d: cuda differs from cpu by %g", n, d)
		}
	}
}

func TestCUDAErrorNamesWhatIsMissing(t *testing.T) {
	lib := Library{Path: filepath.Join(t.TempDir(), libraryName())}
	// What ONNX Runtime 1.27 says on a machine without CUDA's libraries.
	err := errors.New("/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:2410 onnxruntime::Provider& onnxruntime::ProviderLibrary::Get() " +
		"[ONNXRuntimeError] : 1 : FAIL : Failed to load library /x/libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file")
	got := cudaError(lib, err).Error()
	for _, part := range []string{"providers_cuda", "is not beside " + lib.Path, "evopose runtime --install --provider cuda", "libcublasLt.so.13: cannot open"} {
		if !strings.Contains(got, part) {
			t.Errorf("without the provider: error lacks %q: %s", part, got)
		}
	}
	if err := os.WriteFile(cudaLibrary(lib), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got = cudaError(lib, err).Error()
	for _, part := range []string{cudaLibrary(lib) + " cannot be used", "NVIDIA driver", "LD_LIBRARY_PATH", "libcublasLt.so.13: cannot open"} {
		if !strings.Contains(got, part) {
			t.Errorf("with the provider: error lacks %q: %s", part, got)
		}
	}
	if strings.Contains(got, "onnxruntime_src") {
		t.Errorf("the error keeps the library's source position: %s", got)
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"a.cc:1 f() CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; hostname=vm ; file=/src/a.cc ; line=67 ;": "CUDA failure 100: no CUDA-capable device is detected",
		"something else": "something else",
	} {
		if got := plain(errors.New(in)); got != want {
			t.Errorf("plain(%q) = %q", in, got)
		}
	}
}
