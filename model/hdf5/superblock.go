package hdf5

import (
	"bytes"
	"fmt"
	"io"
)

var fileSignature = []byte("\x89HDF\r\n\x1a\n")

// findSuperblock returns the offset of the signature: 0, 512, 1024, 2048...
func findSuperblock(src io.ReaderAt, size int64) (int64, error) {
	var b [8]byte
	for at := int64(0); at <= size-8; at = max(512, 2*at) {
		if n, err := src.ReadAt(b[:], at); n < len(b) {
			return 0, fmt.Errorf("reading 8 bytes at %d: %w", at, err)
		}
		if bytes.Equal(b[:], fileSignature) {
			return at, nil
		}
	}
	return 0, fmt.Errorf("%w: no signature in its %d bytes", ErrNotHDF5, size)
}

// superblock reads the superblock at r.base, sets the widths of addresses and
// lengths, and returns the address of the root group.
func (r *reader) superblock() (root uint64, err error) {
	n := min(uint64(r.size-r.base), 128)
	c, err := r.block(0, n, "superblock")
	if err != nil {
		return 0, err
	}
	c.skip(len(fileSignature))
	var end uint64
	if v := c.version(0, 1, 2, 3); v < 2 {
		end, root = r.oldSuperblock(c, v)
	} else {
		end, root = r.newSuperblock(c)
	}
	if c.err != nil {
		return 0, c.err
	}
	if end > uint64(r.size) {
		return 0, fmt.Errorf("the file is cut short: it has %d bytes, its superblock says %d", r.size, end)
	}
	return root, nil
}

// widths takes the widths of addresses and lengths.
func (r *reader) widths(c *cursor) {
	r.offsetSize, r.lengthSize = c.u8(), c.u8()
	for _, n := range []int{r.offsetSize, r.lengthSize} {
		if n != 2 && n != 4 && n != 8 {
			c.fail("addresses of %d and lengths of %d bytes are not supported, only 2, 4, 8", r.offsetSize, r.lengthSize)
			r.offsetSize, r.lengthSize = 8, 8
		}
	}
	c.offsetSize, c.lengthSize = r.offsetSize, r.lengthSize
}

func (r *reader) oldSuperblock(c *cursor, version int) (end, root uint64) {
	c.skip(4) // versions of free space, root group, and one reserved; shared header
	r.widths(c)
	c.skip(1 + 2 + 2 + 4) // reserved, k of leaves and internal nodes, flags
	if version == 1 {
		c.skip(4) // k of chunk indices
	}
	c.skip(2 * r.offsetSize) // base address, free space
	end = c.address()
	c.skip(2 * r.offsetSize) // driver information; the root's name
	return end, c.address()
}

func (r *reader) newSuperblock(c *cursor) (end, root uint64) {
	r.widths(c)
	c.skip(1 + 2*r.offsetSize) // flags, base address, extension
	end = c.address()
	root = c.address()
	if c.skip(4); c.err != nil {
		return 0, 0
	}
	c.b = c.b[:c.at]
	c.err = r.verify(c)
	return end, root
}
