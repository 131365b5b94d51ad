package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refused checks that a run fails before its first step and says why.
func refused(t *testing.T, c Config, o Options, want ...string) {
	t.Helper()
	r := &recorder{}
	o.Progress = r
	err := Run(t.Context(), c, o)
	if err == nil || len(r.steps) != 0 {
		t.Fatalf("error %v after %d steps, want %q", err, len(r.steps), want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q, want %q in it", err, w)
		}
	}
}

func spoil(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("not what it was"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRunRefuses(t *testing.T) {
	unlabelled := func(_, people []object) {
		for _, p := range people {
			p["num_keypoints"], p["keypoints"] = 0, make([]int, 51)
		}
	}
	for name, tt := range map[string]struct {
		change func(t *testing.T, c *Config, o *Options, dir string)
		want   []string
	}{
		"no labels file":   {func(_ *testing.T, c *Config, _ *Options, _ string) { c.Data[0].Annotations += "x" }, []string{"annotation file: ", "labels.jsonx", "no such file"}},
		"no pictures":      {func(_ *testing.T, c *Config, _ *Options, _ string) { c.Data[0].Images += "x" }, []string{"folder of the pictures: ", "picturesx"}},
		"not JSON":         {func(t *testing.T, c *Config, _ *Options, _ string) { spoil(t, c.Val[0].Annotations) }, []string{c0Val, "not JSON"}},
		"nobody in train":  {func(t *testing.T, c *Config, _ *Options, dir string) { c.Data[0] = writeSet(t, dir, 5, 3, unlabelled) }, []string{"no person has a labelled keypoint"}},
		"nobody in val":    {func(t *testing.T, c *Config, _ *Options, dir string) { c.Val[0] = writeSet(t, dir, 5, 3, unlabelled) }, []string{"nobody to validate on"}},
		"large batch":      {func(_ *testing.T, c *Config, _ *Options, _ string) { c.Batch = 26 }, []string{"batch of 26", "1 to 25"}},
		"enormous batch":   {func(_ *testing.T, c *Config, _ *Options, _ string) { c.Batch = 1e7 }, []string{"GiB are free: --batch ", " fits, ", "--save-memory"}},
		"broken val":       {func(t *testing.T, c *Config, _ *Options, _ string) { spoil(t, filepath.Join(c.Val[0].Images, "2.png")) }, []string{"1 of the 6 pictures of ", "2.png", "take them out"}},
		"from nowhere":     {func(_ *testing.T, c *Config, _ *Options, dir string) { c.From = filepath.Join(dir, "a.onnx") }, []string{"the weights to start from: open ", "a.onnx: no such file"}},
		"from a text":      {func(_ *testing.T, c *Config, _ *Options, _ string) { c.From = c.Val[0].Annotations }, []string{"is neither a checkpoint of evopose train nor an ONNX file of evopose"}},
		"from a torn ckpt": {tornFrom, []string{"checkpoint ", "torn.ckpt is damaged"}},
		"resume nothing":   {func(_ *testing.T, _ *Config, o *Options, _ string) { o.Resume = true }, []string{"no checkpoint in ", "name the run's folder with --out, or start without --resume"}},
		"resume nowhere":   {func(_ *testing.T, _ *Config, o *Options, _ string) { o.Resume, o.Dir = true, o.Dir+"x" }, []string{"no checkpoint in "}},
		"resume spoilt":    {spoiltLatest, []string{"can be read", LatestFile + " is not a checkpoint"}},
		"no epochs":        {func(_ *testing.T, c *Config, _ *Options, _ string) { c.Epochs = 0 }, []string{"epochs 0: want 1 or more"}},
		"epoch of -1":      {func(_ *testing.T, c *Config, _ *Options, _ string) { c.EpochPeople = -1 }, []string{"epoch-people -1: want 0 (all) or more"}},
		"short epoch":      {func(_ *testing.T, c *Config, _ *Options, _ string) { c.EpochPeople = 1 }, []string{"batch of ", "1 to 1, the number of samples of an epoch"}},
		"odd size":         {func(_ *testing.T, c *Config, _ *Options, _ string) { c.Size.H = 65 }, []string{"multiples of 16"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, o := tinyRun(t)
			tt.change(t, &c, &o, t.TempDir())
			refused(t, c, o, tt.want...)
			if _, err := os.Stat(o.Dir + "x"); err == nil {
				t.Error("a folder was made")
			}
		})
	}
}

const c0Val = "val/labels.json"

func tornFrom(t *testing.T, c *Config, _ *Options, dir string) {
	c.From = filepath.Join(dir, "torn.ckpt")
	if err := Save(c.From, sampleCheckpoint(1)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(c.From, 200); err != nil {
		t.Fatal(err)
	}
}

func spoiltLatest(t *testing.T, _ *Config, o *Options, _ string) {
	o.Resume = true
	spoil(t, filepath.Join(o.Dir, LatestFile))
}

// A folder takes one run, unless that is resumed; and a resumed run takes the
// same data only, however many people an epoch has.
func TestRunKeepsToItsFolder(t *testing.T) {
	c, o := tinyRun(t)
	c.Epochs, c.EpochPeople = 1, 10
	train(t, c, o)
	refused(t, c, o, o.Dir+" holds a run already", "--resume", "--out")
	o.Resume = true
	writeSet(t, filepath.Dir(c.Data[0].Images), 24, 1)
	refused(t, Config{}, o, "has changed: it had 25 people to train on and has 24 now", "--from")
	if err := os.Remove(c.Data[0].Annotations); err != nil {
		t.Fatal(err)
	}
	refused(t, Config{}, o, "no such file", "from the folder it was started in")
	unlock, err := LockRun(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	refused(t, Config{}, o, "in use by ")
}

// Few broken pictures to train on are told once and left out; many end the run
// with a good checkpoint.
func TestBrokenPictures(t *testing.T) {
	c, o := tinyRun(t)
	c.Epochs = 2
	for i := range 2 {
		spoil(t, filepath.Join(c.Data[0].Images, fmt.Sprintf("%d.png", i)))
	}
	if r := train(t, c, o); len(r.broken) != 2 || len(r.steps) != 12 {
		t.Errorf("%d steps, broken %v", len(r.steps), r.broken)
	}
	for i := range 12 {
		spoil(t, filepath.Join(c.Data[0].Images, fmt.Sprintf("%d.png", i)))
	}
	o.Dir += "-2" // Run makes it
	err := Run(t.Context(), c, o)
	if err == nil || !strings.Contains(err.Error(), "of 25 pictures cannot be used, more than 5 %") {
		t.Errorf("error %v", err)
	}
	if _, _, err := LoadLatest(o.Dir); err != nil {
		t.Errorf("nothing was saved: %v", err)
	}
}

func TestOutOfMemory(t *testing.T) {
	c := Config{Batch: 64}
	c.Size.H, c.Size.W = 256, 192
	err := outOfMemory(errors.New("training graph: std::bad_alloc"), c)
	if !strings.Contains(err.Error(), "out of memory at 256x192 with a batch of 64: choose a smaller --batch") {
		t.Error(err)
	}
	other := errors.New("other")
	if got := outOfMemory(other, c); got != other { //nolint:errorlint // the very same
		t.Error(got)
	}
}
