package ort

// The binding and the library are pinned as a pair, here and nowhere else: the
// binding's version decides the oldest library that it can load, and the
// library is the one that the tests run. To raise them: `go get` the binding,
// set the three constants, then renew the sums as each table says.
const (
	// BindingVersion is the version of the binding in go.mod; a test compares.
	BindingVersion = "v1.27.0"
	// Version is the version of ONNX Runtime that is installed when none is
	// found, and the one that the project is tested with.
	Version = "1.27.0"
	// Oldest is the oldest ONNX Runtime that the binding loads: the binding's
	// ORT_API_VERSION is 24, which came with 1.24.
	Oldest = "1.24"
)

// pin is what one source must deliver on one platform.
type pin struct {
	tag     string   // pip: the platform of the wheel
	archive string   // SHA-256 of the downloaded archive
	size    int64    // bytes of the archive, 0 where they are not known
	members []member // the library, then what must lie beside it
}

// member is a file inside an archive.
type member struct {
	path string
	sum  string // SHA-256; empty where the archive's stands for it
}

// pipPins are the wheels for CPython 3.11 of onnxruntime; any other Python may
// download them. The sums are those of the files that
// `pip download --no-deps --platform TAG onnxruntime==1.27.0` delivered for
// each platform, and of the library in each.
var pipPins = map[string]pin{
	"linux/amd64": {
		tag:     "manylinux_2_28_x86_64",
		archive: "e4f7b0e90d2d212e2c2deaa6c8291616183ab815d3ec558ea12d3ac8b26d36f4", size: 18636930,
		members: []member{{"onnxruntime/capi/libonnxruntime.so.1.27.0", "b5c9d4f124d24707f514dad926dc181820807178855df1c528e3addb2dd0e6f7"}},
	},
	"linux/arm64": {
		tag:     "manylinux_2_28_aarch64",
		archive: "2eb083321af8a236a84c7c140a7f4cecbfa2a987a18c07c78db471c20cd390ef", size: 16419330,
		members: []member{{"onnxruntime/capi/libonnxruntime.so.1.27.0", "9275ef52956228686ae47b0219f67476a1148505084bdc5571e7bf1bf69b11f2"}},
	},
	"darwin/arm64": {
		tag:     "macosx_14_0_arm64",
		archive: "8ba14a38c570087f3cdb8cfba33f7a38a1e826c1e5b29e17c28ceda0cc910016", size: 18416484,
		members: []member{{"onnxruntime/capi/libonnxruntime.1.27.0.dylib", "3d832017d60a8a1e078f7051ea3601374453f5451ffe95b70db1131aa7d37e06"}},
	},
	"windows/amd64": {
		tag:     "win_amd64",
		archive: "ff050e4f6bf7f12918fa14dcb047c0b02e295f35e86d42532552be4b3d54e977", size: 13356110,
		members: []member{{"onnxruntime/capi/onnxruntime.dll", "7b9ef55ecaa67ea48e7b0cbe06c926a2046510eef45bbddc35bb9b02f6de3f81"}},
	},
	"windows/arm64": {
		tag:     "win_arm64",
		archive: "75fbc1e1fb43a39a856c8209c544cca7817b5de7ac16b15b1bdf55d1cc67b9df", size: 13098635,
		members: []member{{"onnxruntime/capi/onnxruntime.dll", "17db1cb527389a0b50ffcf34425543c70167b8d2dc64385d0fe7302f151baa89"}},
	},
}

// pipCUDAPins are the wheels of onnxruntime-gpu, made for CUDA 13 and cuDNN 9,
// with sums taken in the same way.
var pipCUDAPins = map[string]pin{
	"linux/amd64": {
		tag:     "manylinux_2_28_x86_64",
		archive: "404fb845dc06a04a28df5a2c6d5967bcf3f534e7df0b98507ff81686a1b49594", size: 220287841,
		members: []member{
			{"onnxruntime/capi/libonnxruntime.so.1.27.0", "184096f611d6cfff75f5d4cbaf01f76d736ab10d408d335fca0c85e5a79018db"},
			{"onnxruntime/capi/libonnxruntime_providers_cuda.so", "e74df75bf06e670fb75f594f4a7b337c039fdebea3998c91f9f05e6e7b8008a0"},
			{"onnxruntime/capi/libonnxruntime_providers_shared.so", "086ec1d5388f64153d9c63470d126693db9a182c8ce236d3a1119068471b8a0d"},
		},
	},
	"windows/amd64": {
		tag:     "win_amd64",
		archive: "c68799b35fc4818e6c1d50f5270681bf5ab8a652ac118e11a987b23f488e18dd", size: 213618726,
		members: []member{
			{"onnxruntime/capi/onnxruntime.dll", "a684c83a5fd93aa51e10836d41a1958f169886c8ec3e97867ad07f5c1574860a"},
			{"onnxruntime/capi/onnxruntime_providers_cuda.dll", "85dd6933fe72710879fe14d2a04ca11d71fb7a0b3b1f5b83871d545fdc032c81"},
			{"onnxruntime/capi/onnxruntime_providers_shared.dll", "9d0f9e563039ada6ffc59392c31b3ceb771a1989e447d8aa92ca3a2df88c8ddf"},
		},
	},
}

// npmArchive is the sum of the one tarball of onnxruntime-node for all
// platforms, as `npm pack onnxruntime-node@1.27.0` delivered it; its SHA-512
// was also compared with what `npm view` states.
const (
	npmArchive = "c3779c01c59832f8c03e2c392ac3af10bf08579f1822e8b1c63cc451edb302a2"
	npmSize    = 100893124
	npmFolder  = "package/bin/napi-v6/"
)

// npmPins are the libraries in the tarball.
var npmPins = map[string]pin{
	"linux/amd64":   {archive: npmArchive, size: npmSize, members: []member{{npmFolder + "linux/x64/libonnxruntime.so.1", "d8aff4aa8abee8fb2abb2f2f2459ffc94461e781e41b9f7c072829dd0d470221"}}},
	"linux/arm64":   {archive: npmArchive, size: npmSize, members: []member{{npmFolder + "linux/arm64/libonnxruntime.so.1", "c36bc200e7e6c093b8abb0b34590fbdd8c52fd3fb5e33795b9523ffdde2fce0f"}}},
	"darwin/arm64":  {archive: npmArchive, size: npmSize, members: []member{{npmFolder + "darwin/arm64/libonnxruntime.1.27.0.dylib", "89f692a3a1a224e4ad0b796b0e7c0bd81113b0741bfe84211eceef14d05a9e59"}}},
	"windows/amd64": {archive: npmArchive, size: npmSize, members: []member{{npmFolder + "win32/x64/onnxruntime.dll", "273f9ef9cf755c6a0f342226a80448156c10ceb74db2ae8c8370dc98e75af0eb"}}},
	"windows/arm64": {archive: npmArchive, size: npmSize, members: []member{{npmFolder + "win32/arm64/onnxruntime.dll", "908ce63e73f375e90daabe24c52486b42392c19df3d63973a26f871cfeab5453"}}},
}

// releaseURL is the folder of the official release.
const releaseURL = "https://github.com/microsoft/onnxruntime/releases/download/v" + Version + "/"

// releasePins are the official release archives. Where these tables were made
// the archives could not be downloaded; each sum is one that at least two
// unrelated public projects pin for the same file (four for linux/amd64, three
// for linux/arm64, two for the others). A platform with fewer is left out, and
// so are the libraries' own sums: the archive's stands for them.
var releasePins = map[string]pin{
	"linux/amd64": {
		archive: "547e40a48f1fe73e3f812d7c88a948612c23f896b91e4e2ee1e232d7b468246f", size: 8831605,
		members: []member{{"onnxruntime-linux-x64-1.27.0/lib/libonnxruntime.so.1.27.0", ""}},
	},
	"linux/arm64": {
		archive: "3e4d83ac06924a32a07b6d7f91ce6f852876153fc0bbdf931bf517a140bfbe48", size: 7797972,
		members: []member{{"onnxruntime-linux-aarch64-1.27.0/lib/libonnxruntime.so.1.27.0", ""}},
	},
	"darwin/arm64": {
		archive: "545e81c58152353acb0d1e8bd6ce4b62f830c0961f5b3acfedc790ffd76e477a",
		members: []member{{"onnxruntime-osx-arm64-1.27.0/lib/libonnxruntime.1.27.0.dylib", ""}},
	},
	"windows/amd64": {
		archive: "c5c81710938e68079ff1a192b04897faabe4b43830d48f39f27ecd4e16138bfc",
		members: []member{{"onnxruntime-win-x64-1.27.0/lib/onnxruntime.dll", ""}},
	},
}
