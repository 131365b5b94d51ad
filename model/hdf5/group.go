package hdf5

import (
	"bytes"
	"fmt"
)

// maxName is the length of the longest name of a link or attribute.
const maxName = 1024

// link is a hard link of a group: a name and the object header's address.
type link struct {
	name string
	addr uint64
}

// isGroup says whether a header is a group's.
func (h header) isGroup() bool {
	return len(h.all(msgSymbolTable))+len(h.all(msgLinkInfo))+len(h.all(msgLink)) > 0
}

// isDataset says whether a header is a dataset's.
func (h header) isDataset() bool { return len(h.all(msgLayout)) > 0 }

// links lists the hard links of a group; soft and external ones are left out.
func (r *reader) links(h header) ([]link, error) {
	var links []link
	for _, m := range h.all(msgLink) {
		c, err := r.open(m, "link")
		if err != nil {
			return nil, err
		}
		if links, err = r.appendLink(links, c); err != nil {
			return nil, err
		}
	}
	if c, err := r.find(h, msgSymbolTable, "symbol table"); err != nil || c != nil {
		return r.symbolTable(c, err)
	}
	c, err := r.find(h, msgLinkInfo, "link info")
	if err != nil || c == nil {
		return links, err
	}
	dense, err := r.denseLinks(c)
	return append(links, dense...), err
}

// appendLink takes a link message and appends it if it is a hard link.
func (r *reader) appendLink(links []link, c *cursor) ([]link, error) {
	c.version(1)
	flags, kind := c.u8(), 0
	if flags&8 != 0 {
		kind = c.u8()
	}
	if flags&4 != 0 {
		c.skip(8) // order of creation
	}
	if flags&16 != 0 {
		c.skip(1) // character set
	}
	name, err := r.name(c, c.uint(1<<(flags&3)))
	if err != nil || kind != 0 {
		return links, err
	}
	links = append(links, link{name, c.address()})
	return links, c.err
}

// name takes a name of n bytes.
func (r *reader) name(c *cursor, n uint64) (string, error) {
	if n > maxName {
		c.fail("a name of %d bytes, more than %d", n, maxName)
	}
	b := c.take(int(n))
	if c.err != nil {
		return "", c.err
	}
	return string(b), r.charge(len(b))
}

// denseLinks lists the links that a link info message refers to.
func (r *reader) denseLinks(c *cursor) ([]link, error) {
	c.version(0)
	if c.u8()&1 != 0 {
		c.skip(8) // largest order of creation
	}
	heapAddr, index := c.address(), c.address()
	if c.err != nil || heapAddr == undefined {
		return nil, c.err
	}
	heap, err := r.fractalHeap(heapAddr)
	if err != nil {
		return nil, err
	}
	var links []link
	err = r.btree2(index, 5, 4+heap.idLen, func(rec *cursor) error {
		rec.skip(4) // hash of the name
		c, err := heap.object(rec.take(heap.idLen), "link")
		if err != nil {
			return err
		}
		links, err = r.appendLink(links, c)
		return err
	})
	return links, err
}

// symbolTable lists the links of an old group from its symbol table message.
func (r *reader) symbolTable(c *cursor, err error) ([]link, error) {
	if err != nil {
		return nil, err
	}
	tree, heapAddr := c.address(), c.address()
	if c.err != nil {
		return nil, c.err
	}
	names, err := r.localHeap(heapAddr)
	if err != nil {
		return nil, err
	}
	var links []link
	err = r.btree1(tree, btree1Format{key: r.lengthSize}, func(_ *cursor, child uint64) error {
		links, err = r.symbols(links, child, names)
		return err
	})
	return links, err
}

// symbols appends the links of a symbol table node.
func (r *reader) symbols(links []link, addr uint64, names *cursor) ([]link, error) {
	const what = "symbol table node"
	c, err := r.signed(addr, 8, "SNOD", what)
	if err != nil {
		return nil, err
	}
	c.version(1)
	c.skip(1)
	n := c.u16()
	if c.err != nil {
		return nil, c.err
	}
	if c, err = r.block(addr+8, uint64(n*(2*r.offsetSize+24)), what); err != nil {
		return nil, err
	}
	for range n {
		at, object, cache := c.address(), c.address(), c.u32()
		c.skip(4 + 16)
		if cache == 2 { // a soft link
			continue
		}
		name, err := r.heapName(names, at)
		if err != nil {
			return nil, err
		}
		links = append(links, link{name, object})
	}
	return links, c.err
}

// localHeap reads the names of a symbol table.
func (r *reader) localHeap(addr uint64) (*cursor, error) {
	const what = "local heap"
	c, err := r.signed(addr, uint64(8+2*r.lengthSize+r.offsetSize), "HEAP", what)
	if err != nil {
		return nil, err
	}
	c.version(0)
	c.skip(3)
	n := c.length()
	c.length() // free list
	data := c.address()
	if c.err != nil {
		return nil, c.err
	}
	return r.block(data, n, what)
}

// heapName returns the name that begins at byte at of a local heap.
func (r *reader) heapName(heap *cursor, at uint64) (string, error) {
	if at >= uint64(len(heap.b)) {
		return "", fmt.Errorf("local heap at address %d: a name at byte %d of %d", heap.addr, at, len(heap.b))
	}
	b := heap.b[at:]
	n := bytes.IndexByte(b[:min(len(b), maxName+1)], 0)
	if n < 0 {
		return "", fmt.Errorf("local heap at address %d: the name at byte %d has no end or is longer than %d bytes", heap.addr, at, maxName)
	}
	return string(b[:n]), r.charge(n)
}

// btree1Format describes a B-tree of version 1: kind 0 for groups, 1 for chunks.
type btree1Format struct {
	kind int
	key  int // bytes of a key
}

// btree1 calls visit with the key before, and the address of, every child of
// the leaves of a B-tree of version 1.
func (r *reader) btree1(addr uint64, format btree1Format, visit func(key *cursor, child uint64) error) error {
	return r.btree1Node(addr, format, -1, visit)
}

// btree1Node visits a node, which must be of the given level unless that is
// negative.
func (r *reader) btree1Node(addr uint64, format btree1Format, level int, visit func(*cursor, uint64) error) error {
	const what = "B-tree node"
	c, err := r.signed(addr, 8, "TREE", what)
	if err != nil {
		return err
	}
	kind, at, n := c.u8(), c.u8(), c.u16()
	if kind != format.kind || level >= 0 && at != level {
		return fmt.Errorf("%s at address %d: kind %d, level %d where kind %d, level %d is expected", what, addr, kind, at, format.kind, level)
	}
	first := addr + 8 + uint64(2*r.offsetSize)
	if c, err = r.block(first, uint64(n*(format.key+r.offsetSize)), what); err != nil {
		return err
	}
	for range n {
		key := r.cursor(c.take(format.key), first, what)
		child := c.address()
		if at == 0 {
			err = visit(key, child)
		} else {
			err = r.btree1Node(child, format, at-1, visit)
		}
		if err != nil {
			return err
		}
	}
	return c.err
}
