package ort

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// The execution providers. Auto is CUDA where it works, else CPU.
const (
	Auto = "auto"
	CPU  = "cpu"
	CUDA = "cuda"
)

// ParseProvider checks the name of a provider; empty means Auto.
func ParseProvider(s string) (string, error) {
	switch s {
	case "":
		return Auto, nil
	case Auto, CPU, CUDA:
		return s, nil
	}
	return "", fmt.Errorf("provider %q: want auto, cpu or cuda", s)
}

// Providers lists the providers that the loaded library has here: always "cpu",
// and "cuda" if its libraries load. Init must have been called.
func Providers() []string {
	if CheckCUDA(0) != nil {
		return []string{CPU}
	}
	return []string{CPU, CUDA}
}

// CheckCUDA reports why the CUDA provider cannot be had, nil if its libraries
// load. Whether a device is there and works shows only when a session opens.
func CheckCUDA(device int) error {
	lib, err := hold()
	if err != nil {
		return err
	}
	defer release()
	options, err := ort.NewSessionOptions()
	if err != nil {
		return err
	}
	defer func() { _ = options.Destroy() }()
	keepSignals(func() { err = appendCUDA(options, device, lib, nil) })
	return err
}

// appendCUDA adds the CUDA provider to a session's options. Convolution
// algorithms are chosen by heuristic: the exhaustive search costs seconds for
// every new batch size. more are further options of the provider.
func appendCUDA(options *ort.SessionOptions, device int, lib Library, more map[string]string) error {
	cuda, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return cudaError(lib, err)
	}
	defer func() { _ = cuda.Destroy() }()
	all := map[string]string{
		"device_id":              strconv.Itoa(device),
		"cudnn_conv_algo_search": "HEURISTIC",
	}
	maps.Copy(all, more)
	err = cuda.Update(all)
	if err == nil {
		err = options.AppendExecutionProviderCUDA(cuda)
	}
	if err != nil {
		return cudaError(lib, err)
	}
	return nil
}

// cudaLibrary is the path of the CUDA provider that belongs to a library.
func cudaLibrary(lib Library) string {
	name := "libonnxruntime_providers_cuda.so"
	if libraryName() == "onnxruntime.dll" {
		name = "onnxruntime_providers_cuda.dll"
	}
	return filepath.Join(filepath.Dir(lib.Path), name)
}

// hasCUDA reports whether the CUDA provider lies beside the library.
func hasCUDA(lib Library) error {
	path := cudaLibrary(lib)
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%s is not beside %s: this is a build of ONNX Runtime without CUDA; "+
			"`evopose runtime --install --provider cuda` installs one that has it", filepath.Base(path), lib.Path)
	}
	return nil
}

// cudaError says what is missing: the provider's own library, or one that it
// needs, in the words of the system's loader.
func cudaError(lib Library, err error) error {
	if missing := hasCUDA(lib); missing != nil {
		return fmt.Errorf("provider cuda: %w (%s)", missing, plain(err))
	}
	return fmt.Errorf("provider cuda: %s cannot be used; it needs the NVIDIA driver, and CUDA and cuDNN "+
		"in folders that the loader looks in, such as those of LD_LIBRARY_PATH: %s", cudaLibrary(lib), plain(err))
}

// plain drops the source position and function that the library puts before or
// behind its messages.
func plain(err error) string {
	text := err.Error()
	for _, mark := range []string{" Failed to load library ", " Failed to load shared library ", "CUDA failure ", "CUDNN failure "} {
		if i := strings.LastIndex(text, mark); i >= 0 {
			text, _, _ = strings.Cut(text[i:], " ; GPU=")
			return strings.TrimSpace(text)
		}
	}
	return text
}
