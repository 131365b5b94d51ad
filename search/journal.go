package search

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// JournalFile is the journal's name in a search's folder.
const JournalFile = "journal.jsonl"

// Header is a journal's first line: what was searched, and on what.
type Header struct {
	Settings Settings `json:"settings"`
	// Evaluation is what results depend on beside the settings, by name: data
	// by their sums, batch size and so on.
	Evaluation map[string]string `json:"evaluation,omitempty"`
	// Command is the command line that began the search.
	Command string `json:"command,omitempty"`
	// About is what cards say of the data, which may be moved later.
	About string `json:"about,omitempty"`
}

// ID names the search: the same for the same settings and evaluations, however
// many generations it has.
func (h Header) ID() string {
	data, _ := json.Marshal(flatten(h)) // a map of texts, in order
	return "search-" + SumOf(data)[:16]
}

// Journal keeps the evaluations of a search: JSON lines, the first the header,
// each other one an Entry. Each line is on the disk before Append returns. The
// state of a search is a function of these lines and not of their order.
type Journal struct {
	path    string
	file    *os.File
	size    int64 // of the whole lines
	header  Header
	entries map[int]Entry
}

// OpenJournal opens the journal of the search in a folder, which it makes if
// there is none. A last line that was torn by a crash is cut off. The journal
// of another search is refused with what differs; only Settings.Generations may
// differ, and Command and About, of which the first stay.
func OpenJournal(dir string, h Header) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("the search's folder: %w", err)
	}
	path := filepath.Join(dir, JournalFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("the search's journal: %w", err)
	}
	j := &Journal{path: path, file: file, header: h, entries: map[int]Entry{}}
	if err := j.open(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return j, nil
}

// ReadJournal reads the journal of a folder, for reports. It changes nothing,
// so it may be read while the search runs. The entries are in order of ID.
func ReadJournal(dir string) (Header, []Entry, error) {
	path := filepath.Join(dir, JournalFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Header{}, nil, fmt.Errorf("%s holds no search: it has no %s", dir, JournalFile)
	}
	if err != nil {
		return Header{}, nil, err
	}
	j := &Journal{path: path, entries: map[int]Entry{}}
	header, err := j.replay(data)
	if err == nil && header == nil {
		err = fmt.Errorf("%s is empty", path)
	}
	if err != nil {
		return Header{}, nil, err
	}
	return *header, j.Entries(), nil
}

// open replays the file, or begins it.
func (j *Journal) open() error {
	data, err := io.ReadAll(j.file)
	if err != nil {
		return err
	}
	header, err := j.replay(data)
	if err != nil {
		return err
	}
	if err := j.cut(); err != nil {
		return err
	}
	if header == nil {
		defer syncDir(filepath.Dir(j.path))
		return j.write(j.header)
	}
	if differ := differences(*header, j.header); differ != nil {
		return fmt.Errorf("%s holds another search: go on with its settings, or choose another folder; what differs:\n  %s",
			filepath.Dir(j.path), strings.Join(differ, "\n  "))
	}
	j.header = *header
	return nil
}

// syncDir brings a new file's name to the disk, where directories can be synced.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

// replay reads the lines. It returns the header, nil if there is none, and sets
// size to the end of the last whole line.
func (j *Journal) replay(data []byte) (*Header, error) {
	var header *Header
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			return header, nil
		}
		var err error
		if n == 1 {
			err = decodeLine(line, &header)
		} else {
			err = j.add(line)
		}
		if err != nil && len(rest) == 0 {
			return header, nil // torn: a block of the line did not reach the disk
		}
		if err != nil {
			return nil, fmt.Errorf("%s line %d: %w: the file is damaged; repair the line, or take it out and it is evaluated again", j.path, n, err)
		}
		j.size += int64(len(line)) + 1
		data = rest
	}
}

// add keeps the entry of a line. Of two with an ID the first counts.
func (j *Journal) add(line []byte) error {
	var e Entry
	if err := decodeLine(line, &e); err != nil {
		return err
	}
	if e.Job.ID != e.Result.ID {
		return fmt.Errorf("a job %d with the result of %d", e.Job.ID, e.Result.ID)
	}
	if _, ok := j.entries[e.Job.ID]; !ok {
		j.entries[e.Job.ID] = e
	}
	return nil
}

func decodeLine(line []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one value")
	}
	return nil
}

// cut takes off what follows the last whole line.
func (j *Journal) cut() error {
	if err := j.file.Truncate(j.size); err != nil {
		return fmt.Errorf("%s: %w", j.path, err)
	}
	_, err := j.file.Seek(j.size, io.SeekStart)
	return err
}

// Append adds an entry. After an error, such as a full disk, the journal is as
// it was before.
func (j *Journal) Append(e Entry) error {
	if err := j.write(e); err != nil {
		return err
	}
	j.entries[e.Job.ID] = e
	return nil
}

func (j *Journal) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	_, err = j.file.Write(line)
	if err = errors.Join(err, j.file.Sync()); err != nil {
		return fmt.Errorf("the journal was not written; all before is kept: %w", errors.Join(err, j.cut()))
	}
	j.size += int64(len(line))
	return nil
}

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }

// Path is the file's path.
func (j *Journal) Path() string { return j.path }

// Header returns the first line, as it was when the search began.
func (j *Journal) Header() Header { return j.header }

// Entries returns what was evaluated, in order of ID.
func (j *Journal) Entries() []Entry {
	var list []Entry
	for _, e := range j.entries {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Entry) int { return a.Job.ID - b.Job.ID })
	return list
}

func (j *Journal) find(id int) (Entry, bool) {
	e, ok := j.entries[id]
	return e, ok
}

// same refuses an evaluation that is not that of a job.
func (j *Journal) same(kept, job Job) error {
	if kept.Genotype == job.Genotype && kept.Parent == job.Parent && kept.Seed == job.Seed {
		return nil
	}
	return fmt.Errorf("%s: evaluation %d is that of %v from %d, but the results before it lead to %v from %d: "+
		"the file was edited or is another version's; choose another folder", j.path, job.ID, kept.Genotype, kept.Parent, job.Genotype, job.Parent)
}

// differences tells in lines how another header differs from that of a journal.
func differences(there, here Header) []string {
	a, b := flatten(there), flatten(here)
	var keys, lines []string
	for _, m := range []map[string]string{a, b} {
		for k := range m {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		if a[k] != b[k] {
			lines = append(lines, fmt.Sprintf("%s: %s there, %s here", k, orNone(a[k]), orNone(b[k])))
		}
	}
	return lines
}

func orNone(value string) string {
	if value == "" {
		return "none"
	}
	return value
}

// flatten returns a header's values that make it the search it is, by name.
func flatten(h Header) map[string]string {
	h.Settings.Generations = 0
	flat := map[string]string{}
	data, _ := json.Marshal(h.Settings) // of numbers and texts only
	var settings map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // seeds are beyond what a float64 holds
	_ = d.Decode(&settings)
	for k, v := range settings {
		flat[strings.ReplaceAll(k, "_", " ")] = fmt.Sprint(v)
	}
	for k, v := range h.Evaluation {
		flat[k] = v
	}
	return flat
}
