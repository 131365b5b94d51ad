package preprocess

import (
	"bytes"
	"encoding/binary"
	"image"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// entry is one entry of an EXIF directory.
type entry struct {
	tag, kind uint16
	count     uint32
	value     []byte // 4 bytes
}

// exifBlock returns an EXIF block whose only directory has the entries.
func exifBlock(order binary.AppendByteOrder, entries ...entry) []byte {
	mark := "II"
	if order.AppendUint16(nil, 1)[0] == 0 {
		mark = "MM"
	}
	b := order.AppendUint16([]byte(mark), 42)
	b = order.AppendUint16(order.AppendUint32(b, 8), uint16(len(entries)))
	for _, e := range entries {
		b = order.AppendUint16(order.AppendUint16(b, e.tag), e.kind)
		b = append(order.AppendUint32(b, e.count), e.value...)
	}
	return append(b, 0, 0, 0, 0)
}

func orientationEntry(order binary.AppendByteOrder, v uint16) entry {
	return entry{0x0112, 3, 1, append(order.AppendUint16(nil, v), 0, 0)}
}

func TestOrientation(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	maker := entry{0x010f, 2, 4, []byte("abc\x00")}
	good := exifBlock(le, maker, orientationEntry(le, 6))
	tests := []struct {
		name string
		exif []byte
		want int
	}{
		{"none", nil, 1},
		{"little endian", good, 6},
		{"big endian", exifBlock(be, maker, orientationEntry(be, 8)), 8},
		{"after a long value", exifBlock(le, entry{0x010e, 2, 60000, []byte{8, 0, 0, 0}}, orientationEntry(le, 3)), 3},
		{"after a value that reaches outside", exifBlock(le, entry{0x010f, 2, 9, []byte{255, 255, 255, 127}}, orientationEntry(le, 3)), 3},
		{"not there", exifBlock(le, maker), 1},
		{"zero", exifBlock(le, orientationEntry(le, 0)), 1},
		{"nine", exifBlock(le, orientationEntry(le, 9)), 1},
		{"text", exifBlock(le, entry{0x0112, 2, 2, []byte("6\x00\x00\x00")}), 1},
		{"two values", exifBlock(le, entry{0x0112, 3, 2, []byte{6, 0, 6, 0}}), 1},
		{"unknown type before", exifBlock(le, entry{0x010f, 99, 1, make([]byte, 4)}, orientationEntry(le, 6)), 1},
		{"cut short", good[:len(good)-10], 1},
		{"header only", good[:8], 1},
		{"other byte order mark", append([]byte("XX"), good[2:]...), 1},
		{"directory outside", slices.Concat(good[:4], []byte{255, 255, 255, 255}, good[8:]), 1},
		{"directory inside the header", slices.Concat(good[:4], []byte{2, 0, 0, 0}, good[8:]), 1},
	}
	for _, tt := range tests {
		if got := orientation(tt.exif); got != tt.want {
			t.Errorf("%s: orientation %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestUpright follows one marked pixel. EXIF 2.32 section 4.6.4.A says where
// the stored row 0 and column 0 belong.
func TestUpright(t *testing.T) {
	const w, h = 3, 2
	marks := map[int]image.Point{ // where the stored (0, 0) comes to lie
		1: {0, 0}, 2: {w - 1, 0}, 3: {w - 1, h - 1}, 4: {0, h - 1},
		5: {0, 0}, 6: {h - 1, 0}, 7: {h - 1, w - 1}, 8: {0, w - 1},
	}
	for o, want := range marks {
		img := image.NewNRGBA(image.Rect(0, 0, w, h))
		img.Pix[0] = 77
		got := upright(img, o)
		size := image.Pt(w, h)
		if o >= 5 {
			size = image.Pt(h, w)
		}
		if got.Rect.Size() != size || got.NRGBAAt(want.X, want.Y).R != 77 {
			t.Errorf("orientation %d: size %v, mark not at %v", o, got.Rect.Size(), want)
		}
		if o == 1 && got != img {
			t.Error("orientation 1 copied the picture")
		}
	}
}

// TestOrientationHostile feeds blocks that point into themselves or are long.
// Each takes about a millisecond (logged) and little memory (checked).
func TestOrientationHostile(t *testing.T) {
	le := binary.LittleEndian
	// Directories of directories, all reading the same 64 KiB.
	many := exifBlock(le, entry{0x014a, 4, 2500, []byte{16, 0, 0, 0}}, entry{0x8769, 4, 1, make([]byte, 4)},
		entry{0x8825, 4, 1, make([]byte, 4)}, entry{0xa005, 4, 1, make([]byte, 4)})
	many = append(many, bytes.Repeat([]byte{8, 0, 0, 0}, 16000)...)
	full := bytes.Repeat([]byte{0xff, 0xff}, 1<<15)
	copy(full, exifBlock(le))
	le.PutUint16(full[8:], 0xffff)
	counts := slices.Clone(full)
	for i := 10; i+12 <= len(counts); i += 12 {
		copy(counts[i:], []byte{0x0f, 1, 2, 0, 0xff, 0xff, 0, 0, 8, 0, 0, 0})
	}
	for name, block := range map[string][]byte{"directories": many, "ones": full, "values": counts} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		got := orientation(block)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		allocated := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %v, %d bytes", name, took, allocated)
		if got != 1 || allocated > 4<<20 {
			t.Errorf("%s: orientation %d, %d bytes allocated", name, got, allocated)
		}
	}
}

// TestEXIFContainers checks where each format keeps its block, and that
// containers cut anywhere give none or the block, without a panic.
func TestEXIFContainers(t *testing.T) {
	for _, file := range []string{"jpeg-orientation6.jpg", "png-orientation6.png", "webp-lossy-orientation6.webp", "webp-lossless-orientation6.webp"} {
		data := readFile(t, "decode/"+file)
		f, _, err := sniff(data)
		if err != nil {
			t.Fatal(err)
		}
		if got := orientation(f.exif(data)); got != 6 {
			t.Errorf("%s: orientation %d, want 6", file, got)
		}
		for n := 12; n < len(data); n++ {
			if got := orientation(f.exif(data[:n:n])); got != 6 && got != 1 {
				t.Fatalf("%s cut at %d: orientation %d", file, n, got)
			}
		}
	}
}

// TestBrokenEXIFIsIgnored damages the block of a picture at random: it must
// decode all the same, to the same pixels in some orientation.
func TestBrokenEXIFIsIgnored(t *testing.T) {
	data := readFile(t, "decode/jpeg-orientation6.jpg")
	at := bytes.Index(data, []byte("Exif\x00\x00")) + 6
	length := int(binary.BigEndian.Uint16(data[at-8:])) - 8
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		bad := slices.Clone(data)
		for range 1 + rng.IntN(8) {
			bad[at+rng.IntN(length)] = byte(rng.Uint32())
		}
		img, err := Decode(bad, Limits{})
		if err != nil {
			t.Fatalf("% x: %v", bad[at:at+length], err)
		}
		if size := img.Rect.Size(); size != image.Pt(45, 31) && size != image.Pt(31, 45) {
			t.Fatalf("size %v", size)
		}
	}
}
