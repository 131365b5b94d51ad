package hdf5

import (
	"bytes"
	"fmt"
	"strings"
)

// attributeMessage is a parsed attribute: its name and where its value is.
type attributeMessage struct {
	name  string
	kind  datatype
	space dataspace
	data  []byte
	err   error // why the value cannot be read
}

// attribute finds an attribute in an object header; false where there is none.
func (r *reader) attribute(h header, name string) (Attribute, bool, error) {
	for _, m := range h.all(msgAttribute) {
		c, err := r.open(m, "attribute")
		if err != nil {
			return Attribute{}, false, err
		}
		a, err := r.attributeMessage(c)
		if err != nil {
			return Attribute{}, false, err
		}
		if a.name == name {
			return r.attributeValue(a)
		}
	}
	c, err := r.find(h, msgAttributeInfo, "attribute info")
	if err != nil || c == nil {
		return Attribute{}, false, err
	}
	return r.denseAttribute(c, name)
}

// denseAttribute finds an attribute among many in a fractal heap.
func (r *reader) denseAttribute(c *cursor, name string) (value Attribute, ok bool, err error) {
	c.version(0)
	if c.u8()&1 != 0 {
		c.skip(2) // largest order of creation
	}
	heapAddr, index := c.address(), c.address()
	if c.err != nil || heapAddr == undefined {
		return Attribute{}, false, c.err
	}
	heap, err := r.fractalHeap(heapAddr)
	if err != nil {
		return Attribute{}, false, err
	}
	hash := lookup3([]byte(name))
	err = r.btree2(index, 8, heap.idLen+9, func(rec *cursor) error {
		id, flags := rec.take(heap.idLen), rec.u8()
		rec.skip(4) // order of creation
		if rec.u32() != hash || ok || rec.err != nil {
			return rec.err
		}
		if flags&flagShared != 0 {
			return fmt.Errorf("attribute %q is in the shared message heap, which is not supported", name)
		}
		object, err := heap.object(id, "attribute")
		if err != nil {
			return err
		}
		a, err := r.attributeMessage(object)
		if err == nil && a.name == name {
			value, ok, err = r.attributeValue(a)
		}
		return err
	})
	return value, ok, err
}

// attributeMessage takes an attribute message. Errors in its type and shape
// matter only to those who want its value.
func (r *reader) attributeMessage(c *cursor) (attributeMessage, error) {
	version := c.version(1, 2, 3)
	flags := c.u8()
	nameSize, typeSize, spaceSize := c.u16(), c.u16(), c.u16()
	if version == 3 {
		c.skip(1) // character set
	}
	field := func(n int) *cursor {
		part := r.cursor(nil, c.addr+uint64(c.at), "attribute")
		part.b = c.take(n)
		if version == 1 {
			c.align8(n)
		}
		return part
	}
	name := field(nameSize)
	if nameSize > maxName {
		c.fail("a name of %d bytes, more than %d", nameSize, maxName)
	}
	a := attributeMessage{name: strings.TrimRight(string(name.b), "\x00")}
	kind, space := field(typeSize), field(spaceSize)
	a.data = c.take(c.rest())
	if c.err != nil {
		return a, c.err
	}
	a.kind, a.space, a.err = r.typeAndSpace(kind, space, flags)
	return a, nil
}

// align8 skips what pads a field of n bytes to a multiple of 8.
func (c *cursor) align8(n int) { c.skip(-n & 7) }

func (r *reader) typeAndSpace(kind, space *cursor, flags int) (t datatype, s dataspace, err error) {
	if flags&1 != 0 {
		if kind, err = r.shared(kind, msgDatatype); err != nil {
			return t, s, err
		}
	}
	if flags&2 != 0 {
		return t, s, fmt.Errorf("%s at address %d: a shared shape is not supported", space.what, space.addr)
	}
	t, s = kind.datatype(), space.dataspace()
	if kind.err != nil {
		return t, s, kind.err
	}
	return t, s, space.err
}

// attributeValue converts the value of an attribute.
func (r *reader) attributeValue(a attributeMessage) (Attribute, bool, error) {
	if a.err != nil {
		return Attribute{}, true, fmt.Errorf("attribute %q: %w", a.name, a.err)
	}
	value := Attribute{Shape: a.space.shape}
	n := a.space.elements
	if n > len(a.data)/a.kind.size {
		return value, true, fmt.Errorf("attribute %q: %d values of %d bytes in %d bytes", a.name, n, a.kind.size, len(a.data))
	}
	var err error
	data := a.data[:n*a.kind.size]
	if a.kind.isText() {
		value.Strings, err = r.strings(a.kind, data)
	} else {
		value.Numbers, err = numbers[float64](a.kind, data)
	}
	if err != nil {
		err = fmt.Errorf("attribute %q: %w", a.name, err)
	}
	return value, true, err
}

// strings converts elements to strings.
func (r *reader) strings(t datatype, data []byte) ([]string, error) {
	var out []string
	for ; len(data) > 0; data = data[t.size:] {
		if t.class == classString {
			out = append(out, fixedString(t, data[:t.size]))
			continue
		}
		s, err := r.variableString(r.cursor(data[:t.size], 0, "variable-length string"))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func fixedString(t datatype, b []byte) string {
	switch t.padding {
	case 0:
		b, _, _ = bytes.Cut(b, []byte{0})
	case 1:
		b = bytes.TrimRight(b, "\x00")
	case 2:
		b = bytes.TrimRight(b, " ")
	}
	return string(b)
}

// variableString takes a reference to the global heap and returns its string.
func (r *reader) variableString(c *cursor) (string, error) {
	n, addr, index := c.u32(), c.address(), c.u32()
	if c.err != nil || n == 0 {
		return "", c.err
	}
	if r.heap == nil || r.heap.addr != addr {
		heap, err := r.globalHeap(addr)
		if err != nil {
			return "", err
		}
		r.heap = heap
	}
	b, ok := r.heap.objects[int(index)]
	if !ok || uint64(n) > uint64(len(b)) {
		return "", fmt.Errorf("global heap at address %d: no object %d of %d bytes", addr, index, n)
	}
	if err := r.charge(int(n)); err != nil {
		return "", err
	}
	return fixedString(datatype{}, b[:n]), nil
}

// globalHeap holds the values of variable length of one collection.
type globalHeap struct {
	addr    uint64
	objects map[int][]byte
}

// globalHeap reads a collection.
func (r *reader) globalHeap(addr uint64) (*globalHeap, error) {
	const what = "global heap"
	prefix := 8 + r.lengthSize
	c, err := r.signed(addr, uint64(prefix), "GCOL", what)
	if err != nil {
		return nil, err
	}
	c.version(1)
	c.skip(3)
	n := c.length()
	if c.err == nil && n < uint64(prefix) {
		c.fail("%d bytes", n)
	}
	if c.err != nil {
		return nil, c.err
	}
	if c, err = r.block(addr, n, what); err != nil {
		return nil, err
	}
	c.skip(prefix)
	h := &globalHeap{addr: addr, objects: map[int][]byte{}}
	for c.rest() >= prefix {
		index := c.u16()
		c.skip(6) // references
		n := c.length()
		if index == 0 || c.err != nil { // the free space at the end
			break
		}
		if n > uint64(c.rest()) {
			c.fail("object %d of %d bytes", index, n)
			break
		}
		h.objects[index] = c.take(int(n))
		c.align()
	}
	return h, c.err
}
