package model

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
)

const textS = "3,1,2,1 3,3,3,2 5,2,5,2 3,4,10,2 5,2,14,1 5,4,16,1 3,2,10,1"

func TestGenotypeText(t *testing.T) {
	g, err := ParseGenotype(textS)
	if err != nil || g != GenotypeS || g.String() != textS {
		t.Fatalf("ParseGenotype = %v, %v", g, err)
	}
	for bad, want := range map[string]string{
		"":                 `genotype "": has 0 stages, want 7`,
		textS + " 3,1,2,1": "has 8 stages, want 7 separated by spaces",
		strings.Replace(textS, "5,4,16,1", "5,x,16,1", 1):                    `stage 6: repeats is "x": want a whole number`,
		strings.Replace(textS, "5,4,16,1", "5,99999999999999999999,16,1", 1): "want a whole number",
		strings.Replace(textS, "5,4,16,1", "5,4,16", 1):                      "want kernel,repeats,filters/8,stride",
		strings.Replace(textS, "5,4,16,1", "5,4,16,1,1", 1):                  "want kernel,repeats,filters/8,stride",
		strings.Replace(textS, "5,4,16,1", "7,4,16,1", 1):                    "stage 6: kernel is 7",
	} {
		if _, err := ParseGenotype(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseGenotype(%q) = %v, want %q in it", bad, err, want)
		}
	}
}

func TestGenotypeInJSON(t *testing.T) {
	text, err := json.Marshal(map[string]Genotype{"genotype": GenotypeXS})
	if err != nil || !strings.Contains(string(text), `"3,1,2,1 3,3,3,2 5,2,5,2 3,4,10,2 5,2,14,1 5,4,16,2 3,2,10,1"`) {
		t.Fatalf("%s, %v", text, err)
	}
	var back map[string]Genotype
	if err := json.Unmarshal(text, &back); err != nil || back["genotype"] != GenotypeXS {
		t.Errorf("%v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"genotype": "3,1"}`), &back); err == nil {
		t.Error("two genes are accepted as a genotype")
	}
}

// The bounds are those of the paper's mutations (design/evopose2d.md,
// section 4).
func TestValidate(t *testing.T) {
	for name, g := range map[string]Genotype{"default": GenotypeDefault, "S": GenotypeS, "XS": GenotypeXS} {
		if err := g.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, tt := range []struct {
		stage  int
		change Stage
		want   string // "": allowed
	}{
		{1, Stage{5, 4, 2, 1}, ""},
		{1, Stage{4, 1, 2, 1}, "stage 1: kernel is 4: want one of [3 5]"},
		{1, Stage{3, 1, 3, 1}, "stage 1: filters/8 is 3: want 1..2"},
		{1, Stage{3, 1, 2, 2}, "stage 1: stride is 2: want one of [1]"},
		{2, Stage{3, 3, 3, 1}, "stage 2: stride is 1: want one of [2]"},
		{4, Stage{3, 4, 10, 1}, "stage 4: stride is 1: want one of [2]"},
		{5, Stage{5, 0, 14, 1}, "stage 5: repeats is 0: want 1..4"},
		{5, Stage{5, 5, 14, 1}, "stage 5: repeats is 5: want 1..4"},
		{5, Stage{5, 2, 0, 1}, "stage 5: filters/8 is 0: want 1..14"},
		{5, Stage{5, 2, 14, 2}, ""},
		{6, Stage{5, 4, 24, 2}, ""},
		{6, Stage{5, 4, 25, 1}, "stage 6: filters/8 is 25: want 1..24"},
		{7, Stage{3, 2, 40, 2}, ""},
		{7, Stage{3, 2, 41, 1}, "stage 7: filters/8 is 41: want 1..40"},
		{7, Stage{3, 2, 10, 3}, "stage 7: stride is 3: want one of [1 2]"},
		{7, Stage{3, 2, 10, -1}, "stage 7: stride is -1"},
	} {
		g := GenotypeS
		g[tt.stage-1] = tt.change
		err := g.Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("stage %d as %v: %v, want %q", tt.stage, tt.change, err, tt.want)
		}
	}
	both := GenotypeXS
	both[6].Stride = 2
	if err := both.Validate(); err == nil || !strings.Contains(err.Error(), "5 stages have stride 2: want at most 4") {
		t.Errorf("five halvings: %v", err)
	}
}

func TestTotalStride(t *testing.T) {
	for _, tt := range []struct {
		g    Genotype
		want int
	}{{GenotypeS, 16}, {GenotypeXS, 32}, {GenotypeDefault, 32}} {
		if got := tt.g.TotalStride(); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.g, got, tt.want)
		}
	}
}

// randomGenotype draws uniformly from the search space.
func randomGenotype(rng *rand.Rand) (g Genotype) {
	halved := rng.IntN(4) // which of stages 5..7 has stride 2; 3: none
	for i, d := range GenotypeDefault {
		g[i] = Stage{3 + 2*rng.IntN(2), 1 + rng.IntN(4), 1 + rng.IntN(d.Filters), d.Stride}
		if i >= 4 {
			g[i].Stride = 1
		}
		if i == 4+halved {
			g[i].Stride = 2
		}
	}
	return g
}

func TestRandomGenotypesRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		g := randomGenotype(rng)
		if got, err := ParseGenotype(g.String()); err != nil || got != g {
			t.Fatalf("%v came back as %v, %v", g, got, err)
		}
	}
}

// Whatever is accepted is in the space and is written and read the same.
func FuzzParseGenotype(f *testing.F) {
	f.Add(textS)
	f.Add(GenotypeDefault.String())
	f.Add("3,1,2,1\t3,3,3,2\n5,2,5,2 3,4,10,2 5,2,14,1 5,4,16,1 +3,2,010,1")
	f.Add(strings.Repeat(",", 28))
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGenotype(text)
		if err != nil {
			return
		}
		if again, err := ParseGenotype(g.String()); err != nil || again != g {
			t.Errorf("%q: %v, then %v, %v", text, g, again, err)
		}
		if _, err := NewNetwork(g, Size{64, 64}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
