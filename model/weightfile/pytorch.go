package weightfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"path"
)

// A storage is the block of elements that tensors of a PyTorch file view.
type storage struct {
	kind  kind
	known bool // the kind is
	key   string
	size  int64 // elements
	raw   []byte
}

// torchTensor is a view of a storage.
type torchTensor struct {
	storage      *storage
	offset       int64
	size, stride tuple
}

// storageKinds are the element types by the classes that name them.
var storageKinds = map[class]kind{
	"torch.FloatStorage": float32s, "torch.DoubleStorage": float64s, "torch.HalfStorage": float16, "torch.BFloat16Storage": bfloat16,
	"torch.LongStorage": {name: "int64", size: 8}, "torch.IntStorage": {name: "int32", size: 4},
	"torch.ShortStorage": {name: "int16", size: 2}, "torch.CharStorage": {name: "int8", size: 1},
	"torch.ByteStorage": {name: "uint8", size: 1}, "torch.BoolStorage": {name: "bool", size: 1},
	"torch.ComplexFloatStorage": {name: "complex64", size: 8}, "torch.ComplexDoubleStorage": {name: "complex128", size: 16},
}

// stateReader reads the pickles of one file.
type stateReader struct {
	unpickler
	storages map[string]*storage
}

func newStateReader(pickle []byte) *stateReader {
	r := &stateReader{storages: map[string]*storage{}}
	r.in = pickle
	r.call, r.persistent = callTorch, r.storage
	return r
}

// storage returns the storage of a persistent id, a tuple of "storage", its
// class, its key, its place and its size.
func (r *stateReader) storage(id any) (any, error) {
	t, _ := id.(tuple)
	if len(t) < 5 || t[0] != "storage" {
		return opaque("persistent object"), nil
	}
	c, _ := t[1].(class)
	key, isText := t[2].(string)
	size, isInt := t[4].(int64)
	if c == "" || !isText || !isInt || size < 0 {
		return nil, errors.New("a storage is not a class, a key, a place and a size")
	}
	if len(t) > 5 && t[5] != nil {
		return nil, errors.New("its storages are views of others, as PyTorch before 0.4 wrote them; save it again with a newer PyTorch")
	}
	s := r.storages[key]
	if s == nil {
		k, known := storageKinds[c]
		s = &storage{kind: k, known: known, key: key, size: size}
		r.storages[key] = s
	}
	return s, nil
}

// callTorch makes the objects that a state dict is made of; all else is opaque.
func callTorch(c class, args tuple) (any, error) {
	switch c {
	case "collections.OrderedDict":
		return orderedDict(args), nil
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		if len(args) > 0 {
			return args[0], nil
		}
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2":
		return rebuildTensor(args)
	}
	return opaque(c), nil
}

// orderedDict returns a dict; args is empty or one list of keys and values.
func orderedDict(args tuple) *dict {
	d := &dict{}
	if len(args) == 0 {
		return d
	}
	l, _ := args[0].(*list)
	for i := 0; l != nil && i < len(l.items); i++ {
		kv, _ := l.items[i].(tuple)
		if p, ok := l.items[i].(*list); ok {
			kv = p.items
		}
		if len(kv) == 2 {
			d.items = append(d.items, pair{kv[0], kv[1]})
		}
	}
	return d
}

func rebuildTensor(args tuple) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("a tensor is made of %d things, want at least 4", len(args))
	}
	s, ok := args[0].(*storage)
	if !ok {
		return opaque("tensor"), nil // of a kind of storage that weights have not
	}
	offset, isInt := args[1].(int64)
	size, hasSize := args[2].(tuple)
	stride, hasStride := args[3].(tuple)
	if !isInt || !hasSize || !hasStride {
		return nil, errors.New("a tensor is not a storage, an offset, a size and strides")
	}
	return &torchTensor{s, offset, size, stride}, nil
}

// array returns the view of the storage's elements.
func (t *torchTensor) array() (a array, err error) {
	a = array{kind: t.storage.kind, raw: t.storage.raw, offset: int(t.offset)}
	if a.shape, err = t.size.ints(); err == nil {
		a.stride, err = t.stride.ints()
	}
	return a, err
}

func (t tuple) ints() ([]int, error) {
	out := make([]int, len(t))
	for i, v := range t {
		n, ok := v.(int64)
		if !ok {
			return nil, errors.New("a size or stride is not a whole number")
		}
		out[i] = int(n)
	}
	return out, nil
}

// pickleName is the member of an archive that holds the pickle.
const pickleName = "data.pkl"

// parseTorchZip reads what torch.save has written since PyTorch 1.6: an archive
// with a pickle and, under data/, a member for each storage.
func parseTorchZip(z *zip.Reader, b *budget) (*File, error) {
	members := map[string]*zip.File{}
	folder := ""
	for _, m := range z.File {
		members[m.Name] = m
		if path.Base(m.Name) == pickleName && folder == "" {
			folder = path.Dir(m.Name)
		}
	}
	a := torchArchive{members, folder, b}
	pickle, err := a.read(pickleName)
	if err != nil {
		return nil, err
	}
	if order, err := a.read("byteorder"); err == nil && string(order) != "little" {
		return nil, fmt.Errorf("its numbers are %.20q-endian, want little-endian", order)
	}
	r := newStateReader(pickle)
	root, err := r.load()
	if err != nil {
		return nil, err
	}
	f, err := stateDict(root, b, a.fill)
	if err != nil {
		return nil, err
	}
	return f, a.meta(f)
}

// torchArchive is an archive all of whose members lie in one folder.
type torchArchive struct {
	members map[string]*zip.File
	folder  string
	b       *budget
}

func (a torchArchive) read(name string) ([]byte, error) {
	m := a.members[path.Join(a.folder, name)]
	if m == nil {
		return nil, fmt.Errorf("%s is missing in the archive", name)
	}
	return readMember(m, a.b)
}

// fill reads the elements of a storage unless it has them.
func (a torchArchive) fill(s *storage) (err error) {
	if s.raw != nil {
		return nil
	}
	if s.raw, err = a.read("data/" + s.key); err != nil {
		return err
	}
	return s.check()
}

// check returns an error unless the storage has as many bytes as it should.
func (s *storage) check() error {
	if have := int64(len(s.raw) / s.kind.size); have != s.size || len(s.raw)%s.kind.size != 0 {
		return fmt.Errorf("storage %.100s holds %d bytes, want %d elements of %s", s.key, len(s.raw), s.size, s.kind.name)
	}
	return nil
}

// metaRecord is the member that holds our metadata, JSON; torch.load passes
// over it.
const metaRecord = "evopose.json"

func (a torchArchive) meta(f *File) error {
	if a.members[path.Join(a.folder, metaRecord)] == nil {
		return nil
	}
	text, err := a.read(metaRecord)
	if err != nil {
		return err
	}
	if f.Meta, err = parseMeta(text); err != nil {
		return fmt.Errorf("%s: %w", metaRecord, err)
	}
	return nil
}

// stateDict returns the tensors of a state dict, or of a checkpoint that holds
// one. fill must see to it that a storage has its elements.
func stateDict(root any, b *budget, fill func(*storage) error) (*File, error) {
	d, err := findStateDict(root)
	if err != nil {
		return nil, err
	}
	f := newFile(PyTorch)
	for _, item := range d.items {
		name, isText := item.key.(string)
		t, isTensor := item.value.(*torchTensor)
		if !isText || !isTensor {
			continue
		}
		if err := f.addTorch(name, t, b, fill); err != nil {
			return nil, fmt.Errorf("tensor %.200s: %w", name, err)
		}
	}
	return f, nil
}

func (f *File) addTorch(name string, t *torchTensor, b *budget, fill func(*storage) error) error {
	if t.storage.kind.read == nil {
		f.skip(name)
		return nil
	}
	if err := fill(t.storage); err != nil {
		return err
	}
	a, err := t.array()
	if err != nil {
		return err
	}
	return f.add(name, a, b)
}

// findStateDict returns the dict that holds tensors: the root, or what training
// scripts call the model in it.
func findStateDict(root any) (*dict, error) {
	d, ok := root.(*dict)
	if !ok {
		return nil, errors.New("holds a whole model or something else, want a state dict: in Python, torch.save(model.state_dict(), file)")
	}
	for _, key := range []string{"", "state_dict", "model_state_dict", "model"} {
		inner := d
		if key != "" {
			inner, _ = d.get(key).(*dict)
		}
		if inner.holdsTensors() {
			return inner, nil
		}
	}
	return nil, errors.New("holds no tensors, neither itself nor as state_dict, model_state_dict or model")
}

func (d *dict) holdsTensors() bool {
	for i := 0; d != nil && i < len(d.items); i++ {
		if _, ok := d.items[i].value.(*torchTensor); ok {
			return true
		}
	}
	return false
}

// legacyMagic is the number that begins files of torch.save before PyTorch 1.6,
// 0x1950a86a20f9469cfc6c, as it stands in a pickle.
var legacyMagic = []byte{0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19}

func isTorchLegacy(data []byte) bool {
	return bytes.HasPrefix(data, []byte{0x80}) && bytes.Contains(data[:min(64, len(data))], legacyMagic)
}

// parseTorchLegacy reads what torch.save wrote before PyTorch 1.6: pickles of
// the magic number, a version, the machine, the object, the storages' keys,
// then the storages, each with its size before it.
func parseTorchLegacy(data []byte, b *budget) (*File, error) {
	r := newStateReader(data)
	var parts [5]any
	for i := range parts {
		var err error
		if parts[i], err = r.load(); err != nil {
			return nil, err
		}
	}
	machine, root := parts[2], parts[3]
	if version, _ := parts[1].(int64); version != 1001 {
		return nil, fmt.Errorf("version %d of PyTorch's old format, want 1001", version)
	}
	if m, ok := machine.(*dict); ok && m.get("little_endian") == false {
		return nil, errors.New("its numbers are big-endian, want little-endian")
	}
	keys, ok := parts[4].(*list)
	if !ok {
		return nil, errors.New("the list of its storages is missing")
	}
	if err := r.fillAll(keys.items); err != nil {
		return nil, err
	}
	return stateDict(root, b, func(s *storage) error { return s.check() })
}

// fillAll reads the storages of the keys, which follow the pickles.
func (r *stateReader) fillAll(keys []any) error {
	for _, k := range keys {
		key, _ := k.(string)
		s := r.storages[key]
		if s == nil {
			return fmt.Errorf("storage %.100q is listed, no tensor has it", key)
		}
		if !s.known {
			return fmt.Errorf("storage %.100s is of a type that is not known; save the weights as float32", key)
		}
		n := r.number(8)
		if r.err == nil && n != uint64(s.size) {
			return fmt.Errorf("storage %.100s has %d elements, %d were announced", key, n, s.size)
		}
		if s.raw = r.take(min(n, 1<<40) * uint64(s.kind.size)); r.err != nil {
			return fmt.Errorf("storage %.100s: the file is cut off", key)
		}
	}
	return nil
}
