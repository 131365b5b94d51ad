package ort

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	binding "github.com/yalue/onnxruntime_go"
)

// The execution providers that can be asked for.
const (
	CPU  = "cpu"
	CUDA = "cuda"
	Auto = "auto" // CUDA where it works, else CPU
)

// cudaProvider is the file that holds the CUDA execution provider.
func cudaProvider() string {
	if runtime.GOOS == "windows" {
		return "onnxruntime_providers_cuda.dll"
	}
	return "libonnxruntime_providers_cuda.so"
}

// cudaMissing returns what the CUDA provider lacks on this machine, or nil.
func cudaMissing(library Library) error {
	path := filepath.Join(filepath.Dir(library.Path), cudaProvider())
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%s is not beside the ONNX Runtime library %s; `evopose runtime --install --provider cuda` installs both",
			cudaProvider(), library.Path)
	}
	// The provider resolves symbols of the runtime itself once that has
	// loaded it; libraries that are missing show before.
	if err := canLoad(path); err != nil && strings.Contains(err.Error(), "cannot open shared object") {
		return fmt.Errorf("%s cannot be loaded: %w; install CUDA 13 and cuDNN 9 and name their folders in LD_LIBRARY_PATH", cudaProvider(), err)
	}
	return nil
}

// Providers lists the execution providers that work with the loaded library,
// and why CUDA is not among them if it is not.
func Providers() (names []string, cudaReason error) {
	loaded.Lock()
	library := loaded.library
	loaded.Unlock()
	if reason := cudaMissing(library); reason != nil {
		return []string{CPU}, reason
	}
	return []string{CPU, CUDA}, nil
}

// addCUDA adds the CUDA provider to a session's options. Heuristic search
// chooses a convolution algorithm at once for each new batch size, where an
// exhaustive one would stall the first requests for seconds.
func addCUDA(o *binding.SessionOptions) error {
	cuda, err := binding.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer cuda.Destroy() //nolint:errcheck // the session keeps its own copy
	if err := cuda.Update(map[string]string{"cudnn_conv_algo_search": "HEURISTIC"}); err != nil {
		return err
	}
	return o.AppendExecutionProviderCUDA(cuda)
}

// PhysicalCores returns the number of cores that do arithmetic: physical ones,
// no more than GOMAXPROCS, which follows the container's limit.
func PhysicalCores() int {
	limit := runtime.GOMAXPROCS(0)
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return limit
	}
	defer f.Close()
	if n := countCores(f); n > 0 {
		return min(n, limit)
	}
	return limit
}

// countCores counts the different (physical id, core id) pairs of
// /proc/cpuinfo; 0 if it does not tell.
func countCores(r io.Reader) int {
	cores := map[[2]string]bool{}
	var physical string
	for s := bufio.NewScanner(r); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), ":")
		switch strings.TrimSpace(key) {
		case "physical id":
			physical = strings.TrimSpace(value)
		case "core id":
			cores[[2]string{physical, strings.TrimSpace(value)}] = true
		}
	}
	return len(cores)
}

var errClosed = errors.New("the session is closed")
