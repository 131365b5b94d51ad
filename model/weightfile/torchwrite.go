package weightfile

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// torchPickle returns the pickle of a state dict as torch.save writes it,
// protocol 2. The storage of item i has the key i.
func torchPickle(items []torchItem) []byte {
	var p pickler
	p.code("\x80\x02")
	p.emptyOrderedDict()
	p.code("(")
	for i, it := range items {
		p.text(it.name)
		p.code("ctorch._utils\n_rebuild_tensor_v2\n((")
		p.text("storage")
		p.code("ctorch\n" + it.class + "\n")
		p.text(fmt.Sprint(i))
		p.text("cpu")
		n, _ := count(it.shape)
		p.number(n)
		p.code("tQK\x00")
		p.numbers(it.shape)
		p.numbers(strides(it.shape))
		p.code("\x89")
		p.emptyOrderedDict() // hooks
		p.code("tR")
	}
	p.code("u.")
	return p
}

// torchItem is one entry of a state dict to be written.
type torchItem struct {
	name  string
	class string // of the storage
	shape []int
	raw   []byte
}

// pickler is a pickle in the making.
type pickler []byte

func (p *pickler) code(ops string) { *p = append(*p, ops...) }

func (p *pickler) emptyOrderedDict() { p.code("ccollections\nOrderedDict\n)R") }

func (p *pickler) text(s string) {
	*p = binary.LittleEndian.AppendUint32(append(*p, 'X'), uint32(len(s)))
	p.code(s)
}

func (p *pickler) number(n int) {
	*p = binary.LittleEndian.AppendUint32(append(*p, 'J'), uint32(n))
}

func (p *pickler) numbers(list []int) {
	p.code("(")
	for _, n := range list {
		p.number(n)
	}
	p.code("t")
}

// encodeTorch writes a state dict as torch.save does.
func encodeTorch(f *File) ([]byte, error) {
	items := f.torchItems()
	members := []member{{"archive/" + pickleName, torchPickle(items)}, {"archive/byteorder", []byte("little")}}
	for i, it := range items {
		members = append(members, member{fmt.Sprint("archive/data/", i), it.raw})
	}
	members = append(members, member{"archive/version", []byte("3\n")})
	if f.Meta != nil {
		members = append(members, member{"archive/" + metaRecord, metaText(f.Meta)})
	}
	return writeZip(members)
}

// torchItems returns the tensors by PyTorch's names, in their order, with the
// counter that PyTorch's batch normalisation has.
func (f *File) torchItems() []torchItem {
	var items []torchItem
	for _, name := range slices.Sorted(maps.Keys(f.Tensors)) {
		t := f.Tensors[name]
		it := torchItem{name: torchName(name), class: "FloatStorage", shape: t.Shape, raw: encode(t.Data)}
		items = append(items, it)
		if layer, ok := strings.CutSuffix(it.name, ".running_var"); ok {
			items = append(items, torchItem{name: layer + ".num_batches_tracked", class: "LongStorage", raw: make([]byte, 8)})
		}
	}
	return items
}
