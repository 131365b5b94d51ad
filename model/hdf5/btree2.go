package hdf5

import (
	"fmt"
	"math/bits"
)

// btree2Tree describes a B-tree of version 2.
type btree2Tree struct {
	r        *reader
	kind     int // of its records
	nodeSize int
	record   int // bytes of one
	visit    func(*cursor) error
	levels   []btree2Level // from the leaves up
	count    int           // bytes of a node's number of records
}

// btree2Level holds what the sizes of a node's fields follow from.
type btree2Level struct {
	most    uint64 // records of a node
	total   uint64 // records of a node and all below it
	pointer int    // bytes of a pointer to a child
	sum     int    // bytes of the number of records below a child
}

// btree2 calls visit with every record of a B-tree of version 2, in its order.
// The records must be of the given kind and size.
func (r *reader) btree2(addr uint64, kind, size int, visit func(*cursor) error) error {
	const what = "B-tree header"
	c, err := r.checked(addr, uint64(22+r.offsetSize+r.lengthSize), "BTHD", what)
	if err != nil {
		return err
	}
	c.version(0)
	t := &btree2Tree{r: r, kind: kind, visit: visit}
	if got := c.u8(); got != kind {
		c.fail("records of kind %d where %d is expected", got, kind)
	}
	t.nodeSize, t.record = int(c.u32()), c.u16()
	if t.record != size {
		c.fail("records of %d bytes where %d are expected", t.record, size)
	}
	depth := c.u16()
	c.skip(2) // when to split and merge
	root, n := c.address(), c.u16()
	if c.err != nil || root == undefined {
		return c.err
	}
	if err := t.plan(depth); err != nil {
		return fmt.Errorf("%s at address %d: %w", what, addr, err)
	}
	return t.node(root, depth, uint64(n))
}

// limitSize returns the bytes that hold numbers up to n.
func limitSize(n uint64) int { return max(bits.Len64(n)-1, 0)/8 + 1 }

// plan computes the levels of a tree.
func (t *btree2Tree) plan(depth int) error {
	const overhead = 10 // signature, version, kind, checksum
	if t.record == 0 || t.nodeSize < overhead+t.record || depth > 16 || int64(t.nodeSize) > t.r.size {
		return fmt.Errorf("depth %d, nodes of %d bytes, records of %d", depth, t.nodeSize, t.record)
	}
	most := uint64((t.nodeSize - overhead) / t.record)
	t.count = limitSize(most)
	t.levels = []btree2Level{{most: most, total: most}}
	for range depth {
		below := t.levels[len(t.levels)-1]
		l := btree2Level{pointer: t.r.offsetSize + t.count}
		if len(t.levels) > 1 {
			l.sum = limitSize(below.total)
			l.pointer += l.sum
		}
		if t.nodeSize < overhead+2*l.pointer+t.record {
			return fmt.Errorf("nodes of %d bytes are too small", t.nodeSize)
		}
		l.most = uint64((t.nodeSize - overhead - l.pointer) / (t.record + l.pointer))
		l.total = (l.most+1)*below.total + l.most
		t.levels = append(t.levels, l)
	}
	return nil
}

// node visits n records of a node, and those below it, in order.
func (t *btree2Tree) node(addr uint64, depth int, n uint64) error {
	const what = "B-tree node"
	level := t.levels[depth]
	if n > level.most {
		return fmt.Errorf("%s at address %d: %d records, more than %d", what, addr, n, level.most)
	}
	size, signature := 10+n*uint64(t.record), "BTLF"
	if depth > 0 {
		size, signature = size+(n+1)*uint64(level.pointer), "BTIN"
	}
	c, err := t.r.checked(addr, size, signature, what)
	if err != nil {
		return err
	}
	c.version(0)
	if got := c.u8(); got != t.kind {
		c.fail("records of kind %d where %d is expected", got, t.kind)
	}
	records := t.r.cursor(c.take(int(n)*t.record), addr, "B-tree record")
	for i := uint64(0); i <= n && c.err == nil; i++ {
		if depth > 0 {
			child, below := c.address(), c.uint(t.count)
			c.skip(level.sum)
			if err := t.node(child, depth-1, below); err != nil {
				return err
			}
		}
		if i < n {
			if err := t.visitRecord(records); err != nil {
				return err
			}
		}
	}
	return c.err
}

func (t *btree2Tree) visitRecord(records *cursor) error {
	rec := t.r.cursor(records.take(t.record), records.addr, records.what)
	if err := t.visit(rec); err != nil {
		return err
	}
	return rec.err
}
