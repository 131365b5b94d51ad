package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// pngOf returns a PNG's signature and header chunk, and nothing after.
func pngOf(w, h uint32) []byte {
	head := []byte("IHDR")
	head = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(head, w), h)
	head = append(head, 8, 6, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	return binary.BigEndian.AppendUint32(append(b, head...), crc32.ChecksumIEEE(head))
}

// jpegOf returns a JPEG up to its frame header, with a scan marker after it.
func jpegOf(w, h uint16, frame byte, scans int) []byte {
	b := []byte{0xff, 0xd8, 0xff, frame, 0, 11, 8}
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, h), w)
	b = append(b, 1, 1, 0x11, 0)
	return append(b, bytes.Repeat([]byte{0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0}, scans)...)
}

func gifOf(w, h uint16) []byte {
	b := binary.LittleEndian.AppendUint16([]byte("GIF89a"), w)
	return append(binary.LittleEndian.AppendUint16(b, h), 0, 0, 0)
}

func webpOf(chunk string, body ...byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(4+8+len(body)+len(body)%2))
	b = append(append(b, "WEBP"...), chunk...)
	b = append(binary.LittleEndian.AppendUint32(b, uint32(len(body))), body...)
	return append(b, make([]byte, len(body)%2)...)
}

func TestDecodeNotImage(t *testing.T) {
	tests := []struct {
		name string
		data []byte
		want string // part of the message
	}{
		{"nothing", nil, "empty body"},
		{"text", []byte("hello, world"), `text, beginning "hello, world"`},
		{"text cut inside a letter", []byte("größe")[:4], "text, beginning"},
		{"JSON", []byte("{\"image\": 1}\n"), `text, beginning "{\"image\": 1}\n"`},
		{"HTML with mark", []byte("\ufeff<html>"), "text, beginning"},
		{"binary", []byte{0, 1, 2, 3, 4, 5, 6, 7, 8}, "unknown data, beginning 00 01 02 03 04 05 06 07"},
		{"HEIC", []byte("\x00\x00\x00\x18ftypheic\x00\x00"), "HEIC picture: send JPEG, PNG, WebP or GIF"},
		{"AVIF", []byte("\x00\x00\x00\x18ftypavif\x00\x00"), "AVIF picture: send"},
		{"MP4", []byte("\x00\x00\x00\x18ftypisom\x00\x00"), "video (MP4 or QuickTime)"},
		{"TIFF", []byte("II*\x00\x08\x00\x00\x00"), "TIFF or camera raw picture"},
		{"BMP", []byte("BM\x36\x00\x00\x00\x00\x00\x00\x00"), "BMP picture"},
		{"text that begins as a BMP", []byte("BMW is a car"), "text, beginning"},
		{"PDF", []byte("%PDF-1.7"), "PDF document"},
		{"sound", []byte("RIFF\x24\x00\x00\x00WAVEfmt "), "sound (WAV)"},
		{"JPEG start only", []byte{0xff, 0xd8}, "JPEG cut short at byte 2"},
		{"JPEG header only", jpegOf(9, 9, 0xc0, 0), "JPEG cut short at byte 15"},
		{"JPEG without size", jpegOf(9, 0, 0xc0, 1), "JPEG of 9x0 pixels"},
		{"JPEG lossless", append(jpegOf(9, 9, 0xc3, 1), 0xff, 0xd9), "damaged or unsupported JPEG: unsupported JPEG feature"},
		{"JPEG of many scans", jpegOf(9, 9, 0xc0, 5), "5 scans; at most 4 are accepted"},
		{"progressive JPEG of many scans", jpegOf(9, 9, 0xc2, 33), "33 scans; at most 32 are accepted"},
		{"PNG header only", pngOf(9, 9), "PNG cut short at byte 33"},
		{"PNG of no pixels", pngOf(0, 9), "damaged or unsupported PNG: png: invalid format: non-positive dimension"},
		{"PNG beyond 2^31", pngOf(1<<31, 1<<31), "damaged or unsupported PNG"},
		{"PNG with a wrong sum", append(pngOf(9, 9)[:32], 1), "damaged or unsupported PNG: png: invalid format: invalid checksum"},
		{"GIF header only", gifOf(5, 5), "GIF cut short at byte 13"},
		{"GIF of no pixels", gifOf(0, 5), "GIF of 0x5 pixels"},
		{"GIF without a frame", append(gifOf(5, 5), ';'), "gif: missing image data"},
		{"WebP cut", webpOf("VP8 ", make([]byte, 20)...)[:30], "WebP cut short at byte 30"},
		{"WebP that claims a long chunk", slices.Concat(webpOf("VP8 ", make([]byte, 20)...)[:16], []byte{255, 255, 255, 127}, make([]byte, 20)), "damaged or unsupported WebP"},
		{"WebP without chunks", webpOf("")[:12], "WebP cut short at byte 12"},
		{"moving WebP", webpOf("VP8X", 2, 0, 0, 0, 9, 0, 0, 9, 0, 0), "WebP: animation: send a still picture"},
	}
	for _, tt := range tests {
		img, err := Decode(tt.data, Limits{Pixels: 1e6})
		if img != nil || !errors.Is(err, ErrNotImage) || !strings.Contains(message(err), tt.want) {
			t.Errorf("%s: %v; want ErrNotImage with %q", tt.name, err, tt.want)
		}
	}
}

func TestDecodeTooManyPixels(t *testing.T) {
	limit := Limits{Pixels: 40e6}
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"PNG", pngOf(20000, 5000), "picture is 20000x5000 = 100.0 MP; the limit is 40 MP"},
		{"PNG of the largest size", pngOf(1<<31-1, 1<<29), "picture is 2147483647x536870912 = 1152921504070.0 MP; the limit is 40 MP"},
		{"JPEG", jpegOf(65535, 65535, 0xc0, 1), "picture is 65535x65535 = 4294.9 MP; the limit is 40 MP"},
		{"a little over", jpegOf(8000, 5001, 0xc2, 1), "picture is 8000x5001 = 40.1 MP; the limit is 40 MP"},
		{"GIF", gifOf(65535, 1000), "picture is 65535x1000 = 65.6 MP; the limit is 40 MP"},
		{"WebP", webpOf("VP8X", 0, 0, 0, 0, 0x1f, 0x4e, 0, 0x87, 0x13, 0), "picture is 20000x5000 = 100.0 MP; the limit is 40 MP"},
		{"lossless WebP", webpOf("VP8L", 0x2f, 0xff, 0xff, 0xff, 0x0f, 0), "picture is 16384x16384 = 268.5 MP; the limit is 40 MP"},
	}
	for _, tt := range tests {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(tt.data, limit)
		runtime.ReadMemStats(&after)
		var typed *TooManyPixelsError
		if !errors.Is(err, ErrTooManyPixels) || !errors.As(err, &typed) || message(err) != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, message(err), tt.want)
		}
		if errors.Is(err, ErrNotImage) {
			t.Errorf("%s: also ErrNotImage", tt.name)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated to refuse it", tt.name, n)
		}
	}
	small := &TooManyPixelsError{Width: 50, Height: 50, Limit: 2400}
	if got, want := small.Error(), "picture is 50x50 = 0.1 MP; the limit is 0.0024 MP"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestDecodeLimitIsInclusive decodes a picture of exactly the limit.
func TestDecodeLimitIsInclusive(t *testing.T) {
	data := readFile(t, "decode/png-rgb8.png")
	if _, err := Decode(data, Limits{Pixels: 45 * 31}); err != nil {
		t.Error(err)
	}
	if _, err := Decode(data, Limits{Pixels: 45*31 - 1}); !errors.Is(err, ErrTooManyPixels) {
		t.Errorf("one pixel over: %v", err)
	}
}

// TestDecodeCutShort cuts every kind of file at many bytes, and at each of the
// last. Nothing may panic, and only a GIF's trailer may be missing.
func TestDecodeCutShort(t *testing.T) {
	for _, g := range goldens(t) {
		step := 11
		if testing.Short() {
			step = 101
		}
		for n := 0; n < len(g.data); n++ {
			if n > 60 && n < len(g.data)-20 && n%step != 0 {
				continue
			}
			_, err := Decode(g.data[:n:n], Limits{})
			switch {
			case err == nil && !strings.HasSuffix(g.File, ".gif"):
				t.Errorf("%s: %d of %d bytes decoded", g.File, n, len(g.data))
			case err != nil && !errors.Is(err, ErrNotImage):
				t.Errorf("%s: cut at %d: %v", g.File, n, err)
			case n > 20 && strings.HasSuffix(g.File, ".jpg") && !strings.Contains(message(err), fmt.Sprintf("JPEG cut short at byte %d", n)):
				t.Errorf("%s: cut at %d: %v", g.File, n, err)
			}
		}
	}
}

// TestDecodeFormatsByBytes has names lie: only bytes count, so a JPEG after
// text is text.
func TestDecodeFormatsByBytes(t *testing.T) {
	data := append([]byte("data:image/jpeg;base64,"), readFile(t, "decode/jpeg-grey.jpg")...)
	if _, err := Decode(data, Limits{}); !errors.Is(err, ErrNotImage) {
		t.Errorf("%v", err)
	}
}

// TestDecodePanic checks that a panic inside a decoder becomes an error.
func TestDecodePanic(t *testing.T) {
	f := format{
		name:   "Odd",
		header: func([]byte) (Header, error) { panic("header is odd") },
		decode: func(b []byte) (*image.NRGBA, error) { return nil, fmt.Errorf("%d", b[3]) },
	}
	if _, err := f.read(nil); !errors.Is(err, ErrNotImage) || !strings.Contains(message(err), "Odd that its decoder cannot handle: header is odd") {
		t.Errorf("header: %v", err)
	}
	if _, err := f.pixels(nil); !errors.Is(err, ErrNotImage) || !strings.Contains(message(err), "index out of range") {
		t.Errorf("pixels: %v", err)
	}
}

// TestGIFBomb has a frame larger than its canvas, and frames after the first
// that are never decoded.
func TestGIFBomb(t *testing.T) {
	palette := color.Palette{color.White, color.Black}
	var b bytes.Buffer
	frame := image.NewPaletted(image.Rect(0, 0, 2, 2), palette)
	if err := gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{frame, frame}, Delay: []int{1, 1}}); err != nil {
		t.Fatal(err)
	}
	data := b.Bytes()
	first := bytes.IndexByte(data[13+6:], ',') + 13 + 6
	large := slices.Clone(data)
	copy(large[first+5:], []byte{0xff, 0xff, 0xff, 0xff})
	if _, err := Decode(large, Limits{Pixels: 100}); !errors.Is(err, ErrNotImage) {
		t.Errorf("frame larger than its canvas: %v", err)
	}
	second := bytes.LastIndexByte(data, ',')
	ruined := append(slices.Clone(data[:second]), 0xee, 0xee, 0xee)
	if _, err := Decode(ruined, Limits{Pixels: 100}); err != nil {
		t.Errorf("what follows the first frame was read: %v", err)
	}
}

// TestDecodeCost measures what decoding allocates in all, which is at least
// what it holds at once.
func TestDecodeCost(t *testing.T) {
	for name, data := range map[string][]byte{
		"JPEG": encoded(t, scene(600, 500), "jpeg"),
		"PNG":  encoded(t, scene(600, 500), "png"),
		"GIF":  encoded(t, scene(600, 500), "gif"),
	} {
		h, err := Sniff(data)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Decode(data, Limits{}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		used, cost := int64(after.TotalAlloc-before.TotalAlloc), DecodeCost(h)
		t.Logf("%s: %d bytes per pixel, %d of %d bytes used", name, h.BytesPerPixel, used, cost)
		if used > cost || used < cost/4 {
			t.Errorf("%s: %d bytes used, estimated %d", name, used, cost)
		}
	}
	if got := DecodeCost(Header{Width: 1<<31 - 1, Height: 1<<31 - 1}); got != math.MaxInt64 {
		t.Errorf("the largest picture costs %d, want the largest number", got)
	}
	if got, want := DecodeCost(Header{Width: 1000, Height: 10}), int64(28*10000+256<<10); got != want {
		t.Errorf("a header without estimate costs %d, want %d", got, want)
	}
}

// scene is a smooth picture with some grain: it compresses as a photograph.
func scene(w, h int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	seed := uint32(1)
	for y := range h {
		for x := range w {
			seed = seed*1664525 + 1013904223
			grain := float64(seed>>24)/32 - 4
			fx, fy := float64(x)/90, float64(y)/70
			img.SetNRGBA(x, y, color.NRGBA{
				R: uint8(125 + 100*math.Sin(fx+fy) + grain),
				G: uint8(125 + 100*math.Sin(fx*1.7)*math.Cos(fy) + grain),
				B: uint8(125 + 100*math.Cos(fy*2.1-fx) + grain), A: 255,
			})
		}
	}
	return img
}

func encoded(t testing.TB, img image.Image, kind string) []byte {
	t.Helper()
	var b bytes.Buffer
	encode := map[string]func(io.Writer, image.Image) error{
		"jpeg": func(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, &jpeg.Options{Quality: 90}) },
		"png":  png.Encode,
		"gif":  func(w io.Writer, m image.Image) error { return gif.Encode(w, m, nil) },
	}
	if err := encode[kind](&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzDecode checks that any bytes give an error of a kind that is documented
// or a picture that keeps Decode's promises.
func FuzzDecode(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.data)
	}
	for _, data := range [][]byte{nil, []byte("text"), pngOf(20000, 5000), jpegOf(9, 9, 0xc2, 3), gifOf(5, 5)} {
		f.Add(data)
	}
	lim := Limits{Pixels: 1 << 18}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, sniffErr := Sniff(data)
		img, err := Decode(data, lim)
		switch {
		case errors.Is(err, ErrTooManyPixels):
			if int64(h.Width)*int64(h.Height) <= lim.Pixels {
				t.Fatalf("%v, but header %+v", err, h)
			}
		case err != nil:
			if !errors.Is(err, ErrNotImage) || len(err.Error()) > 500 {
				t.Fatalf("undocumented error: %v", err)
			}
		case sniffErr != nil:
			t.Fatalf("decoded, but sniffed: %v", sniffErr)
		default:
			checkDecoded(t, img, h)
		}
	})
}

func checkDecoded(t *testing.T, img *image.NRGBA, h Header) {
	t.Helper()
	size := img.Rect.Size()
	if img.Rect.Min != (image.Point{}) || size != image.Pt(h.Width, h.Height) && size != image.Pt(h.Height, h.Width) {
		t.Fatalf("rectangle %v of header %+v", img.Rect, h)
	}
	if img.Stride != 4*size.X || len(img.Pix) < img.Stride*size.Y {
		t.Fatalf("stride %d, %d bytes for %v", img.Stride, len(img.Pix), size)
	}
	for i := 3; i < img.Stride*size.Y; i += 4 {
		if img.Pix[i] != 255 {
			t.Fatalf("pixel %d is not opaque", i/4)
		}
	}
}

func benchmarkDecode(b *testing.B, kind string) {
	for _, size := range []image.Point{{480, 360}, {1920, 1080}} {
		b.Run(fmt.Sprintf("%dx%d", size.X, size.Y), func(b *testing.B) {
			data := encoded(b, scene(size.X, size.Y), kind)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(data, Limits{Pixels: 40e6}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeJPEG(b *testing.B) { benchmarkDecode(b, "jpeg") }
func BenchmarkDecodePNG(b *testing.B)  { benchmarkDecode(b, "png") }
