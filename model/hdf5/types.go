package hdf5

import (
	"encoding/binary"
	"fmt"
)

// Classes of datatypes.
const (
	classInteger  = 0
	classFloat    = 1
	classString   = 3
	classEnum     = 8
	classVariable = 9
)

var classNames = []string{"integer", "float", "time", "string", "bit field", "opaque",
	"compound", "reference", "enumeration", "variable-length", "array", "complex"}

// datatype is the type of an element.
type datatype struct {
	class    int
	size     int // bytes
	order    binary.ByteOrder
	signed   bool
	exponent int  // bits of a float's exponent
	text     bool // of variable length and a string
	padding  int  // of a fixed string: 0 ends at a zero byte, 1 zeros, 2 spaces
}

// name returns the name as NumPy has it, else the class.
func (t datatype) name() string {
	switch {
	case t.class == classInteger && t.signed:
		return fmt.Sprintf("int%d", 8*t.size)
	case t.class == classInteger:
		return fmt.Sprintf("uint%d", 8*t.size)
	case t.class == classFloat && t.size == 2 && t.exponent == 8:
		return "bfloat16"
	case t.class == classFloat:
		return fmt.Sprintf("float%d", 8*t.size)
	case t.isText():
		return "string"
	case t.class < len(classNames):
		return classNames[t.class]
	}
	return fmt.Sprintf("class %d", t.class)
}

func (t datatype) isText() bool {
	return t.class == classString || t.class == classVariable && t.text
}

// datatype takes a datatype message.
func (c *cursor) datatype() datatype {
	first := c.u8()
	flags := c.uint(3)
	size := c.u32()
	t := datatype{class: first & 15, size: int(size), order: binary.LittleEndian}
	if version := first >> 4; version < 1 || version > 4 {
		c.fail("datatype version %d is not supported", version)
	}
	if size == 0 || size > 1<<30 {
		c.fail("elements of %d bytes", size)
	}
	if flags&1 != 0 && t.class <= classFloat {
		t.order = binary.BigEndian
	}
	switch t.class {
	case classInteger:
		t.signed = flags&8 != 0
		c.integer(t)
	case classFloat:
		t.exponent = c.float(t, flags)
	case classString:
		t.padding = int(flags & 15)
	case classEnum:
		return c.enumeration(t)
	case classVariable:
		t.text = flags&15 == 1
	}
	return t
}

// integer takes the properties of an integer, which must fill its bytes.
func (c *cursor) integer(t datatype) {
	offset, precision := c.u16(), c.u16()
	if (t.size != 1 && t.size != 2 && t.size != 4 && t.size != 8) || offset != 0 || precision != 8*t.size {
		c.fail("integers of %d bits at bit %d of %d bytes are not supported", precision, offset, t.size)
	}
}

// float takes the properties of a float, which must be one of IEEE's or
// bfloat16, and returns the bits of its exponent.
func (c *cursor) float(t datatype, flags uint64) int {
	c.skip(5) // bit offset, precision, place of the exponent
	exponent := c.u8()
	c.skip(1) // place of the mantissa
	mantissa := c.u8()
	known := map[[3]int]bool{{2, 5, 10}: true, {2, 8, 7}: true, {4, 8, 23}: true, {8, 11, 52}: true}
	if !known[[3]int{t.size, exponent, mantissa}] || flags&64 != 0 {
		c.fail("floats of %d bytes with %d bits of exponent and %d of mantissa are not supported", t.size, exponent, mantissa)
	}
	return exponent
}

// enumeration takes the integers that an enumeration is stored as.
func (c *cursor) enumeration(t datatype) datatype {
	base := datatype{}
	if c.rest() > 0 && c.b[c.at]&15 == classInteger { // no deeper than this
		base = c.datatype()
	}
	if base.size != t.size {
		c.fail("an enumeration of %d bytes that are not integers", t.size)
	}
	return base
}

// dataspace is the shape of a dataset or attribute.
type dataspace struct {
	shape    []int
	max      []uint64 // largest extents; undefined where there is no limit
	elements int      // 0 where there is no data at all
}

// dataspace takes a dataspace message.
func (c *cursor) dataspace() dataspace {
	version, rank, flags := c.version(1, 2), c.u8(), c.u8()
	null := false
	if version == 1 {
		c.skip(5)
	} else {
		null = c.u8() == 2
	}
	if rank > maxRank {
		c.fail("%d dimensions, more than %d", rank, maxRank)
		rank = 0
	}
	s := dataspace{shape: make([]int, rank), max: make([]uint64, rank), elements: 1}
	for i := range s.shape {
		s.setExtent(c, i, c.length())
	}
	for i := range s.max {
		s.max[i] = uint64(s.shape[i])
		if flags&1 != 0 {
			s.max[i] = c.max(s.max[i])
		}
	}
	if null {
		s.elements = 0
	}
	return s
}

// setExtent sets one dimension.
func (s *dataspace) setExtent(c *cursor, i int, n uint64) {
	if n > maxElements || int(n)*s.elements > maxElements {
		c.fail("%d elements along dimension %d, more than %d in all", n, i, maxElements)
		n = 0
	}
	s.shape[i] = int(n)
	s.elements *= int(n)
}

// max takes a largest extent, which is no less than the extent n.
func (c *cursor) max(n uint64) uint64 {
	m := c.length()
	switch {
	case m == undefined>>(64-8*c.lengthSize):
		return undefined
	case m < n:
		c.fail("the extent %d is above its limit %d", n, m)
	}
	return m
}

// fill takes a fill value message, nil where none is set.
func (c *cursor) fill() []byte {
	var defined bool
	if version := c.version(1, 2, 3); version == 3 {
		defined = c.u8()&32 != 0
	} else {
		c.skip(2) // when to allocate and fill
		defined = c.u8() != 0 || version == 1
	}
	if !defined {
		return nil
	}
	return c.take(int(c.u32()))
}
