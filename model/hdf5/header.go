package hdf5

import "fmt"

// Kinds of header messages.
const (
	msgDataspace     = 0x01
	msgLinkInfo      = 0x02
	msgDatatype      = 0x03
	msgOldFill       = 0x04
	msgFill          = 0x05
	msgLink          = 0x06
	msgExternal      = 0x07
	msgLayout        = 0x08
	msgFilters       = 0x0b
	msgAttribute     = 0x0c
	msgContinuation  = 0x10
	msgSymbolTable   = 0x11
	msgAttributeInfo = 0x15
)

const flagShared = 2 // of a message: its body is elsewhere

const messageSize = 56 // bytes of a message in memory, for the reader's bounds

// message is one message of an object header.
type message struct {
	kind  int
	flags int
	addr  uint64 // of the body
	body  []byte
}

// header is the list of messages of a group or dataset.
type header []message

// all returns the messages of a kind.
func (h header) all(kind int) []message {
	var found []message
	for _, m := range h {
		if m.kind == kind {
			found = append(found, m)
		}
	}
	return found
}

// find returns the first message of a kind as a cursor, nil where there is none.
func (r *reader) find(h header, kind int, what string) (*cursor, error) {
	for _, m := range h {
		if m.kind == kind {
			return r.open(m, what)
		}
	}
	return nil, nil
}

// need is find where the message must be there.
func (r *reader) need(h header, kind int, what string) (*cursor, error) {
	c, err := r.find(h, kind, what)
	if err == nil && c == nil {
		return nil, fmt.Errorf("the object header has no %s", what)
	}
	return c, err
}

// open returns the body of a message, following a shared one once.
func (r *reader) open(m message, what string) (*cursor, error) {
	c := r.cursor(m.body, m.addr, what)
	if m.flags&flagShared == 0 {
		return c, nil
	}
	return r.shared(c, m.kind)
}

// shared takes the place of a shared message and opens it: a message of the
// same kind in the header of a committed datatype.
func (r *reader) shared(c *cursor, kind int) (*cursor, error) {
	version, where := c.version(1, 2, 3), c.u8()
	if version == 1 {
		c.skip(6)
	}
	if version == 3 && where != 2 {
		c.fail("a message in the shared message heap is not supported")
	}
	addr := c.address()
	if c.err != nil {
		return nil, c.err
	}
	h, err := r.header(addr)
	if err != nil {
		return nil, err
	}
	for _, m := range h.all(kind) {
		if m.flags&flagShared == 0 {
			return r.cursor(m.body, m.addr, c.what), nil
		}
	}
	return nil, fmt.Errorf("%s at address %d: the object at %d does not have it", c.what, c.addr, addr)
}

// header reads the object header at an address with its continuations.
func (r *reader) header(addr uint64) (header, error) {
	b, err := r.bytes(addr, 4, "object header")
	if err != nil {
		return nil, err
	}
	if string(b) == "OHDR" {
		return r.newHeader(addr)
	}
	return r.oldHeader(addr)
}

// oldHeader reads a header of version 1. Its number of messages is not needed:
// the blocks are full.
func (r *reader) oldHeader(addr uint64) (header, error) {
	c, err := r.block(addr, 16, "object header")
	if err != nil {
		return nil, err
	}
	c.version(1)
	c.skip(7) // reserved, number of messages, references
	n := uint64(c.u32())
	if c.err != nil {
		return nil, c.err
	}
	c, err = r.block(addr+16, n, "object header")
	if err != nil {
		return nil, err
	}
	return r.messages(c, messageFormat{old: true})
}

// newHeader reads a header of version 2.
func (r *reader) newHeader(addr uint64) (header, error) {
	c, err := r.signed(addr, 6, "OHDR", "object header")
	if err != nil {
		return nil, err
	}
	c.version(2)
	flags := c.u8()
	prefix := 6
	if flags&0x20 != 0 {
		prefix += 16 // times
	}
	if flags&0x10 != 0 {
		prefix += 4 // when attributes become dense
	}
	width := 1 << (flags & 3)
	if c.err != nil {
		return nil, c.err
	}
	if c, err = r.block(addr+uint64(prefix), uint64(width), "object header"); err != nil {
		return nil, err
	}
	n := c.uint(width)
	if n > uint64(r.size) {
		return nil, fmt.Errorf("object header at address %d: %d bytes, more than the file", addr, n)
	}
	if c, err = r.checked(addr, uint64(prefix+width)+n+4, "OHDR", "object header"); err != nil {
		return nil, err
	}
	c.at = prefix + width
	return r.messages(c, messageFormat{ordered: flags&4 != 0})
}

// messageFormat says how the messages of a header are laid out.
type messageFormat struct {
	old     bool // version 1
	ordered bool // version 2 with the order of creation
}

func (f messageFormat) prefix() int {
	switch {
	case f.old:
		return 8
	case f.ordered:
		return 6
	}
	return 4
}

// messages takes the messages from a block and from those that continue it.
func (r *reader) messages(c *cursor, format messageFormat) (header, error) {
	var h header
	for blocks := []*cursor{c}; len(blocks) > 0; blocks = blocks[1:] {
		c := blocks[0]
		for c.rest() >= format.prefix() && c.err == nil {
			m := c.message(format)
			if err := r.charge(messageSize); err != nil {
				return nil, fmt.Errorf("%s at address %d: %w", c.what, c.addr, err)
			}
			if m.kind != msgContinuation {
				h = append(h, m)
				continue
			}
			next, err := r.continuation(m, format)
			if err != nil {
				return nil, err
			}
			blocks = append(blocks, next)
		}
		if c.err != nil {
			return nil, c.err
		}
	}
	return h, nil
}

func (c *cursor) message(format messageFormat) message {
	var m message
	if format.old {
		m.kind = c.u16()
	} else {
		m.kind = c.u8()
	}
	n := c.u16()
	m.flags = c.u8()
	if format.old {
		c.skip(3)
	} else if format.ordered {
		c.skip(2)
	}
	m.addr = c.addr + uint64(c.at)
	m.body = c.take(n)
	return m
}

// continuation reads the block that a continuation message points to.
func (r *reader) continuation(m message, format messageFormat) (*cursor, error) {
	c := r.cursor(m.body, m.addr, "header continuation")
	addr, n := c.address(), c.length()
	if c.err != nil {
		return nil, c.err
	}
	if format.old {
		return r.block(addr, n, "header continuation")
	}
	return r.checked(addr, n, "OCHK", "header continuation")
}
