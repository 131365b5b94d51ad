package hdf5

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
)

// Filters by their registered numbers.
const (
	filterGzip       = 1
	filterShuffle    = 2
	filterFletcher32 = 3
)

// filter is a step of the pipeline that chunks were written through.
type filter struct {
	kind int
	size int // bytes of an element, for shuffle
}

// filters reads the filter pipeline of a dataset, in the order of writing.
func (r *reader) filters(h header) ([]filter, error) {
	c, err := r.find(h, msgFilters, "filter pipeline")
	if err != nil || c == nil {
		return nil, err
	}
	version, n := c.version(1, 2), c.u8()
	if version == 1 {
		c.skip(6)
	}
	var filters []filter
	for range n {
		f := c.filter(version)
		if c.err != nil {
			return nil, c.err
		}
		filters = append(filters, f)
	}
	return filters, nil
}

// filter takes the description of a filter.
func (c *cursor) filter(version int) filter {
	f := filter{kind: c.u16()}
	name := 0
	if version == 1 || f.kind >= 256 {
		name = c.u16()
	}
	c.skip(2) // whether it is optional
	values := c.u16()
	c.skip(name)
	if version == 1 {
		c.align8(name)
	}
	for i := range values {
		if v := c.u32(); i == 0 {
			f.size = int(v)
		}
	}
	if version == 1 && values%2 == 1 {
		c.skip(4)
	}
	if f.kind < filterGzip || f.kind > filterFletcher32 {
		c.fail("filter %d is not supported, only gzip, shuffle and fletcher32", f.kind)
	}
	return f
}

// unfilter undoes the filters of a chunk, the last first, without those whose
// bit is set in mask. The result has n bytes.
func (r *reader) unfilter(b []byte, filters []filter, mask uint32, n int) ([]byte, error) {
	var err error
	for i := len(filters) - 1; i >= 0 && err == nil; i-- {
		if mask>>i&1 != 0 {
			continue
		}
		switch f := filters[i]; f.kind {
		case filterGzip:
			b, err = r.inflate(b, n+4*i) // a checksum below it adds 4 bytes
		case filterShuffle:
			b = unshuffle(b, f.size)
		case filterFletcher32:
			b, err = r.checksummed(b)
		}
	}
	if err == nil && len(b) != n {
		err = fmt.Errorf("%d bytes after its filters where %d are expected", len(b), n)
	}
	return b, err
}

// inflate decompresses to at most n bytes.
func (r *reader) inflate(b []byte, n int) ([]byte, error) {
	if r.inflatable -= int64(n); r.inflatable < 0 {
		return nil, errors.New("the chunks decompress to far more than the file")
	}
	if err := r.startZlib(bytes.NewReader(b)); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	out := bytes.NewBuffer(make([]byte, 0, n+bytes.MinRead))
	if _, err := out.ReadFrom(io.LimitReader(r.zlib, int64(n)+1)); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return out.Bytes(), nil
}

// startZlib makes the decompressor, which takes longer than a small chunk does,
// or uses it again.
func (r *reader) startZlib(src io.Reader) (err error) {
	if r.zlib != nil {
		return r.zlib.(zlib.Resetter).Reset(src, nil)
	}
	r.zlib, err = zlib.NewReader(src)
	return err
}

// unshuffle puts the bytes of each element together again; the file has the
// first bytes of all elements, then the second bytes. Bytes at the end that make
// no element stay.
func unshuffle(b []byte, size int) []byte {
	if size <= 1 {
		return b
	}
	n := len(b) / size
	out := make([]byte, len(b))
	for j := range min(size, len(b)) {
		for i := range n {
			out[i*size+j] = b[j*n+i]
		}
	}
	copy(out[n*size:], b[n*size:])
	return out
}

// checksummed verifies the checksum in the last 4 bytes and drops them.
func (r *reader) checksummed(b []byte) ([]byte, error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("%d bytes have no checksum", len(b))
	}
	end := len(b) - 4
	sum := r.cursor(b[end:], 0, "").u32()
	if got := fletcher32(b[:end]); got != sum && !r.noChecksum {
		return nil, fmt.Errorf("checksum %08x, the file says %08x: the data is damaged", got, sum)
	}
	return b[:end], nil
}
