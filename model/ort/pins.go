package ort

import "runtime"

// The binding and the library are a pair: the binding (see go.mod) is compiled
// against one C API and loads every library that still serves it. Raise both
// here, with the sums of each source, and nowhere else.
const (
	// BindingVersion is the version of yalue/onnxruntime_go in go.mod.
	BindingVersion = "v1.27.0"
	// LibraryVersion is the ONNX Runtime that is installed.
	LibraryVersion = "1.27.0"
	// oldestMinor is the oldest 1.x library that the binding can load
	// (ORT_API_VERSION 24).
	oldestMinor = 24
)

// pin is what one source offers for one platform: an archive, and in it the
// files to install. Sums are SHA-256, taken from the archives themselves when
// the pin was made.
type pin struct {
	size    int64 // bytes of the archive, for the progress bar
	archive string
	files   []pinnedFile
	args    []string // what the client needs to pick this platform
}

type pinnedFile struct{ member, name, sum string }

// source is one way to get the library: a package client that the machine may
// have. The project's release archives would be a third source; their sums
// could not be established where these pins were made, so they are left out.
type source struct {
	name    string
	clients [][]string // commands to try, the first that exists is used
	args    []string
	pins    map[string]pin // by GOOS/GOARCH
}

func platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

var pipClients = [][]string{{"python3", "-m", "pip"}, {"pip3"}, {"pip"}, {"python", "-m", "pip"}}

// Wheels of any Python hold the same kind of library; naming one Python and
// platform gets the same file whatever Python the machine has.
var pipArgs = []string{"download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp",
	"--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "10", "--progress-bar", "off"}

func wheelPin(size int64, archive, file, sum string, platforms ...string) pin {
	p := pin{size: size, archive: archive, files: []pinnedFile{{"onnxruntime/capi/" + file, file, sum}}}
	for _, name := range platforms {
		p.args = append(p.args, "--platform", name)
	}
	return p
}

func npmPin(file, name, sum string) pin {
	return pin{size: 100893124, archive: "c3779c01c59832f8c03e2c392ac3af10bf08579f1822e8b1c63cc451edb302a2",
		files: []pinnedFile{{"package/bin/napi-v6/" + file, name, sum}}}
}

// cpuSources are tried in this order.
var cpuSources = []source{
	{
		name: "pip package onnxruntime", clients: pipClients, args: append(pipArgs[:len(pipArgs):len(pipArgs)], "onnxruntime=="+LibraryVersion),
		pins: map[string]pin{
			"linux/amd64": wheelPin(18636930, "e4f7b0e90d2d212e2c2deaa6c8291616183ab815d3ec558ea12d3ac8b26d36f4", "libonnxruntime.so.1.27.0",
				"b5c9d4f124d24707f514dad926dc181820807178855df1c528e3addb2dd0e6f7", "manylinux_2_28_x86_64", "manylinux_2_27_x86_64"),
			"linux/arm64": wheelPin(16419330, "2eb083321af8a236a84c7c140a7f4cecbfa2a987a18c07c78db471c20cd390ef", "libonnxruntime.so.1.27.0",
				"9275ef52956228686ae47b0219f67476a1148505084bdc5571e7bf1bf69b11f2", "manylinux_2_28_aarch64", "manylinux_2_27_aarch64"),
			"darwin/arm64": wheelPin(18416484, "8ba14a38c570087f3cdb8cfba33f7a38a1e826c1e5b29e17c28ceda0cc910016", "libonnxruntime.1.27.0.dylib",
				"3d832017d60a8a1e078f7051ea3601374453f5451ffe95b70db1131aa7d37e06", "macosx_14_0_arm64"),
			"windows/amd64": wheelPin(13356110, "ff050e4f6bf7f12918fa14dcb047c0b02e295f35e86d42532552be4b3d54e977", "onnxruntime.dll",
				"7b9ef55ecaa67ea48e7b0cbe06c926a2046510eef45bbddc35bb9b02f6de3f81", "win_amd64"),
			"windows/arm64": wheelPin(13098635, "75fbc1e1fb43a39a856c8209c544cca7817b5de7ac16b15b1bdf55d1cc67b9df", "onnxruntime.dll",
				"17db1cb527389a0b50ffcf34425543c70167b8d2dc64385d0fe7302f151baa89", "win_arm64"),
		},
	},
	{
		name: "npm package onnxruntime-node", clients: [][]string{{"npm"}}, args: []string{"pack", "--fetch-retries=0", "onnxruntime-node@" + LibraryVersion},
		pins: map[string]pin{
			"linux/amd64":   npmPin("linux/x64/libonnxruntime.so.1", "libonnxruntime.so.1.27.0", "d8aff4aa8abee8fb2abb2f2f2459ffc94461e781e41b9f7c072829dd0d470221"),
			"linux/arm64":   npmPin("linux/arm64/libonnxruntime.so.1", "libonnxruntime.so.1.27.0", "c36bc200e7e6c093b8abb0b34590fbdd8c52fd3fb5e33795b9523ffdde2fce0f"),
			"darwin/arm64":  npmPin("darwin/arm64/libonnxruntime.1.27.0.dylib", "libonnxruntime.1.27.0.dylib", "89f692a3a1a224e4ad0b796b0e7c0bd81113b0741bfe84211eceef14d05a9e59"),
			"windows/amd64": npmPin("win32/x64/onnxruntime.dll", "onnxruntime.dll", "273f9ef9cf755c6a0f342226a80448156c10ceb74db2ae8c8370dc98e75af0eb"),
			"windows/arm64": npmPin("win32/arm64/onnxruntime.dll", "onnxruntime.dll", "908ce63e73f375e90daabe24c52486b42392c19df3d63973a26f871cfeab5453"),
		},
	},
}

// cudaSources hold the library with its CUDA provider (CUDA 13, cuDNN 9).
var cudaSources = []source{{
	name: "pip package onnxruntime-gpu", clients: pipClients, args: append(pipArgs[:len(pipArgs):len(pipArgs)], "onnxruntime-gpu=="+LibraryVersion),
	pins: map[string]pin{"linux/amd64": {
		size: 220287841, archive: "404fb845dc06a04a28df5a2c6d5967bcf3f534e7df0b98507ff81686a1b49594",
		files: []pinnedFile{
			{"onnxruntime/capi/libonnxruntime.so.1.27.0", "libonnxruntime.so.1.27.0", "184096f611d6cfff75f5d4cbaf01f76d736ab10d408d335fca0c85e5a79018db"},
			{"onnxruntime/capi/libonnxruntime_providers_cuda.so", "libonnxruntime_providers_cuda.so", "e74df75bf06e670fb75f594f4a7b337c039fdebea3998c91f9f05e6e7b8008a0"},
			{"onnxruntime/capi/libonnxruntime_providers_shared.so", "libonnxruntime_providers_shared.so", "086ec1d5388f64153d9c63470d126693db9a182c8ce236d3a1119068471b8a0d"},
		},
		args: []string{"--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_27_x86_64"},
	}},
}}
