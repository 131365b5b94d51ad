package hdf5

import (
	"math/rand/v2"
	"testing"
)

func TestLookup3(t *testing.T) {
	// From the comments of Jenkins' lookup3.c.
	for text, want := range map[string]uint32{"": 0xdeadbeef, "Four score and seven years ago": 0x17770551} {
		if got := lookup3([]byte(text)); got != want {
			t.Errorf("lookup3(%q) = %#x, want %#x", text, got, want)
		}
	}
}

// plainFletcher32 takes every sum modulo 65535, and 65535 for 0 where a word
// is not 0.
func plainFletcher32(b []byte) uint32 {
	var low, high uint32
	zeros := true
	for i := 0; i < len(b); i += 2 {
		word := uint32(b[i]) << 8
		if i+1 < len(b) {
			word += uint32(b[i+1])
		}
		zeros = zeros && word == 0
		low = (low + word) % 65535
		high = (high + low) % 65535
	}
	if !zeros && low == 0 {
		low = 65535
	}
	if !zeros && high == 0 {
		high = 65535
	}
	return high<<16 | low
}

func TestFletcher32(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, 2, 3, 100, 8191, 8192, 8193, 100_001} {
		b := make([]byte, n)
		for _, fill := range []func() byte{
			func() byte { return byte(rng.Uint32()) },
			func() byte { return 0xff },
			func() byte { return 0 },
		} {
			for i := range b {
				b[i] = fill()
			}
			if got, want := fletcher32(b), plainFletcher32(b); got != want {
				t.Errorf("%d bytes: %#x, want %#x", n, got, want)
			}
		}
	}
}

func TestUnshuffle(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		size     int
	}{
		{"", "", 4},
		{"abcdef", "abcdef", 1},
		{"abcdef", "abcdef", 0},
		{"abcdef", "adbecf", 2},
		{"abcdef", "acebdf", 3},
		{"abcdefg", "adbecfg", 2}, // the last byte makes no element
		{"abc", "abc", 4},
	} {
		if got := string(unshuffle([]byte(tt.in), tt.size)); got != tt.want {
			t.Errorf("unshuffle(%q, %d) = %q, want %q", tt.in, tt.size, got, tt.want)
		}
	}
}
