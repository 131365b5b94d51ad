package weightfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The unpickler knows the opcodes of Python's pickle protocols 2 to 5 that a
// state dict or a training checkpoint is made of. Classes are names: none is
// ever looked up or called, and what one would have made is an opaque value.
// The opcodes are documented in CPython's Lib/pickletools.py. (The Go library
// that was looked at takes memory for whatever length a file claims.)

// What a pickle's values become: nil, bool, int64, float64, string, []byte and
// these.
type (
	tuple  []any
	list   struct{ items []any }
	dict   struct{ items []pair }
	pair   struct{ key, value any }
	class  string // "module.name"
	opaque string // an object of that class
)

// get returns the last value of a key.
func (d *dict) get(key string) any {
	for i := len(d.items) - 1; i >= 0; i-- {
		if d.items[i].key == key {
			return d.items[i].value
		}
	}
	return nil
}

// unpickler is the stack machine.
type unpickler struct {
	in    []byte
	at    int
	stack []any
	marks []int // heights of the stack
	memo  map[uint64]any
	err   error // the first error; later values mean nothing
	// call makes the object of a class, persistent that of a persistent id.
	call       func(c class, args tuple) (any, error)
	persistent func(id any) (any, error)
}

// maxSteps bounds time and memory: a network of 10,000 tensors takes 500,000.
const maxSteps = 2_000_000

// load runs one pickle and leaves u at what follows it.
func (u *unpickler) load() (any, error) {
	u.stack, u.marks, u.memo = nil, nil, map[uint64]any{}
	for range maxSteps {
		start := u.at
		op := u.number(1)
		if u.err == nil && op == '.' {
			return u.pop(), u.err
		}
		if do := pickleOps[byte(op)]; do != nil {
			do(u)
		} else {
			u.fail(fmt.Errorf("opcode 0x%02x is not one of pickle protocol 2 to 5 that weights need", op))
		}
		if u.err != nil {
			return nil, fmt.Errorf("pickle, byte %d: %w", start, u.err)
		}
	}
	return nil, fmt.Errorf("pickle: has more than %d steps", maxSteps)
}

func (u *unpickler) fail(err error) {
	if u.err == nil {
		u.err = err
	}
}

// take returns the next n bytes of the pickle, nil when there are fewer.
func (u *unpickler) take(n uint64) []byte {
	if n > uint64(len(u.in)-u.at) {
		u.fail(errors.New("it is cut off"))
		return nil
	}
	u.at += int(n)
	return u.in[u.at-int(n) : u.at]
}

// number returns the next n <= 8 bytes, little-endian, 0 when there are fewer.
func (u *unpickler) number(n uint64) uint64 {
	var b [8]byte
	copy(b[:], u.take(n))
	return binary.LittleEndian.Uint64(b[:])
}

// line returns the next line without its end.
func (u *unpickler) line() string {
	n := bytes.IndexByte(u.in[u.at:], '\n')
	if n < 0 {
		n = len(u.in) // fails
	}
	return string(bytes.TrimSuffix(u.take(uint64(n)+1), []byte{'\n'}))
}

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

// pop takes the top value off, which must lie above the last mark.
func (u *unpickler) pop() any {
	bottom := 0
	if n := len(u.marks); n > 0 {
		bottom = u.marks[n-1]
	}
	top := len(u.stack) - 1
	if top < bottom {
		u.fail(errors.New("a value is missing on the stack"))
		return nil
	}
	v := u.stack[top]
	u.stack = u.stack[:top]
	return v
}

// top returns the top value and leaves it.
func (u *unpickler) top() any {
	v := u.pop()
	if u.err == nil {
		u.push(v)
	}
	return v
}

// popMark takes off the values above the last mark, and the mark.
func (u *unpickler) popMark() tuple {
	n := len(u.marks)
	if n == 0 {
		u.fail(errors.New("a mark is missing on the stack"))
		return nil
	}
	items := append(tuple(nil), u.stack[u.marks[n-1]:]...)
	u.stack, u.marks = u.stack[:u.marks[n-1]], u.marks[:n-1]
	return items
}

// popTuple takes off n values as a tuple.
func (u *unpickler) popTuple(n int) {
	t := make(tuple, n)
	for i := range t {
		t[n-1-i] = u.pop()
	}
	u.push(t)
}

// text pushes a string whose length stands in n bytes.
func text(n uint64) func(*unpickler) {
	return func(u *unpickler) { u.push(string(u.take(u.number(n)))) }
}

func binary8(n uint64) func(*unpickler) {
	return func(u *unpickler) { u.push(u.take(u.number(n))) }
}

func constant(v any) func(*unpickler) { return func(u *unpickler) { u.push(v) } }

// put remembers the top value; at returns its number.
func put(at func(*unpickler) uint64) func(*unpickler) {
	return func(u *unpickler) { u.memo[at(u)] = u.top() }
}

func get(n uint64) func(*unpickler) {
	return func(u *unpickler) {
		v, ok := u.memo[u.number(n)]
		if !ok {
			u.fail(errors.New("it refers to a value that is not there"))
		}
		u.push(v)
	}
}

// appendTo adds values to the list below them; other objects stay as they are.
func (u *unpickler) appendTo(items ...any) {
	if l, ok := u.top().(*list); ok {
		l.items = append(l.items, items...)
	}
}

// setItems adds keys and values, in turn, to the dict below them.
func (u *unpickler) setItems(items ...any) {
	d, ok := u.top().(*dict)
	if !ok {
		return
	}
	if len(items)%2 != 0 {
		u.fail(errors.New("a key has no value"))
		return
	}
	for i := 0; i < len(items); i += 2 {
		d.items = append(d.items, pair{items[i], items[i+1]})
	}
}

// reduce replaces a class and its arguments by what call makes of them.
func (u *unpickler) reduce() {
	args, _ := u.pop().(tuple)
	c, _ := u.pop().(class)
	if u.err != nil {
		return
	}
	v, err := u.call(c, args)
	if err != nil {
		u.fail(err)
	}
	u.push(v)
}

// long pushes the integer whose length stands in n bytes; one that has no room
// in 64 bits is opaque.
func long(n uint64) func(*unpickler) {
	return func(u *unpickler) {
		raw := u.take(u.number(n))
		if len(raw) > 8 {
			u.push(opaque("int"))
			return
		}
		b := make([]byte, 8)
		if len(raw) > 0 && raw[len(raw)-1]&0x80 != 0 {
			binary.LittleEndian.PutUint64(b, math.MaxUint64)
		}
		copy(b, raw)
		u.push(int64(binary.LittleEndian.Uint64(b)))
	}
}

func (u *unpickler) binPersID() {
	id := u.pop()
	if u.err != nil {
		return
	}
	v, err := u.persistent(id)
	if err != nil {
		u.fail(err)
	}
	u.push(v)
}

func (u *unpickler) stackGlobal() {
	name, _ := u.pop().(string)
	module, _ := u.pop().(string)
	u.push(class(module + "." + name))
}

func (u *unpickler) memoize() { u.memo[uint64(len(u.memo))] = u.top() }

var pickleOps = [256]func(*unpickler){
	0x80: func(u *unpickler) { u.number(1) }, // PROTO
	0x95: func(u *unpickler) { u.number(8) }, // FRAME
	'(':  func(u *unpickler) { u.marks = append(u.marks, len(u.stack)) },
	'0':  func(u *unpickler) { u.pop() },
	'1':  func(u *unpickler) { u.popMark() },
	'2':  func(u *unpickler) { u.push(u.top()) },
	'N':  constant(nil),
	0x88: constant(true),
	0x89: constant(false),
	'J':  func(u *unpickler) { u.push(int64(int32(u.number(4)))) },
	'K':  func(u *unpickler) { u.push(int64(u.number(1))) },
	'M':  func(u *unpickler) { u.push(int64(u.number(2))) },
	0x8a: long(1),
	0x8b: long(4),
	'G': func(u *unpickler) {
		b := make([]byte, 8)
		copy(b, u.take(8))
		u.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	},
	'X': text(4), 0x8c: text(1), 0x8d: text(8), 'U': text(1), 'T': text(4),
	'B': binary8(4), 'C': binary8(1), 0x8e: binary8(8), 0x96: binary8(8),
	'}':  func(u *unpickler) { u.push(&dict{}) },
	']':  func(u *unpickler) { u.push(&list{}) },
	0x8f: func(u *unpickler) { u.push(&list{}) },            // EMPTY_SET
	0x91: func(u *unpickler) { u.push(&list{u.popMark()}) }, // FROZENSET
	')':  func(u *unpickler) { u.push(tuple{}) },
	't':  func(u *unpickler) { u.push(u.popMark()) },
	0x85: func(u *unpickler) { u.popTuple(1) },
	0x86: func(u *unpickler) { u.popTuple(2) },
	0x87: func(u *unpickler) { u.popTuple(3) },
	'a':  func(u *unpickler) { u.appendTo(u.pop()) },
	'e':  func(u *unpickler) { u.appendTo(u.popMark()...) },
	0x90: func(u *unpickler) { u.appendTo(u.popMark()...) }, // ADDITEMS
	's':  func(u *unpickler) { v := u.pop(); u.setItems(u.pop(), v) },
	'u':  func(u *unpickler) { u.setItems(u.popMark()...) },
	'c':  func(u *unpickler) { u.push(class(u.line() + "." + u.line())) },
	0x93: (*unpickler).stackGlobal,
	'R':  (*unpickler).reduce,
	0x81: (*unpickler).reduce,                                   // NEWOBJ
	0x92: func(u *unpickler) { u.pop(); u.reduce() },            // NEWOBJ_EX, without its keywords
	'b':  func(u *unpickler) { u.pop() },                        // BUILD: attributes do not matter
	'Q':  (*unpickler).binPersID,                                // the parts of an object kept elsewhere
	'q':  put(func(u *unpickler) uint64 { return u.number(1) }), // BINPUT
	'r':  put(func(u *unpickler) uint64 { return u.number(4) }), // LONG_BINPUT
	0x94: (*unpickler).memoize,
	'h':  get(1),
	'j':  get(4),
}
