package hdf5

import "fmt"

// Kinds of chunk indices; those from 1 on are numbered by the file format.
const (
	indexBTree1     = 0
	indexSingle     = 1
	indexImplicit   = 2
	indexFixed      = 3
	indexExtensible = 4
	indexBTree2     = 5
)

// chunks reads the chunks of a dataset into data.
type chunks struct {
	r       *reader
	filters []filter
	shape   []int
	count   []uint64 // chunks along each dimension, up to the largest extent
	dims    []int    // of a chunk
	element int      // bytes
	bytes   int      // of a chunk
	plain   bool     // chunks that stick out of the dataset are not filtered
	data    []byte   // of the whole dataset, row-major
}

// chunked reads data stored in chunks.
func (d *Dataset) chunked(r *reader, c *cursor, version int) ([]byte, error) {
	s := &chunks{r: r, shape: d.space.shape, element: d.kind.size}
	var err error
	if s.filters, err = r.filters(d.header); err != nil {
		return nil, err
	}
	if s.data, err = d.filled(r, int64(d.space.elements)*int64(d.kind.size)); err != nil {
		return nil, err
	}
	if version == 3 {
		err = s.readOld(c, d.space.max)
	} else {
		err = s.readNew(c, d.space.max)
	}
	return s.data, err
}

// readOld reads the chunks of a layout of version 3.
func (s *chunks) readOld(c *cursor, most []uint64) error {
	rank := c.u8()
	addr := c.address()
	if err := s.setDims(c, rank, 4, most); err != nil || addr == undefined {
		return err
	}
	key := 8 + 8*rank
	return s.r.btree1(addr, btree1Format{kind: 1, key: key}, func(key *cursor, child uint64) error {
		size, mask := key.u32(), key.u32()
		at := make([]int, len(s.shape))
		for i := range at {
			if at[i] = int(key.uint(8)); at[i]%s.dims[i] != 0 || at[i] < 0 {
				key.fail("a chunk at element %d, not a multiple of %d", at[i], s.dims[i])
			}
		}
		if key.err != nil {
			return key.err
		}
		return s.read(at, child, uint64(size), mask)
	})
}

// readNew reads the chunks of a layout of version 4.
func (s *chunks) readNew(c *cursor, most []uint64) error {
	flags, rank, width := c.u8(), c.u8(), c.u8()
	s.plain = flags&1 != 0
	if err := s.setDims(c, rank, width, most); err != nil {
		return err
	}
	switch kind := c.u8(); kind {
	case indexSingle:
		return s.single(c, flags&2 != 0)
	case indexImplicit:
		return s.implicit(c)
	case indexFixed:
		c.skip(1) // page bits, which the array repeats
		return s.indexed(c, s.fixedArray)
	case indexExtensible:
		c.skip(5) // parameters, which the array repeats
		return s.indexed(c, s.extensibleArray)
	case indexBTree2:
		c.skip(6) // parameters, which the tree repeats
		return s.indexed(c, s.btree2)
	default:
		c.fail("chunk index %d is not supported", kind)
		return c.err
	}
}

// setDims takes the extents of a chunk, the last of which is the element's size.
func (s *chunks) setDims(c *cursor, rank, width int, most []uint64) error {
	if rank != len(s.shape)+1 {
		c.fail("chunks of %d dimensions in a dataset of %d", rank-1, len(s.shape))
		return c.err
	}
	s.bytes = s.element
	limit := uint64(s.r.maxData())
	for i := range s.shape {
		n := c.uint(width)
		if c.err == nil && (n == 0 || n > limit/uint64(s.bytes)) {
			c.fail("chunks of %d elements along dimension %d", n, i)
		}
		if c.err != nil {
			return c.err
		}
		s.bytes *= int(n)
		s.dims = append(s.dims, int(n))
		s.count = append(s.count, chunkCount(most[i], n))
	}
	if n := c.uint(width); n != uint64(s.element) {
		c.fail("chunks with elements of %d bytes instead of %d", n, s.element)
	}
	return c.err
}

// chunkCount returns n/size rounded up; it stays undefined where n is.
func chunkCount(n, size uint64) uint64 {
	if n == undefined {
		return n
	}
	return n/size + min(n%size, 1)
}

// read places the chunk whose first element is at, and skips one outside the
// dataset, which may have shrunk.
func (s *chunks) read(at []int, addr, stored uint64, mask uint32) error {
	partial := false
	for i := range at {
		if at[i] >= s.shape[i] {
			return nil
		}
		partial = partial || s.shape[i]-at[i] < s.dims[i]
	}
	filters := s.filters
	if s.plain && partial {
		filters = nil
	}
	if len(filters) == 0 && stored != uint64(s.bytes) {
		return fmt.Errorf("chunk %v at address %d: %d bytes where %d are expected", at, addr, stored, s.bytes)
	}
	b, err := s.r.bytes(addr, stored, "chunk")
	if err != nil {
		return err
	}
	if b, err = s.r.unfilter(b, filters, mask, s.bytes); err != nil {
		return fmt.Errorf("chunk %v at address %d: %w", at, addr, err)
	}
	s.place(b, at, 0, 0)
	return nil
}

// place copies the part of a chunk that lies in the dataset, from dimension dim
// on; to is the element of the dataset that the dimensions before it make.
func (s *chunks) place(chunk []byte, at []int, dim, to int) {
	if dim == len(at) { // a chunk without dimensions
		copy(s.data, chunk)
		return
	}
	n := min(s.dims[dim], s.shape[dim]-at[dim])
	to = to*s.shape[dim] + at[dim]
	if dim == len(at)-1 {
		copy(s.data[to*s.element:], chunk[:n*s.element])
		return
	}
	step := len(chunk) / s.dims[dim]
	for i := range n {
		s.place(chunk[i*step:(i+1)*step], at, dim+1, to+i)
	}
}
