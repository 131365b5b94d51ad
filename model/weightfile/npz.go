package weightfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// metaMember is the array of an .npz file that holds the metadata: one text,
// JSON.
const metaMember = "__metadata__"

// parseNPZ reads an archive of .npy arrays as np.savez and np.savez_compressed
// write it. (The Go readers of .npy that were looked at take a cut off array
// for one of zeros, panic at odd headers, or know no half precision.)
func parseNPZ(z *zip.Reader, b *budget) (*File, error) {
	f := newFile(NPZ)
	for _, m := range z.File {
		name, ok := strings.CutSuffix(m.Name, ".npy")
		if !ok {
			continue
		}
		data, err := readMember(m, b)
		if err != nil {
			return nil, err
		}
		if err := f.addNPY(name, data, b); err != nil {
			return nil, fmt.Errorf("array %s: %w", name, err)
		}
	}
	return f, nil
}

func (f *File) addNPY(name string, data []byte, b *budget) error {
	h, raw, err := parseNPYHeader(data)
	if err != nil {
		return err
	}
	if name == metaMember {
		f.Meta, err = h.metadata(raw)
		return err
	}
	k, ok := npyKinds[h.descr[1:]]
	if !ok {
		f.skip(name)
		return nil
	}
	n, err := count(h.shape)
	if err != nil {
		return err
	}
	if n*k.size != len(raw) {
		return fmt.Errorf("holds %d bytes, want %d: shape %v of %s", len(raw), n*k.size, h.shape, k.name)
	}
	if h.descr[0] == '>' {
		raw = swapped(raw, k.size)
	}
	return f.add(name, array{kind: k, raw: raw, shape: h.shape, stride: h.strides()}, b)
}

// npyKinds are the types of floating point numbers, without byte order.
var npyKinds = map[string]kind{"f2": float16, "f4": float32s, "f8": float64s}

// npyHeader is what stands before the elements of an .npy array.
type npyHeader struct {
	descr   string // NumPy's name of the type, with byte order: "<f4"
	fortran bool   // the first index runs fastest
	shape   []int
}

var (
	npyDescr = regexp.MustCompile(`'descr': *'([<>=|][a-zA-Z][0-9]*)'`)
	npyOrder = regexp.MustCompile(`'fortran_order': *(True|False)`)
	npyShape = regexp.MustCompile(`'shape': *\(([0-9, ]*)\)`)
)

// parseNPYHeader reads the header of format 1, 2 or 3 and returns the elements
// that follow it.
// See https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
func parseNPYHeader(data []byte) (h npyHeader, raw []byte, err error) {
	text, raw, err := cutNPYHeader(data)
	if err != nil {
		return h, nil, err
	}
	descr, order, shape := npyDescr.FindSubmatch(text), npyOrder.FindSubmatch(text), npyShape.FindSubmatch(text)
	if descr == nil || order == nil || shape == nil {
		return h, nil, fmt.Errorf("its header %.100q does not name one type, an order and a shape", text)
	}
	h.descr, h.fortran = string(descr[1]), string(order[1]) == "True"
	for _, d := range strings.FieldsFunc(string(shape[1]), func(r rune) bool { return r == ',' || r == ' ' }) {
		n, err := strconv.Atoi(d)
		if err != nil {
			return h, nil, fmt.Errorf("shape (%.100s): %w", shape[1], err)
		}
		h.shape = append(h.shape, n)
	}
	return h, raw, nil
}

// cutNPYHeader returns the header's text and what follows it.
func cutNPYHeader(data []byte) (text, raw []byte, err error) {
	if len(data) < 12 || !bytes.HasPrefix(data, []byte("\x93NUMPY")) {
		return nil, nil, errors.New("is no .npy array")
	}
	n, start := int(binary.LittleEndian.Uint16(data[8:])), 10
	if data[6] > 1 {
		n, start = int(binary.LittleEndian.Uint32(data[8:])), 12
	}
	if data[6] < 1 || data[6] > 3 {
		return nil, nil, fmt.Errorf("format %d.%d, want 1.0 to 3.0", data[6], data[7])
	}
	if n > len(data)-start {
		return nil, nil, fmt.Errorf("its header of %d bytes is cut off", n)
	}
	return data[start : start+n], data[start+n:], nil
}

func (h npyHeader) strides() []int {
	if !h.fortran {
		return strides(h.shape)
	}
	reversed := slices.Clone(h.shape)
	slices.Reverse(reversed)
	s := strides(reversed)
	slices.Reverse(s)
	return s
}

// metadata decodes the metadata's array: one text of UTF-32 (U) or bytes (S).
func (h npyHeader) metadata(raw []byte) (map[string]string, error) {
	text := bytes.TrimRight(raw, "\x00")
	if len(h.shape) != 0 || h.descr[1] != 'U' && h.descr[1] != 'S' {
		return nil, fmt.Errorf("is a %s of shape %v, want one text", h.descr, h.shape)
	}
	if h.descr[1] == 'U' {
		if h.descr[0] == '>' {
			raw = swapped(raw, 4)
		}
		text = nil
		for ; len(raw) >= 4; raw = raw[4:] {
			if r := rune(binary.LittleEndian.Uint32(raw)); r != 0 {
				text = utf8.AppendRune(text, r)
			}
		}
	}
	return parseMeta(text)
}

func parseMeta(text []byte) (meta map[string]string, err error) {
	if err := json.Unmarshal(text, &meta); err != nil {
		return nil, fmt.Errorf("want a JSON object of texts: %w", err)
	}
	return meta, nil
}

// swapped returns the elements in the other byte order.
func swapped(raw []byte, size int) []byte {
	out := bytes.Clone(raw)
	for e := range slices.Chunk(out, size) {
		slices.Reverse(e)
	}
	return out
}

func encodeNPZ(f *File) ([]byte, error) {
	var members []member
	if f.Meta != nil {
		runes := []rune(string(metaText(f.Meta)))
		raw := make([]byte, 0, 4*len(runes))
		for _, r := range runes {
			raw = binary.LittleEndian.AppendUint32(raw, uint32(r))
		}
		members = append(members, npyMember(metaMember, fmt.Sprintf("<U%d", len(runes)), nil, raw))
	}
	for _, name := range slices.Sorted(maps.Keys(f.Tensors)) {
		t := f.Tensors[name]
		members = append(members, npyMember(name, "<f4", t.Shape, encode(t.Data)))
	}
	return writeZip(members)
}

// npyMember returns an .npy array of format 1.0.
func npyMember(name, descr string, shape []int, raw []byte) member {
	var dims strings.Builder
	for _, d := range shape {
		fmt.Fprintf(&dims, "%d, ", d)
	}
	// A tuple of one is (1,) to Python.
	list := strings.TrimSuffix(dims.String(), " ")
	if len(shape) > 1 {
		list = strings.TrimSuffix(list, ",")
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, list)
	// The elements begin at a multiple of 64 bytes; the header ends its line.
	text += strings.Repeat(" ", 63-(10+len(text))%64) + "\n"
	data := append([]byte("\x93NUMPY\x01\x00"), binary.LittleEndian.AppendUint16(nil, uint16(len(text)))...)
	return member{name + ".npy", slices.Concat(data, []byte(text), raw)}
}
