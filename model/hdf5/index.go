package hdf5

import (
	"fmt"
	"math/bits"
)

// indexed takes the address of an index and reads its chunks; without an
// address no chunk was written.
func (s *chunks) indexed(c *cursor, index func(addr uint64) error) error {
	addr := c.address()
	if c.err != nil || addr == undefined {
		return c.err
	}
	return index(addr)
}

// single reads the only chunk.
func (s *chunks) single(c *cursor, filtered bool) error {
	stored, mask := uint64(s.bytes), uint32(0)
	if filtered {
		stored, mask = c.length(), c.u32()
	}
	return s.indexed(c, func(addr uint64) error {
		return s.read(make([]int, len(s.shape)), addr, stored, mask)
	})
}

// implicit reads chunks that lie one after the other.
func (s *chunks) implicit(c *cursor) error {
	if len(s.filters) > 0 {
		return fmt.Errorf("filtered chunks without an index")
	}
	return s.indexed(c, func(addr uint64) error {
		total, room := uint64(1), uint64(s.r.size)/uint64(s.bytes)
		for _, n := range s.count {
			if n > 0 && total > room/n {
				return fmt.Errorf("chunks without an index that take more than the file")
			}
			total *= n
		}
		for i := range total {
			if err := s.number(i, -1, addr+i*uint64(s.bytes), uint64(s.bytes), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// number reads the chunk that has number i, row-major over the largest extent
// with dimension first, unless that is negative, before all others.
func (s *chunks) number(i uint64, first int, addr, stored uint64, mask uint32) error {
	if addr == undefined {
		return nil
	}
	at := make([]int, len(s.shape))
	for d := len(at) - 1; d >= 0; d-- {
		if d == first {
			continue
		}
		n := max(s.count[d], 1)
		if !s.setAt(at, d, i%n) {
			return nil
		}
		i /= n
	}
	if first >= 0 {
		if !s.setAt(at, first, i) {
			return nil
		}
	} else if i > 0 {
		return nil
	}
	return s.read(at, addr, stored, mask)
}

// setAt sets where along a dimension chunk n begins, false where that is outside
// the dataset.
func (s *chunks) setAt(at []int, dim int, n uint64) bool {
	if n >= chunkCount(uint64(s.shape[dim]), uint64(s.dims[dim])) {
		return false
	}
	at[dim] = int(n) * s.dims[dim]
	return true
}

// unlimited returns the first dimension without a limit, -1 if all have one.
func (s *chunks) unlimited() int {
	for i, n := range s.count {
		if n == undefined {
			return i
		}
	}
	return -1
}

// btree2 reads the chunks of a B-tree of version 2.
func (s *chunks) btree2(addr uint64) error {
	kind, size := 10, s.r.offsetSize+8*len(s.shape)
	width := min(1+(bits.Len64(uint64(s.bytes))+7)/8, 8) // of the stored size
	if len(s.filters) > 0 {
		kind, size = 11, size+width+4
	}
	return s.r.btree2(addr, kind, size, func(rec *cursor) error {
		child, stored, mask := rec.address(), uint64(s.bytes), uint32(0)
		if kind == 11 {
			stored, mask = rec.uint(width), rec.u32()
		}
		at := make([]int, len(s.shape))
		for i := range at {
			if !s.setAt(at, i, rec.uint(8)) {
				return rec.err
			}
		}
		if rec.err != nil {
			return rec.err
		}
		return s.read(at, child, stored, mask)
	})
}

// elements reads n elements of a fixed or extensible array, numbered from
// first: each is the place of a chunk.
func (s *chunks) elements(c *cursor, first, n uint64, size, dim int) error {
	for i := range n {
		addr, stored, mask := c.address(), uint64(s.bytes), uint32(0)
		if len(s.filters) > 0 {
			stored = c.uint(size - s.r.offsetSize - 4)
			mask = c.u32()
		}
		if c.err != nil {
			return c.err
		}
		if err := s.number(first+i, dim, addr, stored, mask); err != nil {
			return err
		}
	}
	return nil
}

// client takes what tells chunk indices with filters from those without, and
// the size of an element.
func (s *chunks) client(c *cursor) (size int) {
	filtered := c.u8()
	size = c.u8()
	if want := min(len(s.filters), 1); filtered != want {
		c.fail("chunk index of kind %d where %d is expected", filtered, want)
	}
	if least := s.r.offsetSize; len(s.filters) == 0 && size != least || size < least || size > least+12 {
		c.fail("elements of %d bytes", size)
	}
	return size
}

// fixedArray reads the chunks of a fixed array.
func (s *chunks) fixedArray(addr uint64) error {
	c, err := s.r.checked(addr, uint64(12+s.r.offsetSize+s.r.lengthSize), "FAHD", "fixed array")
	if err != nil {
		return err
	}
	c.version(0)
	size := s.client(c)
	pageBits := c.u8()
	n := c.length()
	block := c.address()
	if pageBits > 32 || n > uint64(s.r.maxData()) {
		c.fail("%d elements in pages of 2^%d", n, pageBits)
	}
	if c.err != nil || block == undefined {
		return c.err
	}
	return s.fixedBlock(block, arrayBlock{size: size, n: n, page: 1 << pageBits, first: 0, dim: -1})
}

// arrayBlock is a data block of a fixed or extensible array.
type arrayBlock struct {
	size  int    // bytes of an element
	n     uint64 // elements
	page  uint64 // elements of a page; no pages where n is no larger
	first uint64 // number of the first element
	dim   int    // the dimension without a limit, -1 if there is none
	bit   uint64 // where the bit map of pages has this block's first page
}

func (b arrayBlock) pages() uint64 {
	if b.n <= b.page {
		return 0
	}
	return b.n/b.page + min(b.n%b.page, 1)
}

func (s *chunks) fixedBlock(addr uint64, b arrayBlock) error {
	const what = "fixed array data block"
	prefix := uint64(6 + s.r.offsetSize)
	pages := b.pages()
	n := prefix + (pages+7)/8 + 4
	if pages == 0 {
		n += b.n * uint64(b.size)
	}
	c, err := s.r.checked(addr, n, "FADB", what)
	if err != nil {
		return err
	}
	c.version(0)
	c.skip(1 + s.r.offsetSize) // kind and header
	if pages == 0 {
		return s.elements(c, b.first, b.n, b.size, b.dim)
	}
	return s.pages(addr+n, b, c.take(int(pages+7)/8))
}

// pages reads the pages of a data block that the bit map says were written,
// the highest bit of a byte first.
func (s *chunks) pages(addr uint64, b arrayBlock, written []byte) error {
	for p := range b.pages() {
		if bit := b.bit + p; written[bit/8]>>(7-bit%8)&1 == 0 {
			continue
		}
		first := p * b.page
		n := min(b.page, b.n-first)
		bytes := n*uint64(b.size) + 4
		c, err := s.r.checked(addr+p*(b.page*uint64(b.size)+4), bytes, "", "page of chunk addresses")
		if err != nil {
			return err
		}
		if err := s.elements(c, b.first+first, n, b.size, b.dim); err != nil {
			return err
		}
	}
	return nil
}
