package hdf5

import (
	"fmt"
	"math/bits"
)

// fractalHeap holds the links or attributes of an object with many of them.
type fractalHeap struct {
	r          *reader
	idLen      int
	hugeIndex  uint64 // B-tree of the objects too large for blocks
	width      uint64 // blocks in a row
	start      uint64 // bytes of the blocks of the first row
	maxDirect  uint64 // bytes of the largest direct block
	offsetSize int    // bytes of an offset in the heap
	sizeSize   int    // bytes of an object's length
	root       uint64
	rows       int // of the root; 0 where the root is a direct block
}

// fractalHeap reads the header of a fractal heap.
func (r *reader) fractalHeap(addr uint64) (*fractalHeap, error) {
	c, err := r.checked(addr, uint64(26+12*r.lengthSize+3*r.offsetSize), "FRHP", "fractal heap")
	if err != nil {
		return nil, err
	}
	c.version(0)
	h := &fractalHeap{r: r, idLen: c.u16()}
	if c.u16() > 0 {
		c.fail("filters are not supported")
	}
	c.skip(1) // whether direct blocks have checksums, which are not read
	largest := uint64(c.u32())
	c.length() // next id of a huge object
	h.hugeIndex = c.address()
	c.skip(r.lengthSize + r.offsetSize + 8*r.lengthSize) // free space and counts
	h.width = c.uint(2)
	h.start, h.maxDirect = c.length(), c.length()
	maxBits := c.u16()
	c.skip(2) // rows at first
	h.root, h.rows = c.address(), c.u16()
	h.offsetSize = (maxBits + 7) / 8
	h.sizeSize = min((bits.Len64(h.maxDirect)+6)/8, limitSize(largest))
	if !powerOfTwo(h.width) || !powerOfTwo(h.start) || !powerOfTwo(h.maxDirect) || h.start > 1<<32 || maxBits > 64 || h.rows > 64 {
		c.fail("table of %d x %d rows of blocks of %d to %d bytes, %d bits", h.width, h.rows, h.start, h.maxDirect, maxBits)
	}
	return h, c.err
}

func powerOfTwo(n uint64) bool { return bits.OnesCount64(n) == 1 }

// object returns the object of a heap ID.
func (h *fractalHeap) object(id []byte, what string) (*cursor, error) {
	if len(id) == 0 {
		return nil, fmt.Errorf("%s: no heap ID", what)
	}
	c := h.r.cursor(id[1:], h.root, "heap ID")
	switch kind := id[0] >> 4; kind {
	case 0:
		return h.managed(c, what)
	case 1:
		return h.huge(c, what)
	case 2:
		n := int(id[0]&15) + 1
		if h.idLen > 18 {
			n = int(id[0]&15)<<8 + c.u8() + 1
		}
		return h.r.cursor(c.take(n), h.root, what), c.err
	default:
		return nil, fmt.Errorf("%s: heap ID of kind %d", what, kind)
	}
}

// managed reads an object from the blocks.
func (h *fractalHeap) managed(c *cursor, what string) (*cursor, error) {
	at, n := c.uint(h.offsetSize), c.uint(h.sizeSize)
	if c.err != nil {
		return nil, c.err
	}
	addr, rows := h.root, h.rows
	for rows > 0 {
		var err error
		if addr, rows, at, err = h.descend(addr, rows, at); err != nil {
			return nil, err
		}
	}
	if at > uint64(h.r.size) {
		return nil, fmt.Errorf("%s: byte %d of a heap block", what, at)
	}
	return h.r.block(addr+at, n, what)
}

// rowSize returns the bytes of a block in a row: the first two rows are alike,
// then it doubles.
func (h *fractalHeap) rowSize(row int) uint64 { return h.start << max(row-1, 0) }

// descend goes from an indirect block to its child that holds byte at. It
// returns the child, its rows if it is indirect, and where in it the byte is.
func (h *fractalHeap) descend(addr uint64, rows int, at uint64) (uint64, int, uint64, error) {
	c, err := h.indirect(addr, rows)
	if err != nil {
		return 0, 0, 0, err
	}
	for row := range rows {
		size := max(h.rowSize(row), 1)
		if column := at / size; column < h.width {
			c.skip((row*int(h.width) + int(column)) * h.r.offsetSize)
			child := c.address()
			return child, h.childRows(size), at % size, c.err
		}
		at -= size * h.width
	}
	return 0, 0, 0, fmt.Errorf("%s at address %d: a heap ID beyond its end", c.what, addr)
}

// childRows returns the rows of a block of the given size, 0 if it is direct.
func (h *fractalHeap) childRows(size uint64) int {
	if size <= h.maxDirect {
		return 0
	}
	return bits.Len64(size / (h.start * h.width))
}

// indirect reads an indirect block: the addresses of its children.
func (h *fractalHeap) indirect(addr uint64, rows int) (*cursor, error) {
	const what = "fractal heap indirect block"
	prefix := 5 + h.r.offsetSize + h.offsetSize
	n := uint64(prefix) + uint64(rows)*h.width*uint64(h.r.offsetSize) + 4
	c, err := h.r.checked(addr, n, "FHIB", what)
	if err != nil {
		return nil, err
	}
	c.version(0)
	c.skip(h.r.offsetSize + h.offsetSize) // the heap's header, this block's offset
	return c, c.err
}

// huge reads an object that has its own place in the file.
func (h *fractalHeap) huge(c *cursor, what string) (*cursor, error) {
	if h.r.offsetSize+h.r.lengthSize <= h.idLen-1 {
		addr, n := c.address(), c.length()
		if c.err != nil {
			return nil, c.err
		}
		return h.r.block(addr, n, what)
	}
	id := c.uint(min(h.idLen-1, 8))
	var object *cursor
	err := h.r.btree2(h.hugeIndex, 1, h.r.offsetSize+2*h.r.lengthSize, func(rec *cursor) error {
		addr, n, key := rec.address(), rec.length(), rec.length()
		if key != id || rec.err != nil {
			return rec.err
		}
		var err error
		object, err = h.r.block(addr, n, what)
		return err
	})
	if err == nil && object == nil {
		err = fmt.Errorf("%s: object %d is not in the fractal heap", what, id)
	}
	return object, err
}
