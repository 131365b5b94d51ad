package hdf5

import "math/bits"

// extensible is an extensible array: an index block with the first elements and
// blocks, then super blocks that list ever larger data blocks.
type extensible struct {
	s           *chunks
	size        int    // bytes of an element
	maxBits     int    // of the number of elements
	inIndex     uint64 // elements of the index block
	blockMin    uint64 // elements of the smallest data block
	pointersMin uint64 // data blocks of the smallest super block
	page        uint64 // elements of a page
	dim         int    // the dimension without a limit
}

// extensibleArray reads the chunks of an extensible array.
func (s *chunks) extensibleArray(addr uint64) error {
	c, err := s.r.checked(addr, uint64(16+6*s.r.lengthSize+s.r.offsetSize), "EAHD", "extensible array")
	if err != nil {
		return err
	}
	c.version(0)
	e := &extensible{s: s, size: s.client(c), dim: s.unlimited()}
	e.maxBits = c.u8()
	e.inIndex, e.blockMin, e.pointersMin = c.uint(1), c.uint(1), c.uint(1)
	pageBits := c.u8()
	e.page = 1 << min(pageBits, 32)
	c.skip(6 * s.r.lengthSize) // counts of blocks and elements
	index := c.address()
	if !powerOfTwo(e.blockMin) || !powerOfTwo(e.pointersMin) || e.maxBits > 60 || pageBits > 32 || e.dim < 0 {
		c.fail("%d bits, blocks of %d, %d pointers, pages of 2^%d", e.maxBits, e.blockMin, e.pointersMin, pageBits)
	}
	if c.err != nil || index == undefined {
		return c.err
	}
	return e.indexBlock(index)
}

// offsetSize returns the bytes of an element's number.
func (e *extensible) offsetSize() int { return (e.maxBits + 7) / 8 }

// superBlocks returns the number of super blocks, the first of which have no
// block of their own: the index block lists their data blocks.
func (e *extensible) superBlocks() (all, inIndex int) {
	all = 1 + e.maxBits - (bits.Len64(e.blockMin) - 1)
	return max(all, 0), 2 * (bits.Len64(e.pointersMin) - 1)
}

// superBlock returns the number of data blocks of a super block and the
// elements of each.
func (e *extensible) superBlock(u int) (blocks, elements uint64) {
	return 1 << (u / 2), e.blockMin << ((u + 1) / 2)
}

func (e *extensible) indexBlock(addr uint64) error {
	r := e.s.r
	all, inIndex := e.superBlocks()
	pointers := 2*(e.pointersMin-1) + uint64(max(all-inIndex, 0))
	n := uint64(6+r.offsetSize) + e.inIndex*uint64(e.size) + pointers*uint64(r.offsetSize) + 4
	c, err := r.checked(addr, n, "EAIB", "extensible array index block")
	if err != nil {
		return err
	}
	c.version(0)
	c.skip(1 + r.offsetSize) // kind and header
	if err := e.s.elements(c, 0, e.inIndex, e.size, e.dim); err != nil {
		return err
	}
	first := e.inIndex
	for u := range all {
		blocks, elements := e.superBlock(u)
		if u < inIndex {
			err = e.dataBlocks(c, first, blocks, elements, nil)
		} else {
			err = e.readSuperBlock(c.address(), first, u)
		}
		if err != nil || c.err != nil {
			return firstError(err, c.err)
		}
		first += blocks * elements
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// readSuperBlock reads a super block with its own block.
func (e *extensible) readSuperBlock(addr, first uint64, u int) error {
	if addr == undefined {
		return nil
	}
	const what = "extensible array super block"
	r := e.s.r
	blocks, elements := e.superBlock(u)
	bitmap := (arrayBlock{n: elements, page: e.page}.pages() + 7) / 8
	if blocks > uint64(r.size) || bitmap > uint64(r.size) {
		return r.cursor(nil, addr, what).tooLarge()
	}
	n := uint64(6+r.offsetSize+e.offsetSize()) + blocks*(bitmap+uint64(r.offsetSize)) + 4
	c, err := r.checked(addr, n, "EASB", what)
	if err != nil {
		return err
	}
	c.version(0)
	c.skip(1 + r.offsetSize + e.offsetSize()) // kind, header, number of the first element
	written := c.take(int(blocks * bitmap))
	return e.dataBlocks(c, first, blocks, elements, written)
}

func (c *cursor) tooLarge() error {
	c.fail("it is larger than the file")
	return c.err
}

// dataBlocks takes the addresses of data blocks and reads those that are there.
// One bit map tells which of their pages were written.
func (e *extensible) dataBlocks(c *cursor, first, blocks, elements uint64, written []byte) error {
	for i := range blocks {
		addr := c.address()
		if c.err != nil {
			return c.err
		}
		if addr == undefined {
			continue
		}
		b := arrayBlock{size: e.size, n: elements, page: e.page, first: first + i*elements, dim: e.dim}
		b.bit = i * b.pages()
		if err := e.dataBlock(addr, b, written); err != nil {
			return err
		}
	}
	return nil
}

func (e *extensible) dataBlock(addr uint64, b arrayBlock, written []byte) error {
	const what = "extensible array data block"
	r := e.s.r
	n := uint64(6+r.offsetSize+e.offsetSize()) + 4
	pages := b.pages()
	if b.n > uint64(r.size) || b.bit+pages > 8*uint64(len(written)) && pages > 0 {
		return r.cursor(nil, addr, what).tooLarge()
	}
	if pages == 0 {
		n += b.n * uint64(b.size)
	}
	c, err := r.checked(addr, n, "EADB", what)
	if err != nil {
		return err
	}
	c.version(0)
	c.skip(1 + r.offsetSize + e.offsetSize())
	if pages > 0 {
		return e.s.pages(addr+n, b, written)
	}
	return e.s.elements(c, b.first, b.n, b.size, b.dim)
}
