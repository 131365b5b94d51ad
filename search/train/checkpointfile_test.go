package train

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func encoded(t testing.TB, c *Checkpoint) []byte {
	t.Helper()
	data, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A file cut anywhere is refused by name and with what to do.
func TestTruncatedCheckpoints(t *testing.T) {
	whole := encoded(t, sampleCheckpoint(1))
	path := filepath.Join(t.TempDir(), "torn.ckpt")
	for n := range whole {
		c, err := decode(whole[:n])
		if c != nil || err == nil {
			t.Fatalf("%d of %d bytes were read", n, len(whole))
		}
		if n%50 > 0 {
			continue
		}
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err = Load(path); err == nil || !strings.Contains(err.Error(), path+" is ") || !strings.Contains(err.Error(), "another checkpoint") && !strings.Contains(err.Error(), "name a .ckpt file") {
			t.Errorf("%d bytes: error %v", n, err)
		}
	}
	if _, err := decode(append(slices.Clone(whole), 0)); err == nil {
		t.Error("a byte too many was read")
	}
}

// Whichever bit is flipped, the file is refused.
func TestFlippedBits(t *testing.T) {
	whole := encoded(t, sampleCheckpoint(1))
	for i := range whole {
		damaged := slices.Clone(whole)
		damaged[i] ^= 1 << (i % 8)
		if c, err := decode(damaged); c != nil || err == nil {
			t.Fatalf("byte %d of %d changed and the file was read", i, len(whole))
		}
	}
}

func TestForeignFiles(t *testing.T) {
	whole := string(encoded(t, sampleCheckpoint(1)))
	for name, tt := range map[string]struct{ data, want string }{
		"empty":        {"", "is not a checkpoint: name a .ckpt file"},
		"text":         {"epoch,step\n", "is not a checkpoint"},
		"png":          {"\x89PNG\r\n\x1a\n" + strings.Repeat("\x00", 500), "is not a checkpoint"},
		"other magic":  {strings.Replace(whole, "evopose", "evolove", 1), "is not a checkpoint"},
		"next version": {strings.Replace(whole, "checkpoint 1\n", "checkpoint 2\n", 1), `format version "2" and this program reads 1: use the version of evopose that wrote it`},
		"no version":   {"evopose checkpoint " + strings.Repeat("x", 500), `format version "xxxxxxxxxx" and`},
		"only a start": {"evopose checkpoint 1\n", "is damaged"},
	} {
		if c, err := decode([]byte(tt.data)); c != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, tt.want)
		}
	}
}

// sealed is a file with the given header and values and a right sum.
func sealed(length uint32, head string, values []byte) []byte {
	var b bytes.Buffer
	b.WriteString(preamble)
	b.Write(binary.LittleEndian.AppendUint32(nil, length))
	b.WriteString(head)
	b.Write(values)
	sum := sha256.Sum256(b.Bytes())
	b.Write(sum[:])
	return b.Bytes()
}

// A right sum over a wrong inside: another program's, or a mistake in this one.
func TestSealedNonsense(t *testing.T) {
	for name, tt := range map[string]struct {
		head   string
		values int // bytes
		want   string
	}{
		"no JSON":         {"{", 0, "its header: unexpected end of JSON"},
		"other types":     {`{"step":"many"}`, 0, "its header: json"},
		"bad point":       {`{"curves":["1,2"]}`, 0, "columns"},
		"too few values":  {`{"tensors":[{"name":"w","shape":[2,2]}]}`, 12, "tensor w of shape [2 2] is not in it"},
		"too many values": {`{"tensors":[{"name":"w","shape":[2]}]}`, 12, "4 bytes belong to no tensor"},
		"negative shape":  {`{"tensors":[{"name":"w","shape":[-1]}]}`, 4, "tensor w of shape [-1] is not in it"},
		"negative twice":  {`{"tensors":[{"name":"w","shape":[-1,-1]}]}`, 4, "is not in it"},
		"huge shape":      {`{"tensors":[{"name":"w","shape":[4294967296,4294967296]}]}`, 4, "is not in it"},
		"huge product":    {`{"tensors":[{"name":"w","shape":[1000000,1000000]}]}`, 4, "is not in it"},
		"odd bytes":       {`{"tensors":[{"name":"w","shape":[1]}]}`, 5, "1 bytes belong to no tensor"},
	} {
		_, err := decode(sealed(uint32(len(tt.head)), tt.head, make([]byte, tt.values)))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "use another checkpoint") {
			t.Errorf("%s: error %v, want %q in it", name, err, tt.want)
		}
	}
	if _, err := decode(sealed(1<<32-1, "{}", nil)); err == nil || !strings.Contains(err.Error(), "its header is cut") {
		t.Errorf("error %v", err)
	}
	if _, err := decode(sealed(2, "{}", nil)); err != nil {
		t.Errorf("an empty state: %v", err)
	}
}

// The layout, byte by byte, so that another program can read it and so that it
// does not change without a new version.
func TestCheckpointLayout(t *testing.T) {
	c := &Checkpoint{}
	c.Put(GroupWeights, map[string][]float32{"b": {1}, "a": {-2, 0.5}})
	data := encoded(t, c)
	const head = `{"run":null,"epoch":0,"step":0,"seed":0,"best":"0,0,0,0,0,0,0,0","curves":null,` +
		`"tensors":[{"name":"weights/a","shape":[2]},{"name":"weights/b","shape":[1]}]}`
	want := "evopose checkpoint 1\n" + string([]byte{byte(len(head)), 0, 0, 0}) + head +
		"\x00\x00\x00\xc0" + "\x00\x00\x00\x3f" + "\x00\x00\x80\x3f"
	if got := string(data[:len(data)-sha256.Size]); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if cap(data) != len(data) {
		t.Errorf("room for %d bytes was made for %d", cap(data), len(data))
	}
}

func FuzzDecodeCheckpoint(f *testing.F) {
	f.Add([]byte(`{"tensors":[{"name":"w","shape":[2,2]}]}`), []byte("0123456789abcdef"))
	f.Add([]byte(`{"step":3,"best":"1,2,3,4,5,6,7,8"}`), []byte{})
	f.Fuzz(func(t *testing.T, head, values []byte) {
		c, err := decode(sealed(uint32(len(head)), string(head), values))
		if err != nil {
			return
		}
		if _, err := c.encode(); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}

// S's state: weights, average and two moments.
func BenchmarkEncodeCheckpoint(b *testing.B) {
	c := &Checkpoint{}
	for _, group := range []string{GroupWeights, GroupEMA, GroupAdamM, GroupAdamV} {
		c.Put(group, map[string][]float32{"flat": make([]float32, 2_531_199)})
	}
	b.SetBytes(int64(len(encoded(b, c))))
	for b.Loop() {
		encoded(b, c)
	}
}
