package search

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
)

func openJournal(t testing.TB, dir string, h Header) *Journal {
	t.Helper()
	j, err := OpenJournal(dir, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// sample is an entry whose fields are all set, with numbers that JSON must not
// round.
func sample(id int) Entry {
	return Entry{
		Job{ID: id, Generation: 2, Parent: 3, Genotype: model.GenotypeS, Mutations: []string{"stage 3 kernel 5 -> 3"},
			Seed: 1<<63 + 1, Epochs: 5, ParentWeights: "ab", StopAbove: []float64{0.1}},
		Result{ID: id, Loss: 0.1 + 0.2, Losses: []float64{1.0 / 3, 0.1 + 0.2}, Parameters: 1, MultiplyAdds: 1 << 60, Latency: 1e-3, Seconds: 1e9,
			Worker: "a", Transfer: "all", Weights: "cd"},
	}
}

func TestJournalKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	h := Header{Settings: small(), Evaluation: map[string]string{"batch": "16"}, Command: "evopose search"}
	j := openJournal(t, dir, h)
	failed := Entry{Job{ID: 9, Parent: 1, Genotype: model.GenotypeXS}, Result{ID: 9, Failed: "out of memory"}}
	for _, e := range []Entry{sample(4), failed, sample(2)} {
		if err := j.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	want := []Entry{sample(2), sample(4), failed}
	later := h
	later.Command, later.Settings.Generations = "evopose search --generations 9", 9
	again := openJournal(t, dir, later)
	header, entries, err := ReadJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]Entry{"Append": j.Entries(), "OpenJournal": again.Entries(), "ReadJournal": entries} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if diff := cmp.Diff(h, header); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(h, again.Header()); diff != "" {
		t.Error(diff)
	}
}

// The journal of another search is refused, and told apart by name.
func TestJournalOfAnotherSearch(t *testing.T) {
	dir := t.TempDir()
	h := Header{Settings: small(), Evaluation: map[string]string{"batch": "16", "data": "aa"}}
	_ = openJournal(t, dir, h)
	before, _ := os.ReadFile(filepath.Join(dir, JournalFile))
	for want, change := range map[string]func(*Header){
		"seed: 3 there, 18446744073709551615 here": func(h *Header) { h.Settings.Seed = 1<<64 - 1 },
		"children: 8 there, 9 here":                func(h *Header) { h.Settings.Children = 9 },
		"size: 128x96 there, 64x64 here":           func(h *Header) { h.Settings.Size = model.Size{H: 64, W: 64} },
		"window: none there, 4 here":               func(h *Header) { h.Settings.Window = 4 },
		"ancestor: 3,1,2,1 3,2,3,2":                func(h *Header) { h.Settings.Ancestor = model.GenotypeS },
		"data: aa there, bb here":                  func(h *Header) { h.Evaluation = map[string]string{"batch": "16", "data": "bb"} },
		"batch: 16 there, none here":               func(h *Header) { h.Evaluation = map[string]string{"data": "aa"} },
	} {
		other := h
		change(&other)
		_, err := OpenJournal(dir, other)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir+" holds another search") {
			t.Errorf("error %v, want %q", err, want)
		}
		if lines := strings.Count(err.Error(), "\n"); lines != 1 {
			t.Errorf("%d differences, want 1: %v", lines, err)
		}
	}
	if after, _ := os.ReadFile(filepath.Join(dir, JournalFile)); !bytes.Equal(before, after) {
		t.Error("a refusal changed the journal")
	}
}

func TestDamagedJournal(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Header{Settings: small()})
	for id := range 3 {
		if err := j.Append(sample(id)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, JournalFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(good, []byte("\n"))
	for name, tt := range map[string]struct {
		line int
		text string
		want string
	}{
		"cut within":    {2, `{"job":{"id":1`, "line 3: "},
		"no JSON":       {1, "hello", "line 2: "},
		"unknown field": {1, `{"job":{"id":0},"result":{"id":0},"more":1}`, "line 2: json: unknown field \"more\""},
		"two values":    {1, `{"job":{"id":0},"result":{"id":0}} {}`, "line 2: "},
		"wrong pair":    {2, `{"job":{"id":1,"genotype":"` + model.GenotypeS.String() + `"},"result":{"id":2}}`, "line 3: a job 1 with the result of 2"},
		"rule broken":   {2, `{"job":{"id":1,"genotype":"7,1,2,1 3,2,3,2 5,2,5,2 3,3,10,2 5,3,14,1 5,4,24,2 3,1,40,1"},"result":{"id":1}}`, "stage 1: kernel is 7: want one of [3 5]"},
		"header":        {0, "{}{}", "line 1: "},
	} {
		damaged := append([][]byte{}, lines...)
		damaged[tt.line] = []byte(tt.text + "\n")
		text := bytes.Join(damaged, nil)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenJournal(dir, Header{Settings: small()})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, text) {
			t.Errorf("%s: the file was changed", name)
		}
		if _, _, err := ReadJournal(dir); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// hoard keeps what a whole search threw away, since it was not thrown away yet
// when the journal was shorter.
type hoard struct{ *Local }

func (hoard) Drop(context.Context, []Result) {}

// Killed at any byte of the journal, a search ends as it would have: the file
// is cut after each line and, every so often, within lines.
func TestKilledAtEveryLine(t *testing.T) {
	s := small()
	s.Generations = 2
	whole := t.TempDir()
	engine := hoard{newLocal(t, &fake{delay: true}, 3)}
	want, err := searchOn(t, whole, s, engine, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(whole, JournalFile))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(data) + 1 {
		atEnd := n == 0 || data[n-1] == '\n'
		if !atEnd && n%211 != 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(whole, JournalFile), data[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		var o teller
		got, err := searchOn(t, whole, s, engine, &o)
		if err != nil {
			t.Fatalf("killed at %d: %v", n, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("killed at %d: %s", n, diff)
		}
		if kept := max(bytes.Count(data[:n], []byte("\n"))-1, 0); o.kept != kept || o.fresh != len(want)-kept {
			t.Errorf("killed at %d: %d kept, %d evaluated, want %d and %d", n, o.kept, o.fresh, kept, len(want)-kept)
		}
	}
}

// A block of the last line that did not reach the disk reads as zeros.
func TestTornLineWithItsEnd(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Header{Settings: small()})
	if err := j.Append(sample(0)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, JournalFile)
	good, _ := os.ReadFile(path)
	if err := os.WriteFile(path, append(good, "\x00\x00\x00\x00}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	again := openJournal(t, dir, Header{Settings: small()})
	if err := again.Append(sample(1)); err != nil {
		t.Fatal(err)
	}
	_, entries, err := ReadJournal(dir)
	if diff := cmp.Diff([]Entry{sample(0), sample(1)}, entries); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// The order of lines does not matter, nor does one that is there twice.
func TestOrderOfLines(t *testing.T) {
	s := small()
	s.Generations = 2
	dir := t.TempDir()
	want, err := searchIn(t, dir, s, &fake{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, JournalFile)
	data, _ := os.ReadFile(path)
	lines := bytes.SplitAfter(data, []byte("\n"))
	turned := append([]byte{}, lines[0]...)
	for i := len(lines) - 1; i > 0; i-- {
		turned = append(turned, lines[i]...)
	}
	if err := os.WriteFile(path, append(turned, lines[3]...), 0o600); err != nil {
		t.Fatal(err)
	}
	var o teller
	got, err := searchIn(t, dir, s, &fake{}, 1, &o)
	if diff := cmp.Diff(want, got); err != nil || diff != "" || o.fresh != 0 {
		t.Error(err, diff, o.fresh)
	}
}

// An entry that these settings would not lead to stops the search.
func TestEditedJournal(t *testing.T) {
	dir, s := t.TempDir(), small()
	s.Generations = 1
	if _, err := searchIn(t, dir, s, &fake{}, 1, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, JournalFile)
	data, _ := os.ReadFile(path)
	edited := bytes.Replace(data, []byte(`"parent":0`), []byte(`"parent":1`), 1)
	if err := os.WriteFile(path, edited, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := searchIn(t, dir, s, &fake{}, 1, nil); err == nil || !strings.Contains(err.Error(), "evaluation 1 is that of") {
		t.Errorf("error %v", err)
	}
}

func TestReadJournalOfNothing(t *testing.T) {
	if _, _, err := ReadJournal(t.TempDir()); err == nil || !strings.Contains(err.Error(), "holds no search") {
		t.Errorf("error %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, JournalFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadJournal(dir); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("error %v", err)
	}
}

// When a line cannot be written the journal stays as it was.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Header{Settings: small()})
	if err := j.Append(sample(0)); err != nil {
		t.Fatal(err)
	}
	_ = j.file.Close() // every write fails from here on
	if err := j.Append(sample(1)); err == nil || !strings.Contains(err.Error(), "all before is kept") {
		t.Errorf("error %v", err)
	}
	if got := j.Entries(); len(got) != 1 {
		t.Errorf("%d entries", len(got))
	}
	if _, entries, err := ReadJournal(dir); err != nil || len(entries) != 1 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(file, Header{}); err == nil || !strings.Contains(err.Error(), "the search's folder") {
		t.Errorf("error %v", err)
	}
}
