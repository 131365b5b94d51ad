package jobs

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/coco"
	"github.com/evopose/evopose/search/jobs/jobstest"
)

// writeSet writes a data set of two pictures with people, one of them in a
// folder, and one picture without.
func writeSet(t *testing.T, name string) Set {
	t.Helper()
	dir := t.TempDir()
	type object = map[string]any
	images, annotations := []object{}, []object{}
	keypoints := make([]int, 3*model.Keypoints)
	keypoints[0], keypoints[1], keypoints[2] = 4, 5, 2
	for i, file := range []string{"a.jpg", "more/b.jpg", "nobody.jpg"} {
		images = append(images, object{"id": i + 1, "file_name": file, "width": 10, "height": 10})
		path := filepath.Join(dir, "pictures", file)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name+file), 0o600); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			annotations = append(annotations, object{"id": i + 1, "image_id": i + 1, "category_id": 1, "bbox": []int{1, 1, 8, 8}, "keypoints": keypoints, "num_keypoints": 1})
		}
	}
	data, err := json.Marshal(object{"images": images, "annotations": annotations, "categories": []object{{"id": 1, "name": "person"}}, "info": name})
	if err != nil {
		t.Fatal(err)
	}
	s := Set{Annotations: filepath.Join(dir, name+".json"), Images: filepath.Join(dir, "pictures")}
	if err := os.WriteFile(s.Annotations, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// setup runs a worker until its evaluator is made, and returns what it is made
// from.
func setup(t *testing.T, w Worker) (Setup, error) {
	t.Helper()
	var got Setup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.Factory = func(_ context.Context, s Setup) (search.Evaluator, error) {
		got = s
		cancel()
		return jobstest.Evaluator{}, nil
	}
	w.Log = logger(t)
	err := w.Work(ctx)
	return got, err
}

func withData(t *testing.T, send bool) (*Broker, Data) {
	t.Helper()
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	s := quick("data")
	s.Data = Data{Train: []Set{writeSet(t, "one"), writeSet(t, "two")}, Val: []Set{writeSet(t, "three")}}
	s.SendData = send
	open(t, b.Connection(), s)
	return b, s.Data
}

// A worker with only the URL gets the data sets from the broker.
func TestDataFromBroker(t *testing.T) {
	b, data := withData(t, true)
	cache := t.TempDir()
	w := Worker{Connection: b.Connection(), Cache: cache}
	if _, err := setup(t, w); err != nil {
		t.Fatal(err)
	}
	got, err := setup(t, w) // from the cache
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Data.Train) != 2 || len(got.Data.Val) != 1 || string(got.Settings) != `{"epochs":3}` || got.Search != "data" {
		t.Fatalf("setup %+v", got)
	}
	for i, want := range data.sets() {
		s := got.Data.sets()[i]
		labels, err := coco.Load(s.Annotations, s.Images)
		if err != nil || len(labels.Images) != 3 {
			t.Fatalf("set %d: %+v, %v", i, labels, err)
		}
		a, errA := os.ReadFile(filepath.Join(s.Images, "more", "b.jpg"))
		z, errZ := os.ReadFile(filepath.Join(want.Images, "more", "b.jpg"))
		if errA != nil || errZ != nil || !bytes.Equal(a, z) {
			t.Errorf("set %d: %q, %v; want %q, %v", i, a, errA, z, errZ)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "datasets", ".incoming-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A worker's own data sets may be given in any order; what differs from the
// search's is named.
func TestOwnData(t *testing.T) {
	b, data := withData(t, false)
	w := Worker{Connection: b.Connection(), Data: Data{Train: []Set{data.Train[1], data.Train[0]}, Val: data.Val}}
	got, err := setup(t, w)
	if err != nil || fmt.Sprint(got.Data) != fmt.Sprint(data) {
		t.Fatalf("data %v, error %v; want %v", got.Data, err, data)
	}
	refused := func(what string, want ...string) {
		t.Helper()
		_, err := setup(t, w)
		for _, text := range want {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: error %v, want %q", what, err, text)
			}
		}
	}
	picture := filepath.Join(data.Train[1].Images, "more", "b.jpg")
	if err := os.WriteFile(picture, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("a picture differs", picture, "7 bytes", "copy the data set again")
	if err := os.Remove(picture); err != nil {
		t.Fatal(err)
	}
	refused("a picture is missing", picture, "not on this worker")
	w.Data.Val = nil
	w.Data.Train = w.Data.Train[1:]
	refused("a set is missing", "two.json", "none of this worker's 1 sets")
	w.Data = Data{}
	refused("no data here, none there", "--send-data", "one.json")
}

// A search whose pictures are not all there does not begin.
func TestMissingPicture(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	s := quick("missing")
	s.Data.Train = []Set{writeSet(t, "one")}
	if err := os.Remove(filepath.Join(s.Data.Train[0].Images, "nobody.jpg")); err != nil {
		t.Fatal(err)
	}
	open(t, b.Connection(), s) // that one is not used
	if err := os.Remove(filepath.Join(s.Data.Train[0].Images, "more", "b.jpg")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), b.Connection(), s, Options{}); err == nil || !strings.Contains(err.Error(), "b.jpg") {
		t.Errorf("error %v", err)
	}
}

// An archive must hold the files of the list, and nothing else.
func TestReadArchive(t *testing.T) {
	s := writeSet(t, "one")
	f, err := s.files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var good bytes.Buffer
	if err := writeArchive(&good, f, s); err != nil {
		t.Fatal(err)
	}
	if err := readArchive(bytes.NewReader(good.Bytes()), f, t.TempDir()); err != nil {
		t.Error(err)
	}
	other := f
	other.Images = append([]fileSum{{"c.jpg", 1, sum([]byte("c"))}}, f.Images...)
	outside := f
	outside.Images = []fileSum{{"../c.jpg", 1, sum([]byte("c"))}}
	changed := f
	changed.Images = append([]fileSum{{f.Images[0].Name, f.Images[0].Size, sum([]byte("c"))}}, f.Images[1:]...)
	fewer := f
	fewer.Images = f.Images[:1]
	for want, f := range map[string]fileSet{"lacks images/c.jpg": other, "leads out of": outside, "a.jpg arrived with SHA-256": changed, "not in the list": fewer} {
		if err := readArchive(bytes.NewReader(good.Bytes()), f, t.TempDir()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	var evil bytes.Buffer
	w := tar.NewWriter(&evil)
	if err := addFile(w, "../evil", s.Annotations, f.Annotations); err != nil {
		t.Fatal(err)
	}
	if err := readArchive(&evil, f, t.TempDir()); err == nil || !strings.Contains(err.Error(), `"../evil"`) {
		t.Errorf("error %v", err)
	}
	if err := readArchive(bytes.NewReader(good.Bytes()[:700]), f, t.TempDir()); err == nil {
		t.Error("half an archive is accepted")
	}
	if err := writeArchive(&good, changed, s); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("error %v", err)
	}
}
