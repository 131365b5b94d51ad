package model

// Preset is a published network by its short name.
type Preset struct {
	Name     string // "s", the letter of evopose2d-s
	Genotype Genotype
	Input    Size
}

// Presets are the published networks, the smallest first. S, M and L share a
// genotype and differ in the input size, from which their width and depth are
// scaled.
var Presets = []Preset{
	{"xs", GenotypeXS, Size{256, 192}},
	{"s", GenotypeS, Size{256, 192}},
	{"m", GenotypeS, Size{384, 288}},
	{"l", GenotypeS, Size{512, 384}},
}

// FindPreset returns the preset of a short name, and whether there is one.
func FindPreset(name string) (Preset, bool) {
	for _, p := range Presets {
		if p.Name == name {
			return p, true
		}
	}
	return Preset{}, false
}
