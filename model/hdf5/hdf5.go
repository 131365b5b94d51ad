package hdf5

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ErrNotHDF5 is wrapped by Open's error where the signature is missing.
var ErrNotHDF5 = errors.New("not an HDF5 file")

// maxDepth is how deep groups may be nested.
const maxDepth = 100

// File is an open HDF5 file, safe for concurrent use if its reader is.
type File struct {
	r    reader // copied by each call
	root uint64
}

// Attribute is the value of an attribute: Strings or Numbers is set, row-major.
type Attribute struct {
	Strings []string
	Numbers []float64
	Shape   []int // empty for a scalar
}

// Dataset is one array of the file.
type Dataset struct {
	Path  string // "/model_weights/stem_conv/stem_conv/kernel:0"
	Shape []int  // empty for a scalar
	Type  string // as NumPy has it: "float32", "int64"; or "string", "compound"...

	file   *File
	header header
	kind   datatype
	err    error // why the type is not supported
	space  dataspace
}

// Open reads the superblock of a file of size bytes. Its error wraps
// ErrNotHDF5 where the signature is missing.
func Open(r io.ReaderAt, size int64) (*File, error) { return open(r, size, false) }

func open(src io.ReaderAt, size int64, noChecksum bool) (*File, error) {
	base, err := findSuperblock(src, size)
	if err != nil {
		return nil, fmt.Errorf("hdf5: %w", err)
	}
	f := &File{r: reader{src: src, base: base, size: size, offsetSize: 8, lengthSize: 8, noChecksum: noChecksum}}
	r := f.r.fresh()
	if f.root, err = r.superblock(); err != nil {
		return nil, fmt.Errorf("hdf5: %w", err)
	}
	f.r.offsetSize, f.r.lengthSize = r.offsetSize, r.lengthSize
	return f, nil
}

// Datasets lists every dataset of the file in the order of the paths' bytes.
// Soft and external links are not followed, and a group that has several paths
// is listed under one. A damaged object is an error that names its path; a type
// that is not supported is an error only when its values are read.
func (f *File) Datasets() ([]*Dataset, error) {
	w := &walker{file: f, r: f.r.fresh(), seen: map[uint64]bool{}}
	if err := w.visit("", f.root, 0); err != nil {
		return nil, fmt.Errorf("hdf5: %w", err)
	}
	slices.SortFunc(w.found, func(a, b *Dataset) int { return strings.Compare(a.Path, b.Path) })
	return w.found, nil
}

// walker finds the datasets of a file.
type walker struct {
	file  *File
	r     *reader
	seen  map[uint64]bool // groups by address
	found []*Dataset
}

// visit lists the object at addr, and what is below it.
func (w *walker) visit(path string, addr uint64, depth int) error {
	if w.seen[addr] {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("%s: groups nested deeper than %d", path, maxDepth)
	}
	h, err := w.r.header(addr)
	if err == nil && h.isDataset() {
		err = w.add(path, h)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name(path), err)
	}
	if h.isDataset() || !h.isGroup() {
		return nil
	}
	w.seen[addr] = true
	links, err := w.r.links(h)
	if err != nil {
		return fmt.Errorf("%s: %w", name(path), err)
	}
	slices.SortFunc(links, func(a, b link) int { return strings.Compare(a.name, b.name) })
	for _, l := range links {
		child := path + "/" + l.name
		if err := w.r.charge(len(child)); err != nil {
			return fmt.Errorf("%s: %w", name(path), err)
		}
		if err := w.visit(child, l.addr, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// name returns the path of an object, "/" for the root.
func name(path string) string { return "/" + strings.TrimPrefix(path, "/") }

// add appends a dataset.
func (w *walker) add(path string, h header) error {
	d := &Dataset{Path: name(path), file: w.file, header: h}
	if err := w.r.describe(d); err != nil {
		return err
	}
	w.found = append(w.found, d)
	return nil
}

// describe reads the type and shape of a dataset.
func (r *reader) describe(d *Dataset) error {
	space, err := r.need(d.header, msgDataspace, "dataspace")
	if err != nil {
		return err
	}
	kind, err := r.need(d.header, msgDatatype, "datatype")
	if err != nil {
		return err
	}
	d.kind, d.space = kind.datatype(), space.dataspace()
	d.Shape, d.Type = d.space.shape, d.kind.name()
	d.err = kind.err // of no interest to those who read other datasets
	return space.err
}

// Attribute returns an attribute of the group or dataset at path, "/" for the
// root, and false where there is none of that name. Values that are neither
// text nor numbers are an error.
func (f *File) Attribute(path, name string) (Attribute, bool, error) {
	r := f.r.fresh()
	value, ok, err := r.attributeAt(f.root, path, name)
	if err != nil {
		return Attribute{}, ok, fmt.Errorf("hdf5: %s: %w", path, err)
	}
	return value, ok, nil
}

func (r *reader) attributeAt(root uint64, path, name string) (Attribute, bool, error) {
	addr, err := r.resolve(root, path)
	if err != nil {
		return Attribute{}, false, err
	}
	h, err := r.header(addr)
	if err != nil {
		return Attribute{}, false, err
	}
	return r.attribute(h, name)
}

// resolve returns the address of the object at a path.
func (r *reader) resolve(addr uint64, path string) (uint64, error) {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		h, err := r.header(addr)
		if err != nil {
			return 0, err
		}
		links, err := r.links(h)
		if err != nil {
			return 0, err
		}
		i := slices.IndexFunc(links, func(l link) bool { return l.name == part })
		if i < 0 {
			return 0, fmt.Errorf("no link %q; soft and external links are not followed", part)
		}
		addr = links[i].addr
	}
	return addr, nil
}
