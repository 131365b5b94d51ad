package hdf5

import (
	"bytes"
	"fmt"
	"slices"
)

// Classes of storage layouts.
const (
	layoutCompact    = 0
	layoutContiguous = 1
	layoutChunked    = 2
)

// Float32s reads every value, row-major and converted. Strings and other values
// that are no numbers are an error, as are values of more than 2^28 elements or
// 64 times the bytes of the file.
func (d *Dataset) Float32s() ([]float32, error) {
	data, err := d.raw(d.file.r.fresh())
	if err != nil {
		return nil, fmt.Errorf("hdf5: %s: %w", d.Path, err)
	}
	values, err := numbers[float32](d.kind, data)
	if err != nil {
		return nil, fmt.Errorf("hdf5: %s: %w", d.Path, err)
	}
	return values, nil
}

// Strings reads every value of a dataset of strings, row-major.
func (d *Dataset) Strings() ([]string, error) {
	r := d.file.r.fresh()
	data, err := d.raw(r)
	if err == nil && !d.kind.isText() {
		err = fmt.Errorf("the values are of type %s, not strings", d.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("hdf5: %s: %w", d.Path, err)
	}
	values, err := r.strings(d.kind, data)
	if err != nil {
		return nil, fmt.Errorf("hdf5: %s: %w", d.Path, err)
	}
	return values, nil
}

// raw reads the bytes of every element, row-major.
func (d *Dataset) raw(r *reader) ([]byte, error) {
	if d.err != nil {
		return nil, d.err
	}
	n := int64(d.space.elements) * int64(d.kind.size)
	if n > r.maxData() {
		return nil, fmt.Errorf("%d values of %d bytes are more than %d times the file", d.space.elements, d.kind.size, dataFactor)
	}
	if n == 0 {
		return nil, nil
	}
	c, err := r.need(d.header, msgLayout, "data layout")
	if err != nil {
		return nil, err
	}
	version, class := c.version(3, 4), c.u8()
	if c.err != nil {
		return nil, c.err
	}
	switch class {
	case layoutCompact:
		return compact(c, n)
	case layoutContiguous:
		return d.contiguous(r, c, n)
	case layoutChunked:
		return d.chunked(r, c, version)
	}
	return nil, fmt.Errorf("storage layout %d is not supported", class)
}

// compact takes n bytes of data from the layout message itself.
func compact(c *cursor, n int64) ([]byte, error) {
	if size := c.u16(); int64(size) != n {
		c.fail("%d bytes of data where %d are expected", size, n)
	}
	return c.take(int(n)), c.err
}

// contiguous reads n bytes of data stored in one piece.
func (d *Dataset) contiguous(r *reader, c *cursor, n int64) ([]byte, error) {
	addr, size := c.address(), c.length()
	if c.err != nil {
		return nil, c.err
	}
	if len(d.header.all(msgExternal)) > 0 {
		return nil, fmt.Errorf("its data is in another file, which is not supported")
	}
	if addr == undefined {
		return d.filled(r, n)
	}
	if size != uint64(n) {
		return nil, fmt.Errorf("%d bytes of data where %d are expected", size, n)
	}
	return r.bytes(addr, size, "data")
}

// filled returns n bytes of the fill value, zero unless the file says otherwise.
func (d *Dataset) filled(r *reader, n int64) ([]byte, error) {
	value, err := d.fillValue(r)
	if err != nil {
		return nil, err
	}
	if len(value) == 0 || !slices.ContainsFunc(value, func(b byte) bool { return b != 0 }) {
		return make([]byte, n), nil
	}
	if len(value) != d.kind.size {
		return nil, fmt.Errorf("a fill value of %d bytes for elements of %d", len(value), d.kind.size)
	}
	return bytes.Repeat(value, int(n)/len(value)), nil
}

func (d *Dataset) fillValue(r *reader) ([]byte, error) {
	c, err := r.find(d.header, msgFill, "fill value")
	if err != nil {
		return nil, err
	}
	if c != nil {
		return c.fill(), c.err
	}
	if c, err = r.find(d.header, msgOldFill, "fill value"); err != nil || c == nil {
		return nil, err
	}
	return c.take(int(c.u32())), c.err
}
