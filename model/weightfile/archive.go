package weightfile

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
)

// readMember returns the content of a member of a zip archive.
func readMember(m *zip.File, b *budget) ([]byte, error) {
	size := m.UncompressedSize64
	if err := b.take(size); err != nil {
		return nil, fmt.Errorf("%s %w", m.Name, err)
	}
	r, err := m.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	defer r.Close()
	content := bytes.NewBuffer(make([]byte, 0, min(size, uint64(b.file))+bytes.MinRead))
	// One more than claimed: only at its end is a member's sum compared.
	if _, err := content.ReadFrom(io.LimitReader(r, int64(size)+1)); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", m.Name, err)
	}
	return content.Bytes(), nil
}

// member is one file to be written into an archive.
type member struct {
	name string
	data []byte
}

// alignment is that of the members' content, as PyTorch has it, so that
// readers may map them into memory.
const alignment = 64

// writeZip returns an archive of the members, not compressed: weights hardly
// are, and other readers want them as they are. It has no times, so that the
// same weights give the same bytes.
func writeZip(members []member) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(m.data),
			CompressedSize64: uint64(len(m.data)), UncompressedSize64: uint64(len(m.data))}
		if err := z.Flush(); err != nil {
			return nil, err
		}
		h.Extra = padding(out.Len() + localHeader + len(m.name))
		w, err := z.CreateRaw(h)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(m.data); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// localHeader is the length of what stands before a member's name.
const localHeader = 30

// padding returns an extra field of zeros that ends at a multiple of alignment
// when it begins at offset at. Its tag, FB, is PyTorch's.
func padding(at int) []byte {
	n := (alignment - (at+4)%alignment) % alignment
	return append([]byte{'F', 'B', byte(n), 0}, make([]byte, n)...)
}
