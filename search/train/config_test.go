package train

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search/coco"
)

func TestConfigSchedule(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config Config
		rates  map[int]float64 // by step, of 100 an epoch
	}{
		{"the recipe's", Config{Batch: 128, Epochs: 40, Warmup: 5}, map[int]float64{0: 2.5e-4, 250: 6.25e-4, 500: 1e-3, 2250: 5e-4, 4000: 0}},
		{"a rate", Config{Batch: 16, Epochs: 40, Warmup: 5, Rate: 2e-3}, map[int]float64{0: 2.5e-4, 500: 2e-3, 4000: 0}},
		{"a low rate", Config{Batch: 16, Epochs: 40, Warmup: 5, Rate: 1e-4}, map[int]float64{0: 1e-4, 300: 1e-4, 500: 1e-4}},
		{"no warm-up", Config{Batch: 16, Epochs: 40, Rate: 2e-3}, map[int]float64{0: 2e-3, 2000: 1e-3}},
		{"half an epoch", Config{Batch: 16, Epochs: 40, Warmup: 0.5, Rate: 1e-3}, map[int]float64{0: 2.5e-4, 50: 1e-3}},
		{"a short run", Config{Batch: 16, Epochs: 4, Warmup: 5, Rate: 1e-3}, map[int]float64{0: 2.5e-4, 100: 1e-3}},
	} {
		s := tt.config.schedule(100)
		for step, want := range tt.rates {
			if got := s.At(step); math.Abs(got-want) > 1e-12 {
				t.Errorf("%s: rate %v in step %d, want %v", tt.name, got, step, want)
			}
		}
	}
}

func TestConfigValidate(t *testing.T) {
	good := func() Config {
		return Config{Name: "x", Data: make([]DataSet, 1), Val: make([]DataSet, 1), Epochs: 1, Batch: 2, Augment: coco.RecipeAugment}
	}
	if c := good(); c.Validate() != nil {
		t.Fatal(c.Validate())
	}
	for want, change := range map[string]func(*Config){
		"no data to train on":    func(c *Config) { c.Data = nil },
		"no data to validate on": func(c *Config) { c.Val = nil },
		"epochs -1":              func(c *Config) { c.Epochs = -1 },
		"batch 1: want 2":        func(c *Config) { c.Batch = 1 },
		"rate NaN":               func(c *Config) { c.Rate = nan },
		"rate 1":                 func(c *Config) { c.Rate = 1 },
		"warmup NaN":             func(c *Config) { c.Warmup = nan },
		"l2 -1":                  func(c *Config) { c.L2 = -1 },
		"drop-connect 1: want 0": func(c *Config) { c.DropConnect = new(1.0) },
		"drop-connect NaN":       func(c *Config) { c.DropConnect = &nan },
		"ema 1":                  func(c *Config) { c.EMA = 1 },
		"freeze-bn: initial":     func(c *Config) { c.FreezeBN = true },
		"balance 2":              func(c *Config) { c.Balance = 2 },
		"otation":                func(c *Config) { c.Augment.Rotation = nan },
	} {
		c := good()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// A rate of the run's own takes the network's place, block by block, and in the
// network that is trained alone: the file has the network's.
func TestConfigDropConnect(t *testing.T) {
	size := model.Size{H: 384, W: 288} // 0.4
	for _, tt := range []struct {
		rate *float64
		want float64 // of the network's own
	}{{nil, 1}, {new(0.1), 0.25}, {new(0.0), 0}} {
		c := Config{Genotype: model.GenotypeS, Native: size, Size: model.Size{H: 128, W: 96}, DropConnect: tt.rate}
		training, native, err := c.network()
		if err != nil {
			t.Fatal(err)
		}
		dropping := 0
		for i, l := range native.Layers {
			if got := training.Layers[i].DropRate; math.Abs(got-tt.want*l.DropRate) > 1e-12 {
				t.Errorf("layer %s: %v, want %v of %v", l.Name, got, tt.want, l.DropRate)
			}
			if l.DropRate > 0 {
				dropping++
			}
		}
		if dropping == 0 {
			t.Error("no layer drops out")
		}
	}
}

func TestDataSetName(t *testing.T) {
	for path, want := range map[string]string{"data/coco/val.json": "coco/val", "val.json": "val", "a/b": "a/b"} {
		if got := (DataSet{Annotations: path}).name(); got != want {
			t.Errorf("%s is called %s, want %s", path, got, want)
		}
	}
}

func TestMeter(t *testing.T) {
	m := &meter{loader: &coco.Loader{}, batch: 8, began: time.Now().Add(-10 * time.Second)}
	if !math.IsNaN(m.rate()) || m.timeFor(5) != 0 {
		t.Errorf("before the first step %v, %v", m.rate(), m.timeFor(5))
	}
	for range 20 {
		m.stepped()
	}
	if r := m.rate(); r > 16 || r < 15 {
		t.Errorf("%v images/s, want 16", r)
	}
	if left := m.timeFor(40).Seconds(); left < 20 || left > 21 {
		t.Errorf("%v s left, want 20", left)
	}
	if m.waited() != 0 {
		t.Errorf("waited %v", m.waited())
	}
}

// The estimate beside what was measured: never less, and no more than by most.
func TestEstimateMemory(t *testing.T) {
	for _, tt := range []struct {
		native, input model.Size
		batch         int
		save          bool
		measured      int64 // kB, peak resident memory of a process of three steps
		most          float64
	}{
		{model.Size{H: 256, W: 192}, model.Size{H: 128, W: 96}, 8, false, 555008, 1.2},
		{model.Size{H: 256, W: 192}, model.Size{H: 128, W: 96}, 32, false, 1644544, 1.2},
		{model.Size{H: 256, W: 192}, model.Size{H: 256, W: 192}, 4, false, 903168, 1.2},
		{model.Size{H: 256, W: 192}, model.Size{H: 256, W: 192}, 16, false, 3359744, 1.2},
		{model.Size{H: 512, W: 384}, model.Size{H: 256, W: 192}, 4, false, 3710976, 1.2},
		{model.Size{H: 512, W: 384}, model.Size{H: 128, W: 96}, 16, false, 3738624, 1.2},
		{model.Size{H: 512, W: 384}, model.Size{H: 192, W: 144}, 8, false, 3660800, 1.2},
		{model.Size{H: 256, W: 192}, model.Size{H: 256, W: 192}, 16, true, 3257344, 1.2},
		{model.Size{H: 256, W: 192}, model.Size{H: 256, W: 192}, 4, true, 755712, 1.4},
		{model.Size{H: 512, W: 384}, model.Size{H: 256, W: 192}, 4, true, 2185216, 1.7}, // the arena just fits
	} {
		n, err := model.NewScaledNetwork(model.GenotypeS, tt.native, tt.input)
		if err != nil {
			t.Fatal(err)
		}
		got := float64(EstimateMemory(n, tt.batch, tt.save)) / 1024 / float64(tt.measured)
		if got < 0.98 || got > tt.most {
			t.Errorf("%+v: estimated %.2f of it", tt, got)
		}
	}
}

func TestCheckMemory(t *testing.T) {
	n, err := model.NewNetwork(model.GenotypeS, model.Size{H: 512, W: 384})
	if err != nil {
		t.Fatal(err)
	}
	for want, free := range map[string]int64{
		"--batch 2 fits":   EstimateMemory(n, 2, false) + 1<<20,
		"--batch 7 fits":   EstimateMemory(n, 8, false) - 1<<20,
		"choose a smaller": 1 << 30,
	} {
		err := checkMemory(n, 512, false, free)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "a batch of 512 at 512x384 takes about ") || !strings.Contains(err.Error(), "--save-memory") {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if err := checkMemory(n, 4, false, EstimateMemory(n, 4, false)); err != nil {
		t.Error(err)
	}
	if err := checkMemory(n, 64, true, 1<<30); err == nil || strings.Contains(err.Error(), "--save-memory") {
		t.Errorf("error %v", err)
	}
}
