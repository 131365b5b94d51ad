package model

// Runner runs one network. It is safe for concurrent use.
type Runner interface {
	// Card describes the network that runs; Card().Input and Card().Heatmap
	// give its sizes.
	Card() Card
	// Provider names the execution provider that runs it: "cpu" or "cuda".
	Provider() string
	// Run computes heatmaps for n crops, n = len(crops)/(3*H*W) >= 1. crops
	// is NCHW RGB, normalised; heatmaps is NCHW and must hold exactly
	// n*Keypoints*HeatmapH*HeatmapW values. Neither slice is kept.
	Run(crops, heatmaps []float32) error
	// Close releases the network after the runs in flight have ended. Run
	// after Close returns an error.
	Close() error
}

// Card is what is known of a model: a models/*.yaml file, and what
// `evopose models` and GET /v1/models show.
type Card struct {
	// Name is the model's name, such as "evopose2d-s".
	Name string `yaml:"name" json:"name"`
	// File is the ONNX file beside the card; empty for a model that is built
	// in memory from its seed.
	File string `yaml:"file,omitempty" json:"file,omitempty"`
	// Genotype is the network's genotype in the form of Genotype.String.
	Genotype Genotype `yaml:"genotype" json:"genotype"`
	// Input is the input size, height x width in pixels.
	Input Size `yaml:"input" json:"input"`
	// Heatmap is the output size; it follows from Genotype and Input.
	Heatmap Size `yaml:"heatmap,omitempty" json:"heatmap"`
	// Parameters counts weights as Keras's count_params does, that is with
	// the moving statistics of batch normalisation.
	Parameters int64 `yaml:"parameters,omitempty" json:"parameters"`
	// MultiplyAdds counts those of the convolutions, per image.
	MultiplyAdds int64 `yaml:"multiply_adds,omitempty" json:"multiply_adds"`
	// SHA256 is the hex sum of the ONNX file's bytes.
	SHA256 string `yaml:"sha256,omitempty" json:"sha256"`
	// Trained reports whether the weights come from training; false means
	// initial (random) weights whose keypoints mean nothing.
	Trained bool `yaml:"trained" json:"trained"`
	// Seed is the seed of the initial weights.
	Seed uint64 `yaml:"seed" json:"seed"`
	// Data names the pictures and labels it was trained on, with their terms.
	Data string `yaml:"data" json:"data"`
	// Licence is the licence of the weights.
	Licence string `yaml:"licence" json:"licence"`
	// Accuracy holds measured figures by name, such as "AP" or "PCK@0.2".
	Accuracy map[string]float64 `yaml:"accuracy,omitempty" json:"accuracy,omitempty"`
	// Lineage tells, in order, how the model came to be: ancestors,
	// mutations, transfers, trainings, conversions.
	Lineage []string `yaml:"lineage,omitempty" json:"lineage,omitempty"`
}
