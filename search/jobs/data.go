package jobs

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/evopose/evopose/search/coco"
)

// Data are the labelled pictures of a search, in the order in which its
// settings speak of them.
type Data struct {
	Train []Set `json:"train"`
	Val   []Set `json:"val"`
}

// Set is a COCO annotation file with the folder of its pictures, on this
// machine.
type Set struct {
	Annotations string `json:"annotations"`
	Images      string `json:"images"`
}

func (d Data) sets() []Set { return append(append([]Set(nil), d.Train...), d.Val...) }

// manifest says which files a search's data sets are made of.
type manifest struct {
	Train int       `json:"train"` // the first sets are for training, the others for validation
	Sets  []fileSet `json:"sets"`
}

type fileSet struct {
	Annotations fileSum   `json:"annotations"`
	Images      []fileSum `json:"images"` // the pictures with labelled people, in the order of the annotations
}

// fileSum is a file of a set. Its name is relative to the folder of pictures.
type fileSum struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Sum  string `json:"sha256"`
}

// newManifest reads every file of the data once.
func newManifest(ctx context.Context, d Data) (manifest, error) {
	m := manifest{Train: len(d.Train)}
	for _, s := range d.sets() {
		f, err := s.files(ctx)
		if err != nil {
			return m, err
		}
		m.Sets = append(m.Sets, f)
	}
	return m, nil
}

func (s Set) files(ctx context.Context) (f fileSet, err error) {
	labels, err := coco.Load(s.Annotations, s.Images)
	if err != nil {
		return f, err
	}
	if f.Annotations, err = sumFile(filepath.Dir(s.Annotations), filepath.Base(s.Annotations)); err != nil {
		return f, err
	}
	wanted, seen := labelled(labels), map[string]bool{}
	for _, i := range labels.Images {
		if !wanted[i.ID] || seen[i.FileName] {
			continue
		}
		seen[i.FileName] = true
		if err := context.Cause(ctx); err != nil {
			return f, err
		}
		one, err := sumFile(s.Images, i.FileName)
		if err != nil {
			return f, fmt.Errorf("%s names a picture that is not there: %w", s.Annotations, err)
		}
		f.Images = append(f.Images, one)
	}
	return f, nil
}

// labelled returns the pictures in which a person has keypoints; the others are
// not used.
func labelled(d *coco.Dataset) map[int64]bool {
	wanted := map[int64]bool{}
	for i := range d.Annotations {
		if a := &d.Annotations[i]; !a.Crowd && a.Labelled() > 0 {
			wanted[a.ImageID] = true
		}
	}
	return wanted
}

// sumFile returns size and SHA-256 of a file in a folder. A name that leads out
// of the folder is an error.
func sumFile(dir, name string) (fileSum, error) {
	if !filepath.IsLocal(name) {
		return fileSum{}, fmt.Errorf("file name %q leads out of %s", name, dir)
	}
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return fileSum{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return fileSum{}, err
	}
	return fileSum{name, n, hex.EncodeToString(h.Sum(nil))}, nil
}

// putData stores the manifest of a search's data and, if asked for, the files
// themselves. It returns the manifest's name; empty without data.
func (c *Coordinator) putData(ctx context.Context, s Search) (string, error) {
	sets := s.Data.sets()
	if len(sets) == 0 {
		return "", nil
	}
	m, err := newManifest(ctx, s.Data)
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	name, err := c.store.put(ctx, "list of the data sets' files", data, nil)
	if err != nil || !s.SendData {
		return name, err
	}
	for i, f := range m.Sets {
		if err := c.sendSet(ctx, f, sets[i]); err != nil {
			return "", fmt.Errorf("%s: %w", sets[i].Annotations, explainStore(err))
		}
	}
	return name, nil
}

// archive is the name of a set's archive in the store.
func (f fileSet) archive() string { return "set-" + f.sum() }

// sum identifies a set by all its files.
func (f fileSet) sum() string {
	data, _ := json.Marshal(f) // strings and numbers
	return sum(data)
}

// sendSet stores a set as one archive, unless it is there.
func (c *Coordinator) sendSet(ctx context.Context, f fileSet, s Set) error {
	have, err := c.store.has(ctx, f.archive())
	if err != nil || have {
		return err
	}
	c.log.Info("storing a data set on the broker", zap.String("annotations", s.Annotations), zap.Int("pictures", len(f.Images)))
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeArchive(w, f, s)) }()
	_, err = c.store.objects.Put(ctx, jetstream.ObjectMeta{Name: f.archive(), Description: s.Annotations}, r)
	r.CloseWithError(errors.New("the broker did not take it all"))
	return err
}

// writeArchive writes annotations, then pictures. A file that is not as it was
// summed is an error.
func writeArchive(w io.Writer, f fileSet, s Set) error {
	t := tar.NewWriter(w)
	if err := addFile(t, "annotations.json", s.Annotations, f.Annotations); err != nil {
		return err
	}
	for _, i := range f.Images {
		if err := addFile(t, "images/"+filepath.ToSlash(i.Name), filepath.Join(s.Images, i.Name), i); err != nil {
			return err
		}
	}
	return t.Close()
}

func addFile(t *tar.Writer, name, path string, want fileSum) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if sum(data) != want.Sum {
		return fmt.Errorf("%s changed while it was read", path)
	}
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err = t.Write(data)
	return err
}

// readArchive unpacks a set into a folder. Every file must be one of the set's,
// with its SHA-256, and none may lack.
func readArchive(r io.Reader, f fileSet, dir string) error {
	want := map[string]fileSum{"annotations.json": f.Annotations}
	for _, i := range f.Images {
		if !filepath.IsLocal(i.Name) {
			return fmt.Errorf("file name %q leads out of the folder", i.Name)
		}
		want["images/"+filepath.ToSlash(i.Name)] = i
	}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		w, ok := want[h.Name]
		if !ok || h.Size != w.Size {
			return fmt.Errorf("the archive has %q of %d bytes, which is not in the list of files", h.Name, h.Size)
		}
		if err := unpack(t, w, filepath.Join(dir, filepath.FromSlash(h.Name))); err != nil {
			return err
		}
		delete(want, h.Name)
	}
	for name := range want {
		return fmt.Errorf("the archive lacks %s and %d more", name, len(want)-1)
	}
	return nil
}

func unpack(r io.Reader, want fileSum, path string) error {
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		return err
	}
	if got := sum(b.Bytes()); got != want.Sum {
		return fmt.Errorf("%s arrived with SHA-256 %.12s, want %.12s", want.Name, got, want.Sum)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// describe names a file for messages.
func (f fileSum) describe() string {
	return fmt.Sprintf("%s (%d bytes, SHA-256 %s)", f.Name, f.Size, strings.ToLower(f.Sum[:min(12, len(f.Sum))]))
}
