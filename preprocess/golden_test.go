package preprocess

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"image"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
)

// The golden files are made by testdata/make_golden.py.

// golden is one picture of testdata/decode with its expected pixels.
type golden struct {
	File          string  `json:"file"`
	Width, Height int     // upright
	Tolerance     float64 `json:"tolerance"` // of any sample
	Mean          float64 `json:"mean"`      // of the mean absolute difference
	data          []byte
	rgb           []byte
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(readFile(t, name), v); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func readGzip(t testing.TB, name string) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(readFile(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func goldens(t testing.TB) []golden {
	t.Helper()
	var all []golden
	readJSON(t, "decode.json", &all)
	rgb := readGzip(t, "decode.rgb.gz")
	for i := range all {
		g := &all[i]
		g.data = readFile(t, "decode/"+g.File)
		n := 3 * g.Width * g.Height
		g.rgb, rgb = rgb[:n], rgb[n:]
	}
	if len(rgb) != 0 {
		t.Fatalf("%d bytes of expected pixels are left", len(rgb))
	}
	return all
}

func TestDecodeGolden(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.File, func(t *testing.T) {
			img, err := Decode(g.data, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if want := image.Rect(0, 0, g.Width, g.Height); img.Rect != want || img.Stride != 4*g.Width {
				t.Fatalf("rectangle %v of stride %d, want %v", img.Rect, img.Stride, want)
			}
			compareRGB(t, img, g)
		})
	}
}

func compareRGB(t *testing.T, img *image.NRGBA, g golden) {
	t.Helper()
	worst, sum, at := 0.0, 0.0, 0
	for i := range g.Width * g.Height {
		for c := range 3 {
			d := math.Abs(float64(img.Pix[4*i+c]) - float64(g.rgb[3*i+c]))
			sum += d
			if d > worst {
				worst, at = d, i
			}
		}
		if img.Pix[4*i+3] != 255 {
			t.Fatalf("pixel %d is not opaque", i)
		}
	}
	mean := sum / float64(len(g.rgb))
	t.Logf("largest difference %v, mean %.3f", worst, mean)
	if worst > g.Tolerance || mean > g.Mean {
		t.Errorf("largest difference %v at (%d, %d), mean %.3f; allowed %v and %v; got %v, want %v",
			worst, at%g.Width, at/g.Width, mean, g.Tolerance, g.Mean, img.Pix[4*at:4*at+3], g.rgb[3*at:3*at+3])
	}
}

// TestSniffGolden checks format and size of every file. The stored size is the
// upright one unless the orientation swaps the axes.
func TestSniffGolden(t *testing.T) {
	formats := map[string]string{".jpg": "JPEG", ".png": "PNG", ".gif": "GIF", ".webp": "WebP"}
	for _, g := range goldens(t) {
		h, err := Sniff(g.data)
		if err != nil {
			t.Errorf("%s: %v", g.File, err)
			continue
		}
		width, height := g.Width, g.Height
		if _, o, ok := strings.Cut(g.File, "orientation"); ok && o[0] >= '5' {
			width, height = height, width
		}
		if h.Format != formats[filepath.Ext(g.File)] || h.Width != width || h.Height != height {
			t.Errorf("%s: %+v, want %dx%d", g.File, h, width, height)
		}
	}
}

// TestCropGolden compares with SciPy's map_coordinates in float64 and with
// cv2.warpAffine in float32. Both agree with each other to 2e-6.
func TestCropGolden(t *testing.T) {
	var spec struct {
		Height, Width int
		Boxes         [][4]float64
	}
	readJSON(t, "crop.json", &spec)
	want := make([]float32, len(readGzip(t, "crop.f32.gz"))/4)
	if err := binary.Read(bytes.NewReader(readGzip(t, "crop.f32.gz")), binary.LittleEndian, want); err != nil {
		t.Fatal(err)
	}
	img, err := Decode(readFile(t, "decode/png-rgb8.png"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	input := model.Size{H: spec.Height, W: spec.Width}
	n := 3 * input.Area()
	if len(want) != 2*n*len(spec.Boxes) {
		t.Fatalf("%d golden values for %d boxes", len(want), len(spec.Boxes))
	}
	got := make([]float32, n)
	for i, b := range spec.Boxes {
		Crop(got, img, NewAffine(Box{b[0], b[1], b[2], b[3]}, input))
		for source, from := range map[string]int{"SciPy": i, "OpenCV": len(spec.Boxes) + i} {
			worst, at := maxDifference(got, want[from*n:][:n])
			if !(worst <= 5e-6) {
				t.Errorf("box %v: differs from %s by %v at %d", b, source, worst, at)
			}
		}
	}
}
