package weightfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// goldenFiles returns the content of the files in testdata by name.
func goldenFiles(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, pattern := range []string{"*.npz", "*.safetensors", "*.pt", "*.pth"} {
		paths, err := filepath.Glob("testdata/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			if files[filepath.Base(p)], err = os.ReadFile(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	return files
}

// A file cut off anywhere is an error.
func TestCutOff(t *testing.T) {
	for name, data := range goldenFiles(t) {
		for n := range data {
			if _, err := Parse(data[:n]); err == nil {
				t.Errorf("%s: the first %d of %d bytes are taken for a file", name, n, len(data))
			}
		}
	}
}

// A byte changed anywhere is an error or does not matter; it never panics.
func TestChangedByte(t *testing.T) {
	for name, data := range goldenFiles(t) {
		for i := range data {
			changed := slices.Clone(data)
			changed[i] ^= 0x81
			f, err := Parse(changed)
			if err == nil {
				checkFile(t, name, f)
			}
		}
	}
}

// checkFile reports tensors that contradict themselves.
func checkFile(t *testing.T, what string, f *File) {
	t.Helper()
	for name, tensor := range f.Tensors {
		if n, err := count(tensor.Shape); err != nil || n != len(tensor.Data) {
			t.Errorf("%s: %s: %d values of shape %v", what, name, len(tensor.Data), tensor.Shape)
		}
	}
}

// safe returns a safetensors file.
func safe(header string, data int) []byte {
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(file, header...), make([]byte, data)...)
}

// npz returns an archive of one array with a header.
func npz(t testing.TB, header string, data int) []byte {
	m := member{"a.npy", slices.Concat([]byte("\x93NUMPY\x01\x00"), binary.LittleEndian.AppendUint16(nil, uint16(len(header))), []byte(header), make([]byte, data))}
	return zipped(t, m)
}

func zipped(t testing.TB, members ...member) []byte {
	t.Helper()
	z, err := writeZip(members)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// torchFile returns an archive with a pickle and one storage of 4 floats.
func torchFile(t testing.TB, pickle string) []byte {
	return zipped(t, member{"a/data.pkl", []byte(pickle)}, member{"a/data/0", make([]byte, 16)})
}

// state returns the pickle of a state dict of one tensor; numbers are BININT's.
func state(class, key string, elements, offset int, size, stride []int) string {
	var p pickler
	p.code("\x80\x02}(")
	p.text("w")
	p.code("ctorch._utils\n_rebuild_tensor_v2\n((")
	p.text("storage")
	p.code("ctorch\n" + class + "\n")
	p.text(key)
	p.text("cpu")
	p.number(elements)
	p.code("tQ")
	p.number(offset)
	p.numbers(size)
	p.numbers(stride)
	p.code("\x89NtRu.")
	return string(p)
}

// Claims that a file does not bear out: refused, with what is wrong.
func TestHostile(t *testing.T) {
	long := binary.LittleEndian.AppendUint64(nil, 1<<62)
	legacy := "\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
	for name, test := range map[string]struct {
		file []byte
		want string
	}{
		"empty":                       {nil, "neither .npz nor safetensors nor"},
		"text":                        {[]byte("weights of mine, dear reader"), "neither .npz"},
		"zip of others":               {zipped(t, member{"a.txt", nil}), "neither .npy arrays nor a data.pkl"},
		"zip cut off":                 {[]byte("PK\x03\x04abc"), "damaged or cut off"},
		"safetensors, header":         {safe(`{"a":`, 0)[:12], "safetensors: invalid header length"},
		"safetensors, size":           {safe(`{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,8]}}`, 8), "mismatch"},
		"safetensors, overflow":       {safe(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "num elements"},
		"safetensors, zero":           {safe(`{"a":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}}`, 0), "tensor a: shape"},
		"safetensors, hole":           {safe(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "offset"},
		"safetensors, longer":         {safe(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 9), "incomplete"},
		"npz, no array":               {zipped(t, member{"a.npy", []byte("plain text of some length")}), "array a: is no .npy array"},
		"npz, header":                 {zipped(t, member{"a.npy", []byte("\x93NUMPY\x02\x00\xff\xff\xff\xff ")}), "header of 4294967295 bytes is cut off"},
		"npz, version":                {zipped(t, member{"a.npy", []byte("\x93NUMPY\x09\x00\xff\xff\xff\xff ")}), "format 9.0"},
		"npz, dictionary":             {npz(t, "{}", 4), "does not name one type, an order and a shape"},
		"npz, records":                {npz(t, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4), "does not name one type"},
		"npz, large":                  {npz(t, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999, 99999, 99999), }", 4), "at most"},
		"npz, huge":                   {npz(t, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 4), "out of range"},
		"npz, short":                  {npz(t, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", 20), "holds 20 bytes, want 24: shape [3 2] of float32"},
		"npz, twice":                  {zipped(t, npyMember("a", "<f4", nil, long[:4]), npyMember("a", "<f4", nil, long[:4])), "array a: is there twice"},
		"npz, metadata of numbers":    {zipped(t, npyMember(metaMember, "<f4", nil, long[:4])), "__metadata__: is a <f4 of shape [], want one text"},
		"npz, metadata not JSON":      {zipped(t, npyMember(metaMember, "|S3", nil, []byte("abc"))), "want a JSON object of texts"},
		"torch, no pickle":            {zipped(t, member{"a/data.pkl", nil}), "pickle, byte 0: it is cut off"},
		"torch, long text":            {torchFile(t, "\x80\x02\x8d"+string(long)), "cut off"},
		"torch, long bytes":           {torchFile(t, "\x80\x02B\xff\xff\xff\xff"), "cut off"},
		"torch, long integer":         {torchFile(t, "\x80\x02\x8b\xff\xff\xff\xff"), "cut off"},
		"torch, protocol 0":           {torchFile(t, "I1\n."), "opcode 0x49 is not one of pickle protocol 2 to 5"},
		"torch, empty stack":          {torchFile(t, "\x80\x02R."), "a value is missing on the stack"},
		"torch, no mark":              {torchFile(t, "\x80\x02t."), "a mark is missing"},
		"torch, below the mark":       {torchFile(t, "\x80\x02K\x01(0."), "a value is missing"},
		"torch, memo":                 {torchFile(t, "\x80\x02h\x01."), "refers to a value that is not there"},
		"torch, keys":                 {torchFile(t, "\x80\x02}(Nu."), "a key has no value"},
		"torch, no dict":              {torchFile(t, "\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R."), "want a state dict"},
		"torch, no tensors":           {torchFile(t, "\x80\x02}."), "holds no tensors"},
		"torch, itself":               {torchFile(t, "\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s."), "holds no tensors"},
		"torch, storage missing":      {torchFile(t, state("FloatStorage", "1", 4, 0, []int{4}, []int{1})), "tensor w: data/1 is missing"},
		"torch, storage short":        {torchFile(t, state("FloatStorage", "0", 5, 0, []int{4}, []int{1})), "holds 16 bytes, want 5 elements"},
		"torch, too many":             {torchFile(t, state("FloatStorage", "0", 4, 0, []int{5}, []int{1})), "tensor w: shape [5] with strides [1]"},
		"torch, offset":               {torchFile(t, state("FloatStorage", "0", 4, 1, []int{4}, []int{1})), "from element 1 reaches beyond"},
		"torch, negative offset":      {torchFile(t, state("FloatStorage", "0", 4, -1, []int{4}, []int{1})), "from element -1"},
		"torch, negative stride":      {torchFile(t, state("FloatStorage", "0", 4, 3, []int{4}, []int{-1})), "strides [-1] reaches beyond"},
		"torch, negative size":        {torchFile(t, state("FloatStorage", "0", 4, 0, []int{-4}, []int{1})), "shape [-4]"},
		"torch, expanded":             {torchFile(t, state("FloatStorage", "0", 4, 0, []int{40000, 40000}, []int{0, 0})), "too many for a file of"},
		"torch, strides missing":      {torchFile(t, state("FloatStorage", "0", 4, 0, []int{2, 2}, []int{1})), "has 1 strides for shape [2 2]"},
		"torch, many dimensions":      {torchFile(t, state("FloatStorage", "0", 4, 0, make([]int, 99), make([]int, 99))), "has 99 dimensions"},
		"torch, big-endian":           {zipped(t, member{"data.pkl", []byte("\x80\x02}.")}, member{"byteorder", []byte("big")}), `"big"-endian`},
		"torch, endless":              {torchFile(t, "\x80\x02"+strings.Repeat("N0", maxSteps)), "more than"},
		"torch, nested":               {torchFile(t, "\x80\x02)"+strings.Repeat("\x85", maxSteps/2)+"."), "want a state dict"},
		"torch, legacy, version":      {[]byte(strings.Replace(legacy, "M\xe9\x03", "M\xe8\x03", 1) + "N.}.].].].].]."), "version 1000"},
		"torch, legacy, big-endian":   {[]byte(legacy + "}X\x0d\x00\x00\x00little_endian\x89s.}.]."), "big-endian"},
		"torch, legacy, no list":      {[]byte(legacy + "}.}.N."), "list of its storages is missing"},
		"torch, legacy, unknown":      {[]byte(legacy + "}.}.]X\x01\x00\x00\x000a."), `storage "0" is listed, no tensor has it`},
		"torch, legacy, wrong number": {[]byte(legacy + "}." + state("FloatStorage", "0", 4, 0, []int{4}, []int{1}) + "]X\x01\x00\x00\x000a." + string(long)), "has 4611686018427387904 elements, 4 were announced"},
		"torch, legacy, cut off":      {[]byte(legacy + "}." + state("FloatStorage", "0", 4, 0, []int{4}, []int{1}) + "]X\x01\x00\x00\x000a.\x04\x00\x00\x00\x00\x00\x00\x00abc"), "storage 0: the file is cut off"},
	} {
		_, err := Parse(test.file)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %s", name, err, test.want)
		}
	}
}

// What a member claims to hold is refused before room is made for it.
func TestClaimsTakeNoMemory(t *testing.T) {
	data := npz(t, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4)
	at := bytes.LastIndex(data, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(data[at+24:], 4_000_000_000) // the uncompressed size
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Parse(data)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "claims 4000000000 bytes, too many for a file of") {
		t.Error(err)
	}
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 1<<20 {
		t.Errorf("%d bytes were taken", taken)
	}
}

func TestUnknownFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	if err := os.WriteFile(path, []byte("\x89HDF\r\n\x1a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); !errors.Is(err, ErrUnknownFormat) || !strings.HasPrefix(fmt.Sprint(err), path) {
		t.Error(err)
	}
	if _, err := Read(path + ".absent"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, data := range goldenFiles(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if file, err := Parse(data); err == nil {
			checkFile(t, "fuzzed", file)
		}
	})
}

// FuzzPickle leaves out the archive around a pickle, whose sums a fuzzer
// rarely gets right.
func FuzzPickle(f *testing.F) {
	f.Add([]byte(state("FloatStorage", "0", 4, 0, []int{2, 2}, []int{1, 2})))
	f.Add(torchPickle([]torchItem{{name: "a", class: "FloatStorage", shape: []int{2, 2}}}))
	f.Fuzz(func(t *testing.T, pickle []byte) {
		root, err := newStateReader(pickle).load()
		if err != nil {
			return
		}
		b := newBudget(pickle)
		file, err := stateDict(root, b, func(s *storage) error {
			s.raw = make([]byte, 16*s.kind.size)
			return nil
		})
		if err == nil {
			checkFile(t, "fuzzed", file)
		}
	})
}
