package hdf5

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// contents is what a file holds.
type contents struct {
	values  map[string][]float32
	strings map[string][]string
	errs    []error
}

// readAll reads everything of a file.
func readAll(b []byte, noChecksum bool) contents {
	all := contents{values: map[string][]float32{}, strings: map[string][]string{}}
	f, err := open(bytes.NewReader(b), int64(len(b)), noChecksum)
	if err != nil {
		all.errs = append(all.errs, err)
		return all
	}
	list, err := f.Datasets()
	if err != nil {
		all.errs = append(all.errs, err)
	}
	for _, d := range list[:min(len(list), 10)] {
		all.readDataset(d)
	}
	for _, of := range [][2]string{{"/", "text"}, {"/", "a01"}, {"/", "huge"}, {"/g", "names"}, {"/group/data", "a01"}} {
		if a, ok, err := f.Attribute(of[0], of[1]); err != nil {
			all.errs = append(all.errs, err)
		} else if ok {
			all.strings[of[0]+"@"+of[1]] = a.Strings
		}
	}
	return all
}

func (c *contents) readDataset(d *Dataset) {
	if values, err := d.Float32s(); err == nil {
		c.values[d.Path] = values
	} else if c.strings[d.Path], err = d.Strings(); err != nil {
		c.errs = append(c.errs, err)
	}
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestEveryTruncationIsAnError(t *testing.T) {
	for _, name := range []string{"small_v0.h5", "small_v3.h5", "userblock.h5"} {
		b := golden(t, name)
		for n := range b {
			if _, err := openBytes(b[:n]); err == nil {
				t.Fatalf("%s: no error from the first %d of %d bytes", name, n, len(b))
			}
		}
	}
}

// TestTruncationsBelowTheSuperblock says in the superblock that the file is as
// short as it is, so that the structures themselves are cut.
func TestTruncationsBelowTheSuperblock(t *testing.T) {
	ends := map[string]int{"small_v0.h5": 40, "small_v3.h5": 28} // where the superblock has the file's end
	for name, at := range ends {
		whole := golden(t, name)
		want := readAll(whole, true)
		if len(want.values) != 1 || !slices.Equal(want.values["/g/x"], ramp(6)) {
			t.Fatal(want)
		}
		for n := 100; n < len(whole); n++ {
			b := bytes.Clone(whole[:n])
			binary.LittleEndian.PutUint64(b[at:], uint64(n))
			if got := readAll(b, true); len(got.errs) == 0 && !slices.Equal(got.values["/g/x"], ramp(6)) {
				t.Fatalf("%s: no error from the first %d of %d bytes: %v", name, n, len(whole), got)
			}
		}
	}
}

// TestEveryDamagedByte changes each byte of a small file in several ways. With
// checksums the values are right or there is an error.
func TestEveryDamagedByte(t *testing.T) {
	for _, name := range []string{"small_v0.h5", "small_v3.h5"} {
		b := golden(t, name)
		for i, was := range b {
			for _, now := range []byte{was ^ 0xff, was + 1} {
				b[i] = now
				wantSane(t, name, b, i)
			}
			b[i] = was
		}
	}
}

func wantSane(t *testing.T, name string, b []byte, at int) {
	t.Helper()
	for _, noChecksum := range []bool{true, false} {
		if name == "small_v0.h5" && !noChecksum { // it has no checksums but the chunks'
			continue
		}
		var got contents
		if n := allocated(func() { got = readAll(b, noChecksum) }); n > 32<<20 {
			t.Errorf("%s: byte %d made %#x allocates %d bytes", name, at, b[at], n)
		}
		values, ok := got.values["/g/x"]
		if name == "small_v3.h5" && !noChecksum && len(got.errs) == 0 && (!ok || !slices.Equal(values, ramp(6))) {
			t.Errorf("%s: byte %d made %#x gives %v without an error", name, at, b[at], got)
		}
	}
}

// TestDamagedFiles changes bytes of the larger files here and there.
func TestDamagedFiles(t *testing.T) {
	for _, name := range []string{"storage_v0.h5", "storage_v3.h5", "huge_v3.h5", "groups_v3.h5", "types_v2.h5", "attributes_v0.h5"} {
		b := golden(t, name)
		step := max(len(b)/200, 1)
		if testing.Short() {
			step *= 10
		}
		for i := 0; i < len(b); i += step {
			was := b[i]
			b[i] ^= 0xff
			readAll(b, true)
			b[i] = was
		}
	}
}

// patched returns a golden file with bytes replaced at an offset from where it
// first has a signature.
func patched(t *testing.T, name, find string, offset int, replacement ...byte) []byte {
	t.Helper()
	b := golden(t, name)
	at := bytes.Index(b, []byte(find))
	if at < 0 {
		t.Fatalf("%s has no %q", name, find)
	}
	copy(b[at+offset:], replacement)
	return b
}

func wantError(t *testing.T, b []byte, want string) {
	t.Helper()
	var got contents
	n := allocated(func() { got = readAll(b, true) })
	if limit := uint64(32<<20 + 100*len(b)); n > limit {
		t.Errorf("%q: %d bytes allocated, more than %d", want, n, limit)
	}
	for _, err := range got.errs {
		if strings.Contains(err.Error(), want) {
			return
		}
	}
	t.Errorf("errors %v, want %q", got.errs, want)
}

func TestHostileFiles(t *testing.T) {
	small := golden(t, "small_v0.h5")
	tree := uint64(bytes.Index(small, []byte("TREE")))
	self := binary.LittleEndian.AppendUint64(nil, tree)
	// 24 bytes after TREE begins the first key, then comes the first child.
	wantError(t, patched(t, "small_v0.h5", "TREE", 32, self...), `begins with "TREE" instead of "SNOD"`)
	wantError(t, patched(t, "small_v0.h5", "TREE", 4, 9), "kind 9")
	wantError(t, patched(t, "small_v0.h5", "TREE", 5, 1), `begins with "SNOD" instead of "TREE"`)
	wantError(t, patched(t, "small_v0.h5", "TREE", 6, 0xff, 0xff), "but the file ends at")
	wantError(t, patched(t, "small_v0.h5", "SNOD", 6, 0xff, 0xff), "but the file ends at")
	wantError(t, patched(t, "small_v0.h5", "HEAP", 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), "but the file ends at")
	wantError(t, patched(t, "small_v0.h5", "GCOL", 8, 0xff, 0xff, 0xff, 0xff), "but the file ends at")
	wantError(t, patched(t, "small_v0.h5", "GCOL", 8, 0, 0), "global heap at address")
	wantError(t, patched(t, "huge_v3.h5", "FRHP", 5, 0, 0), "records of 17 bytes where 9 are expected")
	wantError(t, patched(t, "huge_v3.h5", "BTHD", 6, 0, 0, 0, 0), "nodes of 0 bytes")
	wantError(t, patched(t, "huge_v3.h5", "BTHD", 12, 0xff, 0xff), "depth 65535")
}

func TestDecompressionBombIsRefused(t *testing.T) {
	wantError(t, golden(t, "bomb.h5"), "/zeros: 20000000 values of 4 bytes are more than 64 times the file")
}

// TestMessagesWithoutEnd continues an object header by itself.
func TestMessagesWithoutEnd(t *testing.T) {
	b := make([]byte, 200)
	copy(b, "\x89HDF\r\n\x1a\n\x00\x00\x00\x00\x00\x08\x08")
	binary.LittleEndian.PutUint64(b[40:], 200)           // the end
	binary.LittleEndian.PutUint64(b[64:], 96)            // the root's header
	copy(b[96:], "\x01\x00\x01\x00\x01\x00\x00\x00\x18") // 24 bytes of messages
	copy(b[112:], "\x10\x00\x10\x00")                    // a continuation
	binary.LittleEndian.PutUint64(b[120:], 112)          // at itself
	binary.LittleEndian.PutUint64(b[128:], 24)
	wantError(t, b, "refer to each other in a loop")
}

func FuzzOpen(f *testing.F) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(filepath.Base(e.Name()), ".gz"); ok {
			if b := golden(f, name); len(b) < 40_000 {
				f.Add(b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<17 {
			return
		}
		// Each of some 20 calls may take its bound.
		if n := allocated(func() { readAll(b, true) }); n > uint64(512<<20+2000*len(b)) {
			t.Errorf("%d bytes allocated for a file of %d", n, len(b))
		}
	})
}
