package model

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// emptySum is the SHA-256 of no bytes, as `sha256sum /dev/null` prints it.
const emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// badCards has every testdata/cards/*.bad.yaml with its whole message.
var badCards = map[string]string{
	"accuracy-nan":     `accuracy: AP: NaN: want a finite number`,
	"accuracy-text":    `line 13: accuracy: a mapping: want numbers by name, such as {AP: 0.702}`,
	"empty":            `empty: want a model's card, such as the one in models/README.md`,
	"empty-licence":    `licence: missing: want the licence of the weights`,
	"file-absolute":    `file: "/models/good.onnx": want the ONNX file's path, relative to the card's folder and inside it`,
	"file-outside":     `file: "../good.onnx": want the ONNX file's path, relative to the card's folder and inside it`,
	"genotype-kernel":  `line 3: genotype: stage 1: kernel is 7: want one of [3 5]`,
	"genotype-list":    `line 3: genotype: a list: want ` + wantGenotypeText,
	"genotype-stages":  `line 3: genotype: genotype "3,1,2,1 3,3,3,2": has 2 stages, want 7 separated by spaces`,
	"heatmap":          `heatmap: 64x48: the genotype and the input give 128x96`,
	"input-mapping":    `line 4: input: a mapping: want HEIGHTxWIDTH in pixels, such as 256x192`,
	"input-one-number": `line 4: input: size "256": want HEIGHTxWIDTH in pixels, such as 256x192`,
	"input-stride":     `input size 250x190: height and width must be multiples of 16 (the network's stride), up to 4096`,
	"lineage-text":     `line 14: lineage: "trained": want a list of texts, the oldest step first`,
	"list":             `line 1: a list: want keys and values, such as name: my-model`,
	"multiply-adds":    `multiply_adds: 5: the genotype and the input give 1064085440`,
	"name-path":        `name: "../s": want a-z, 0-9, '.', '_' and '-', the first a letter or a digit`,
	"name-upper":       `name: "EvoPose2D-S": want a-z, 0-9, '.', '_' and '-', the first a letter or a digit`,
	"no-data":          `data: missing: want the pictures and labels it was trained on, with their terms`,
	"no-genotype":      `genotype: missing: want ` + wantGenotypeText,
	"no-input":         `input: missing: want HEIGHTxWIDTH in pixels, such as 256x192`,
	"no-name":          `name: missing: want a-z, 0-9, '.', '_' and '-', the first a letter or a digit`,
	"no-sum":           "sha256: missing: want what `sha256sum no-sum.onnx` prints; evopose export writes it too",
	"no-trained":       `trained: missing: want true or false`,
	"parameters":       `parameters: 2531198: the genotype and the input give 2531199`,
	"parameters-text":  `line 6: parameters: "2.5 M": want a whole number, or no such key`,
	"seed-negative":    `line 10: seed: "-1": want a whole number from 0 to 18446744073709551615`,
	"sum-short":        "sha256: \"e3b0c442\": want 64 hexadecimal digits, as `sha256sum` prints them",
	"sum-without-file": `file: missing: want the ONNX file that sha256 is the sum of`,
	"syntax":           `yaml: line 11: found unexpected end of stream`,
	"trained":          `line 9: trained: "perhaps": want true or false`,
	"twice":            `line 11: seed: stated twice`,
	"two-documents":    `more than one YAML document: want one card a file`,
	"unknown-key": `line 12: "license": unknown key; want one of name, file, genotype, input, heatmap, ` +
		`parameters, multiply_adds, sha256, trained, seed, data, licence, accuracy, lineage`,
}

const wantGenotypeText = `seven stages of kernel,repeats,filters/8,stride, such as ` +
	`"3,1,2,1 3,3,3,2 5,2,5,2 3,4,10,2 5,2,14,1 5,4,16,1 3,2,10,1"`

func TestBadCards(t *testing.T) {
	for name, want := range badCards {
		text, err := os.ReadFile(filepath.Join("testdata/cards", name+".bad.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseCard(text)
		if err == nil || err.Error() != want {
			t.Errorf("%s: error\n  %v, want\n  %s", name, err, want)
		}
		if !cmp.Equal(c, Card{}) {
			t.Errorf("%s: a card beside the error: %+v", name, c)
		}
	}
}

// TestEveryBadCardIsTested keeps a file from lying about unread.
func TestEveryBadCardIsTested(t *testing.T) {
	files, err := filepath.Glob("testdata/cards/*.bad.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".bad.yaml")
	}
	slices.Sort(files)
	if d := cmp.Diff(slices.Sorted(maps.Keys(badCards)), files); d != "" {
		t.Errorf("badCards (-) and testdata/cards (+) differ:\n%s", d)
	}
}

func readGood(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/cards/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func goodCard() Card {
	return Card{
		Name: "good", File: "good.onnx", Genotype: GenotypeS,
		Input: Size{256, 192}, Heatmap: Size{128, 96},
		Parameters: 2531199, MultiplyAdds: 1064085440, SHA256: emptySum,
		Trained: true, Seed: 7, Licence: "Apache-2.0",
		Data:     "COCO 2017 train, CC BY 4.0 annotations, pictures under Flickr terms",
		Accuracy: map[string]float64{"AP": 0.702, "PCK@0.2": 0.9},
		Lineage:  []string{"initial weights, seed 7", "trained for 200 epochs"},
	}
}

func TestParseCard(t *testing.T) {
	got, err := ParseCard(readGood(t))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(goodCard(), got); d != "" {
		t.Error(d)
	}
}

func TestMarshalCardIsReadBack(t *testing.T) {
	text, err := MarshalCard(goodCard())
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseCard(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if d := cmp.Diff(goodCard(), got); d != "" {
		t.Error(d)
	}
}

// TestParseCardLenient has what people write and we take.
func TestParseCardLenient(t *testing.T) {
	shout := strings.Replace(string(readGood(t)), emptySum, strings.ToUpper(emptySum), 1)
	c, err := ParseCard([]byte(shout))
	if err != nil || c.SHA256 != emptySum {
		t.Errorf("sum in capitals: %q, %v", c.SHA256, err)
	}
	noSeed := strings.Replace(string(readGood(t)), "seed: 7\n", "seed:\n", 1)
	if c, err := ParseCard([]byte(noSeed)); err != nil || c.Seed != 0 {
		t.Errorf("seed left empty: %d, %v", c.Seed, err)
	}
	windows := strings.ReplaceAll("\ufeff"+string(readGood(t)), "\n", "\r\n")
	if _, err := ParseCard([]byte(windows)); err != nil {
		t.Errorf("byte order mark and CRLF: %v", err)
	}
}

func TestParseDraft(t *testing.T) {
	c, err := ParseDraft(fmt.Appendf(nil, "genotype: %s\ninput: 384x288\n", GenotypeS))
	if err != nil {
		t.Fatal(err)
	}
	if c.Parameters != 7341609 || c.Heatmap != (Size{192, 144}) {
		t.Errorf("parameters %d, heatmap %v", c.Parameters, c.Heatmap)
	}
	if _, err := ParseDraft([]byte("input: 384x288\n")); err == nil || !strings.HasPrefix(err.Error(), "genotype: missing") {
		t.Errorf("no genotype: %v", err)
	}
	if _, err := ParseCard([]byte("genotype: " + GenotypeS.String() + "\ninput: 384x288\n")); err == nil {
		t.Error("ParseCard took a draft")
	}
}

func TestPresets(t *testing.T) {
	// Parameters: design/evopose2d.md, section 1.
	want := map[string]int64{"xs": 2531199, "s": 2531199, "m": 7341609, "l": 14709587}
	for _, p := range Presets {
		n, err := NewNetwork(p.Genotype, p.Input)
		if err != nil {
			t.Fatal(err)
		}
		if total, _ := n.Parameters(); total != want[p.Name] {
			t.Errorf("%s: %d parameters, want %d", p.Name, total, want[p.Name])
		}
		if got, ok := FindPreset(p.Name); !ok || got != p {
			t.Errorf("FindPreset(%q) = %v, %t", p.Name, got, ok)
		}
	}
	if _, ok := FindPreset("xl"); ok {
		t.Error("FindPreset knows xl")
	}
}

// FuzzCard: no text makes ParseCard panic, and a card it takes survives being
// written and read again.
func FuzzCard(f *testing.F) {
	files, err := filepath.Glob("testdata/cards/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseCard(text)
		if err != nil {
			return
		}
		if err := CheckName(c.Name); err != nil || !filepath.IsLocal(c.File) && c.File != "" || c.Parameters <= 0 {
			t.Fatalf("took %+v: %v", c, err)
		}
		again, err := MarshalCard(c)
		if err != nil {
			t.Fatal(err)
		}
		d, err := ParseCard(again)
		if err != nil {
			t.Fatalf("%v in its own\n%s", err, again)
		}
		if diff := cmp.Diff(normal(c), normal(d)); diff != "" {
			t.Fatalf("changed by writing and reading:\n%s", diff)
		}
	})
}

// normal makes empty lists and maps nil: YAML leaves both out.
func normal(c Card) Card {
	if len(c.Accuracy) == 0 {
		c.Accuracy = nil
	}
	if len(c.Lineage) == 0 {
		c.Lineage = nil
	}
	return c
}
