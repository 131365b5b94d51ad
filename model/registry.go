package model

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ErrUnknownModel is wrapped by Registry.Load's error for a name that no card
// and no built-in model has.
var ErrUnknownModel = errors.New("unknown model")

// ErrChecksum is wrapped by Registry.Load's error for a file whose SHA-256 is
// not the one its card states.
var ErrChecksum = errors.New("checksum mismatch")

const (
	maxCardBytes = 1 << 20
	// maxModelBytes is the most that a protobuf message, hence an ONNX file
	// without external data, may hold.
	maxModelBytes = math.MaxInt32
	// family is the prefix of the names of the published networks, which
	// Resolve lets people leave away.
	family = "evopose2d-"
)

// Builtin is a model that needs no file: Build returns its ONNX bytes.
type Builtin struct {
	Card  Card
	Build func() ([]byte, error)
}

// Check returns an error when the ONNX bytes are not the network that the card
// describes. Package model cannot read ONNX itself; package onnx has the
// function.
type Check func(onnx []byte, card Card) error

// Registry knows every model that can be loaded by name: the built-in ones
// and those of a directory. It is safe for concurrent use. It reads the cards
// once, when it is opened, and an ONNX file each time it is loaded.
type Registry struct {
	dir    string
	check  Check
	broken map[string]error

	mu     sync.Mutex // guards the cards, into which Load writes sums
	models map[string]*entry
}

// entry is a model: its card and, for a built-in one, how it is built.
type entry struct {
	card  Card
	build func() ([]byte, error)
}

// OpenRegistry reads the cards, dir/*.yaml, of a models directory and adds the
// built-in models. A card takes the place of a built-in model of the same name.
// The directory may be absent, and empty means none. A card that is wrong, or
// an ONNX file without a card, does not keep the others from loading: see
// Broken. The error is for a directory that is there and cannot be read.
func OpenRegistry(dir string, builtin ...Builtin) (*Registry, error) {
	return OpenCheckedRegistry(dir, nil, builtin...)
}

// OpenCheckedRegistry is OpenRegistry with a check that Load makes of every
// model beside its checksum; nil means none.
func OpenCheckedRegistry(dir string, check Check, builtin ...Builtin) (*Registry, error) {
	r := &Registry{dir: dir, check: check, broken: make(map[string]error), models: make(map[string]*entry)}
	for _, b := range builtin {
		r.addBuiltin(b)
	}
	if dir == "" {
		return r, nil
	}
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("models directory: %w", err)
	}
	r.addDir(files)
	return r, nil
}

func (r *Registry) addBuiltin(b Builtin) {
	c := b.Card
	if err := errors.Join(CheckName(c.Name), c.check(), c.derive()); err != nil {
		r.broken[c.Name] = fmt.Errorf("built-in model %s: %w", c.Name, err)
		return
	}
	r.models[c.Name] = &entry{card: c, build: b.Build}
}

// addDir adds every card among the files, and marks as broken the cards that
// are wrong and the ONNX files that no card names.
func (r *Registry) addDir(files []fs.DirEntry) {
	described := make(map[string]bool)
	for _, f := range files {
		name, isCard := strings.CutSuffix(f.Name(), ".yaml")
		if !isCard || strings.HasPrefix(name, ".") {
			continue
		}
		described[name+".onnx"] = true
		c, err := r.readCard(name)
		if err != nil {
			r.setBroken(name, fmt.Errorf("%s: %w", filepath.Join(r.dir, f.Name()), err))
			continue
		}
		if c.File != "" {
			described[filepath.Clean(c.File)] = true
			r.models[name] = &entry{card: c}
		}
	}
	for _, f := range files {
		name, isONNX := strings.CutSuffix(f.Name(), ".onnx")
		if isONNX && !described[f.Name()] && !strings.HasPrefix(name, ".") {
			path := filepath.Join(r.dir, f.Name())
			r.setBroken(name, fmt.Errorf("%s has no card %s.yaml; make one with evopose export --weights %s --out %s",
				path, name, path, path))
		}
	}
}

// setBroken marks a name as broken. It hides a built-in model of that name:
// who put a file there does not want the built-in one in its stead.
func (r *Registry) setBroken(name string, err error) {
	delete(r.models, name)
	r.broken[name] = err
}

// readCard reads the card name.yaml of the directory.
func (r *Registry) readCard(name string) (Card, error) {
	text, err := r.readFile(name+".yaml", maxCardBytes)
	if err != nil {
		return Card{}, err
	}
	c, err := ParseCard(text)
	if err != nil {
		return Card{}, err
	}
	if c.Name != name {
		return Card{}, fmt.Errorf("name: %q: want %q, as the file is named", c.Name, name)
	}
	if c.File == "" {
		return c, r.checkFileless(c)
	}
	if err := r.checkExists(c.File); err != nil {
		return Card{}, fmt.Errorf("file: %q: %w", c.File, err)
	}
	return c, nil
}

// checkFileless lets through the card of a built-in model itself, as it lies
// in the project's own models directory, and no other card without a file.
func (r *Registry) checkFileless(c Card) error {
	b, ok := r.models[c.Name]
	if !ok {
		return errors.New("file: missing: want the ONNX file beside the card; only a built-in model has none")
	}
	if c.Genotype != b.card.Genotype || c.Input != b.card.Input || c.Seed != b.card.Seed || c.Trained != b.card.Trained {
		return fmt.Errorf("file: missing: without a file this is the card of the built-in model, "+
			"whose genotype %q, input %s, seed %d and trained %t a card cannot change; want an ONNX file",
			b.card.Genotype, b.card.Input, b.card.Seed, b.card.Trained)
	}
	return nil
}

// open opens a file of the directory; a path or a link that leads out of it is
// refused.
func (r *Registry) open(name string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenInRoot(r.dir, filepath.FromSlash(name))
	if err != nil {
		return nil, nil, plain(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func (r *Registry) checkExists(name string) error {
	f, _, err := r.open(name)
	if err != nil {
		return err
	}
	return f.Close()
}

// plain takes the operation and the path off a file error: the message that
// holds it names the path already.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// readFile reads a file of the directory of at most limit bytes.
func (r *Registry) readFile(name string, limit int64) ([]byte, error) {
	f, info, err := r.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > limit {
		return nil, fmt.Errorf("%d bytes: want at most %d", info.Size(), limit)
	}
	// ReadFull rather than ReadAll: one allocation, and a file that grows
	// meanwhile is not followed.
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, err
	}
	return b, nil
}

// Names returns the names of the models that Load can be asked for, sorted.
// Broken ones are not among them.
func (r *Registry) Names() []string { return slices.Sorted(maps.Keys(r.models)) }

// Broken returns what is wrong with the cards that could not be read and with
// the ONNX files that have none, by the file's name without its extension.
func (r *Registry) Broken() map[string]error { return maps.Clone(r.broken) }

// Card returns the card of a model, and whether there is one of that name. The
// SHA256 of a built-in model is known after its first Load. The card's map and
// slice are shared: do not write to them.
func (r *Registry) Card(name string) (Card, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.models[name]; ok {
		return e.card, true
	}
	return Card{}, false
}

// Resolve returns the full name of a model: "s" is "evopose2d-s" when there is
// no model "s" and there is one, working or broken, of the full name. Any other
// name comes back unchanged.
func (r *Registry) Resolve(name string) string {
	if !r.has(name) && r.has(family+name) {
		return family + name
	}
	return name
}

func (r *Registry) has(name string) bool {
	return r.models[name] != nil || r.broken[name] != nil
}

// Load returns the ONNX bytes of a model and its card with every field filled.
// The error is an ErrUnknownModel for a name that there is not, what Broken
// has for a broken one, and an ErrChecksum for a file that is not the one its
// card was written for.
func (r *Registry) Load(name string) ([]byte, Card, error) {
	if err := r.broken[name]; err != nil {
		return nil, Card{}, fmt.Errorf("model %s: %w", name, err)
	}
	card, ok := r.Card(name)
	if !ok {
		return nil, Card{}, fmt.Errorf("%w %q: want one of %s", ErrUnknownModel, name, strings.Join(r.Names(), ", "))
	}
	onnx, place, err := r.read(card)
	if err == nil {
		err = r.verify(onnx, &card)
	}
	if err != nil {
		return nil, Card{}, fmt.Errorf("model %s: %s: %w", name, place, err)
	}
	r.mu.Lock()
	r.models[name].card = card
	r.mu.Unlock()
	return onnx, card, nil
}

// read returns the bytes of a model, from its file or built, and the place
// they come from.
func (r *Registry) read(card Card) (onnx []byte, place string, err error) {
	if build := r.models[card.Name].build; build != nil {
		onnx, err = build()
		return onnx, "built-in", err
	}
	onnx, err = r.readFile(card.File, maxModelBytes)
	return onnx, filepath.Join(r.dir, filepath.FromSlash(card.File)), err
}

// verify returns an error unless the bytes are those that the card describes,
// and writes their sum into the card of a built-in model.
func (r *Registry) verify(onnx []byte, card *Card) error {
	sum := fmt.Sprintf("%x", sha256.Sum256(onnx))
	if card.SHA256 != "" && sum != card.SHA256 {
		return fmt.Errorf("%w: the card states sha256 %s, the file has %s; get the file again, "+
			"or write a new card with evopose export", ErrChecksum, card.SHA256, sum)
	}
	card.SHA256 = sum
	if r.check == nil {
		return nil
	}
	return r.check(onnx, *card)
}
