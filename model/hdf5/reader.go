package hdf5

import (
	"fmt"
	"io"
)

// A call may read and build metadata, and read chunks, of readFactor times the
// file's size; values may take dataFactor times its size. Both have some bytes
// more for small files. They end loops and decompression bombs.
const (
	readFactor  = 16
	dataFactor  = 64
	smallFile   = 1 << 20
	maxElements = 1 << 28
	maxRank     = 32
)

// reader reads the structures of a file for one call.
type reader struct {
	src        io.ReaderAt
	base       int64 // bytes before the superblock; addresses count from here
	size       int64 // of the file
	offsetSize int   // bytes of an address
	lengthSize int   // bytes of a length
	left       int64 // what the call may still read and build
	inflatable int64 // what the call may still decompress
	heap       *globalHeap
	zlib       io.Reader
	noChecksum bool // for fuzzing, which would get no further than the checksums
}

// fresh returns a reader for one call.
func (r reader) fresh() *reader {
	r.left = smallFile + readFactor*r.size
	r.inflatable = 4 * r.maxData()
	return &r
}

// maxData returns the bytes that a dataset's values may take.
func (r *reader) maxData() int64 { return smallFile + dataFactor*r.size }

// charge counts n bytes read or built.
func (r *reader) charge(n int) error {
	if r.left -= int64(n); r.left < 0 {
		return fmt.Errorf("the structures refer to each other in a loop, or to the same bytes too often")
	}
	return nil
}

// bytes reads n bytes at an address.
func (r *reader) bytes(addr, n uint64, what string) ([]byte, error) {
	room := uint64(r.size - r.base)
	if addr > room || n > room-addr {
		return nil, fmt.Errorf("%s: %d bytes at address %d, but the file ends at %d", what, n, addr, room)
	}
	if err := r.charge(int(n)); err != nil {
		return nil, fmt.Errorf("%s at address %d: %w", what, addr, err)
	}
	b := make([]byte, n)
	if got, err := r.src.ReadAt(b, r.base+int64(addr)); got < len(b) {
		return nil, fmt.Errorf("%s: reading %d bytes at address %d: %w", what, n, addr, err)
	}
	return b, nil
}

// block reads n bytes at an address as a structure.
func (r *reader) block(addr, n uint64, what string) (*cursor, error) {
	b, err := r.bytes(addr, n, what)
	if err != nil {
		return nil, err
	}
	return r.cursor(b, addr, what), nil
}

// signed reads a structure of n bytes that begins with a signature.
func (r *reader) signed(addr, n uint64, signature, what string) (*cursor, error) {
	c, err := r.block(addr, n, what)
	if err != nil {
		return nil, err
	}
	c.signature(signature)
	return c, c.err
}

// checked reads a structure of n bytes that begins with a signature and ends
// with its checksum. Where n is not known yet, read the first bytes by signed.
func (r *reader) checked(addr, n uint64, signature, what string) (*cursor, error) {
	if n < 8 {
		return nil, fmt.Errorf("%s at address %d has %d bytes", what, addr, n)
	}
	c, err := r.signed(addr, n, signature, what)
	if err != nil {
		return nil, err
	}
	return c, r.verify(c)
}

// verify compares the checksum in the last 4 bytes of c and drops them.
func (r *reader) verify(c *cursor) error {
	end := len(c.b) - 4
	sum := r.cursor(c.b[end:], c.addr, c.what).u32()
	if got := lookup3(c.b[:end]); got != sum && !r.noChecksum {
		return fmt.Errorf("%s at address %d: checksum %08x, the file says %08x: the file is damaged", c.what, c.addr, got, sum)
	}
	c.b = c.b[:end]
	return nil
}

func (r *reader) cursor(b []byte, addr uint64, what string) *cursor {
	return &cursor{b: b, addr: addr, what: what, offsetSize: r.offsetSize, lengthSize: r.lengthSize}
}

// undefined is the address of what is not there, whatever its width.
const undefined = ^uint64(0)

// cursor takes little-endian fields from a structure. Its first error stays,
// and what is taken after it is zero.
type cursor struct {
	b          []byte
	at         int
	addr       uint64 // of b in the file, for messages
	what       string
	err        error
	offsetSize int
	lengthSize int
}

// fail sets the error if there is none yet.
func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%s at address %d: %s", c.what, c.addr, fmt.Sprintf(format, args...))
	}
}

// take returns the next n bytes, nil after an error.
func (c *cursor) take(n int) []byte {
	if c.err != nil {
		return nil
	}
	if n < 0 || n > len(c.b)-c.at {
		c.fail("%d bytes wanted at byte %d of %d", n, c.at, len(c.b))
		return nil
	}
	c.at += n
	return c.b[c.at-n : c.at]
}

func (c *cursor) skip(n int) { c.take(n) }

// align skips to a multiple of 8 bytes, or to the end.
func (c *cursor) align() { c.skip(min(-c.at&7, len(c.b)-c.at)) }

// rest returns the number of bytes not taken.
func (c *cursor) rest() int { return len(c.b) - c.at }

// uint takes an unsigned integer of n bytes, at most 8.
func (c *cursor) uint(n int) uint64 {
	if n > 8 {
		c.fail("an integer of %d bytes", n)
	}
	var v uint64
	for i, b := range c.take(n) {
		v |= uint64(b) << (8 * i)
	}
	return v
}

func (c *cursor) u8() int        { return int(c.uint(1)) }
func (c *cursor) u16() int       { return int(c.uint(2)) }
func (c *cursor) u32() uint32    { return uint32(c.uint(4)) }
func (c *cursor) length() uint64 { return c.uint(c.lengthSize) }

// address takes an address; all bits set mean undefined.
func (c *cursor) address() uint64 {
	v := c.uint(c.offsetSize)
	if v == undefined>>(64-8*c.offsetSize) {
		return undefined
	}
	return v
}

// signature takes the letters that a structure begins with.
func (c *cursor) signature(want string) {
	if got := c.take(len(want)); c.err == nil && string(got) != want {
		c.fail("it begins with %q instead of %q", got, want)
	}
}

// version takes a version and fails where it is none of those known.
func (c *cursor) version(known ...int) int {
	v := c.u8()
	for _, k := range known {
		if v == k {
			return v
		}
	}
	c.fail("version %d is not supported, only %v", v, known)
	return v
}
