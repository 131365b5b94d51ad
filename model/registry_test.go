package model

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// put writes files, by name, into a new directory.
func put(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// cardText returns the text of a card of S whose file holds content.
func cardText(t *testing.T, name, file, content string) string {
	t.Helper()
	c := goodCard()
	c.Name, c.File, c.SHA256 = name, file, fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	text, err := MarshalCard(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func builtinS(build func() ([]byte, error)) Builtin {
	return Builtin{
		Card:  Card{Name: "evopose2d-s", Genotype: GenotypeS, Input: Size{256, 192}, Seed: 1, Data: "none", Licence: "Apache-2.0"},
		Build: build,
	}
}

func constantBuild() ([]byte, error) { return []byte("built"), nil }

// builtinText is the built-in model's own card as it lies in models/.
func builtinText(t *testing.T) string {
	t.Helper()
	text, err := MarshalCard(builtinS(nil).Card)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func open(t *testing.T, dir string, b ...Builtin) *Registry {
	t.Helper()
	r, err := OpenRegistry(dir, b...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRegistryOfBuiltins(t *testing.T) {
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "absent")} {
		r := open(t, dir, builtinS(constantBuild))
		if d := cmp.Diff([]string{"evopose2d-s"}, r.Names()); d != "" {
			t.Fatal(d)
		}
		c, ok := r.Card("evopose2d-s")
		if !ok || c.Parameters != 2531199 || c.Heatmap != (Size{128, 96}) || c.MultiplyAdds != 1064085440 {
			t.Errorf("card before Load: %+v, %t", c, ok)
		}
		onnx, c, err := r.Load("evopose2d-s")
		// printf built | sha256sum
		const sum = "586a866f990ab55e36decfffc2011f172e4452d5141c939a5436baffba11111d"
		if err != nil || string(onnx) != "built" || c.SHA256 != sum {
			t.Fatalf("Load: %q, %+v, %v", onnx, c, err)
		}
		if after, _ := r.Card("evopose2d-s"); !cmp.Equal(after, c) {
			t.Errorf("card after Load differs:\n%s", cmp.Diff(c, after))
		}
	}
}

func TestRegistryOfDirectory(t *testing.T) {
	dir := put(t, map[string]string{
		"a.yaml":           cardText(t, "a", "a.onnx", "A"),
		"a.onnx":           "A",
		"b.yaml":           cardText(t, "b", "deep/b-v2.onnx", "B"),
		"deep/b-v2.onnx":   "B",
		"README.md":        "not a model",
		".hidden.yaml":     "half written",
		"evopose2d-m.yaml": cardText(t, "evopose2d-m", "shared.onnx", "M"),
		"shared.onnx":      "M",
	})
	r := open(t, dir, builtinS(constantBuild))
	if d := cmp.Diff([]string{"a", "b", "evopose2d-m", "evopose2d-s"}, r.Names()); d != "" {
		t.Error(d)
	}
	if b := r.Broken(); len(b) != 0 {
		t.Errorf("broken: %v", b)
	}
	for name, want := range map[string]string{"a": "A", "b": "B", "evopose2d-m": "M", "evopose2d-s": "built"} {
		onnx, c, err := r.Load(name)
		if err != nil || string(onnx) != want || c.Name != name {
			t.Errorf("Load(%q) = %q, %q, %v", name, onnx, c.Name, err)
		}
	}
}

func TestCardReplacesBuiltin(t *testing.T) {
	dir := put(t, map[string]string{
		"evopose2d-s.yaml": cardText(t, "evopose2d-s", "evopose2d-s.onnx", "trained"),
		"evopose2d-s.onnx": "trained",
	})
	onnx, c, err := open(t, dir, builtinS(constantBuild)).Load("evopose2d-s")
	if err != nil || string(onnx) != "trained" || !c.Trained {
		t.Errorf("Load = %q, %+v, %v", onnx, c, err)
	}
}

// TestBuiltinsOwnCard: the project's models directory holds the card of the
// built-in model, which has no file; that must change nothing.
func TestBuiltinsOwnCard(t *testing.T) {
	dir := put(t, map[string]string{"evopose2d-s.yaml": builtinText(t)})
	r := open(t, dir, builtinS(constantBuild))
	if onnx, _, err := r.Load("evopose2d-s"); err != nil || string(onnx) != "built" {
		t.Errorf("Load = %q, %v", onnx, err)
	}
}

func TestResolve(t *testing.T) {
	dir := put(t, map[string]string{
		"l.yaml": cardText(t, "l", "l.onnx", "l"), "l.onnx": "l",
		"evopose2d-l.yaml":  cardText(t, "evopose2d-l", "l.onnx", "l"),
		"evopose2d-m.yaml":  cardText(t, "evopose2d-m", "l.onnx", "l"),
		"evopose2d-xs.yaml": "broken: true",
	})
	r := open(t, dir, builtinS(constantBuild))
	for name, want := range map[string]string{
		"s": "evopose2d-s", "m": "evopose2d-m", "l": "l", "xs": "evopose2d-xs", "xl": "xl", "": "",
		"evopose2d-s": "evopose2d-s", "evopose2d-l": "evopose2d-l",
	} {
		if got := r.Resolve(name); got != want {
			t.Errorf("Resolve(%q) = %q, want %q", name, got, want)
		}
	}
}

// TestBroken has one directory per rule that a card alone cannot break. Every
// directory also holds a model that works and must go on working.
func TestBroken(t *testing.T) {
	changed := strings.Replace(builtinText(t), "seed: 1", "seed: 2", 1)
	for _, test := range []struct {
		rule, name string
		files      map[string]string
		want       string // in the message, after the directory
	}{
		{"bad value", "x", map[string]string{"x.yaml": "name: X"}, `x.yaml: genotype: missing: want seven stages`},
		{"other name", "x", map[string]string{"x.yaml": cardText(t, "y", "good.onnx", "G")}, `x.yaml: name: "y": want "x", as the file is named`},
		{"no such file", "x", map[string]string{"x.yaml": cardText(t, "x", "x.onnx", "G")}, `x.yaml: file: "x.onnx": no such file or directory`},
		{"a directory", "x", map[string]string{"x.yaml": cardText(t, "x", "d", "G"), "d/f": ""}, `x.yaml: file: "d": not a regular file`},
		{"no card", "x", map[string]string{"x.onnx": "G"}, `x.onnx has no card x.yaml; make one with evopose export`},
		{"no card, odd name", "My Model", map[string]string{"My Model.onnx": "G"}, `My Model.onnx has no card My Model.yaml; make one with evopose export`},
		{"no file", "x", map[string]string{"x.yaml": strings.Replace(builtinText(t), "evopose2d-s", "x", 1)},
			`x.yaml: file: missing: want the ONNX file beside the card; only a built-in model has none`},
		{"changed built-in", "evopose2d-s", map[string]string{"evopose2d-s.yaml": changed},
			`evopose2d-s.yaml: file: missing: without a file this is the card of the built-in model, whose genotype`},
		{"card too long", "x", map[string]string{"x.yaml": strings.Repeat("#", maxCardBytes+1)}, `x.yaml: 1048577 bytes: want at most 1048576`},
	} {
		t.Run(test.rule, func(t *testing.T) {
			test.files["good.yaml"], test.files["good.onnx"] = cardText(t, "good", "good.onnx", "G"), "G"
			dir := put(t, test.files)
			r := open(t, dir, builtinS(constantBuild))
			want := filepath.Join(dir, test.want)
			err := r.Broken()[test.name]
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Fatalf("Broken: %v, want it to begin with\n%s", err, want)
			}
			if _, _, lerr := r.Load(test.name); lerr == nil || !errors.Is(lerr, err) || !strings.Contains(lerr.Error(), test.name) {
				t.Errorf("Load: %v", lerr)
			}
			if _, ok := r.Card(test.name); ok {
				t.Error("a broken model has a card")
			}
			if _, _, err := r.Load("good"); err != nil {
				t.Errorf("the good model beside it: %v", err)
			}
		})
	}
}

func TestLinkOutOfDirectory(t *testing.T) {
	outside := put(t, map[string]string{"x.onnx": "G"})
	dir := put(t, map[string]string{"x.yaml": cardText(t, "x", "x.onnx", "G"), "real.onnx": "R",
		"in.yaml": cardText(t, "in", "in.onnx", "R"), "real.yaml": cardText(t, "real", "real.onnx", "R")})
	if err := os.Symlink(filepath.Join(outside, "x.onnx"), filepath.Join(dir, "x.onnx")); err != nil {
		t.Fatal(err)
	}
	// Kubernetes mounts a volume's files as links inside its directory.
	if err := os.Symlink("real.onnx", filepath.Join(dir, "in.onnx")); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir)
	if err := r.Broken()["x"]; err == nil || !strings.Contains(err.Error(), "path escapes") {
		t.Errorf("link out of the directory: %v", err)
	}
	if onnx, _, err := r.Load("in"); err != nil || string(onnx) != "R" {
		t.Errorf("link inside the directory: %q, %v", onnx, err)
	}
}

func TestBrokenBuiltin(t *testing.T) {
	b := builtinS(constantBuild)
	b.Card.Input = Size{250, 190}
	r := open(t, "", b)
	if err := r.Broken()["evopose2d-s"]; err == nil || !strings.Contains(err.Error(), "250x190") {
		t.Errorf("Broken: %v", err)
	}
	failed := errors.New("no memory")
	r = open(t, "", builtinS(func() ([]byte, error) { return nil, failed }))
	if _, _, err := r.Load("evopose2d-s"); !errors.Is(err, failed) || !strings.Contains(err.Error(), "evopose2d-s: built-in") {
		t.Errorf("Load: %v", err)
	}
}

func TestUnknownModel(t *testing.T) {
	r := open(t, "", builtinS(constantBuild))
	_, _, err := r.Load("evopose2d-q")
	if !errors.Is(err, ErrUnknownModel) {
		t.Fatalf("Load: %v", err)
	}
	if want := `unknown model "evopose2d-q": want one of evopose2d-s`; err.Error() != want {
		t.Errorf("message %q, want %q", err, want)
	}
	if _, ok := r.Card("evopose2d-q"); ok {
		t.Error("Card found it")
	}
}

func TestChecksum(t *testing.T) {
	dir := put(t, map[string]string{"x.yaml": cardText(t, "x", "x.onnx", "as it was"), "x.onnx": "changed"})
	r := open(t, dir)
	_, _, err := r.Load("x")
	if !errors.Is(err, ErrChecksum) {
		t.Fatalf("Load: %v", err)
	}
	for _, want := range []string{"model x: ", filepath.Join(dir, "x.onnx"),
		fmt.Sprintf("states sha256 %x,", sha256.Sum256([]byte("as it was"))),
		fmt.Sprintf("the file has %x;", sha256.Sum256([]byte("changed")))} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
	// The right file put in its place is loaded without opening again.
	if err := os.WriteFile(filepath.Join(dir, "x.onnx"), []byte("as it was"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Load("x"); err != nil {
		t.Errorf("Load of the right file: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "x.onnx")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Load("x"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("Load of a file that has gone: %v", err)
	}
}

func TestCheckIsAsked(t *testing.T) {
	other := errors.New("the file is of another network")
	check := func(onnx []byte, c Card) error {
		if string(onnx) != c.Name {
			return other
		}
		return nil
	}
	dir := put(t, map[string]string{
		"a.yaml": cardText(t, "a", "a.onnx", "a"), "a.onnx": "a",
		"b.yaml": cardText(t, "b", "a.onnx", "a"),
	})
	r, err := OpenCheckedRegistry(dir, check)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Load("a"); err != nil {
		t.Error(err)
	}
	if _, _, err := r.Load("b"); !errors.Is(err, other) || !strings.Contains(err.Error(), "model b") {
		t.Errorf("Load: %v", err)
	}
}

func TestUnreadableDirectory(t *testing.T) {
	file := filepath.Join(put(t, map[string]string{"f": ""}), "f")
	if _, err := OpenRegistry(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file as directory: %v", err)
	}
}

func TestRegistryConcurrently(t *testing.T) {
	r := open(t, "", builtinS(constantBuild))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, c, err := r.Load("evopose2d-s"); err != nil || c.SHA256 == "" {
				t.Errorf("Load: %+v, %v", c, err)
			}
			r.Card("evopose2d-s")
			r.Names()
		})
	}
	wg.Wait()
}
