package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/postprocess"
)

func TestConfigDefaultsAndLayers(t *testing.T) {
	c, err := LoadConfig("none", nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != ":8080" || c.Batch.Max != 16 || c.Batch.Delay != 2*time.Millisecond || c.Limits.Body != 20<<20 ||
		c.Limits.Pixels != 40e6 || c.Decode != postprocess.DARK || !c.LogJSON || !cmp.Equal(c.Load, []string{"evopose2d-s"}) {
		t.Errorf("defaults: %+v", c)
	}
	text := []byte("batch: {max: 8, queue: 200}\nmodel: file\nload: [file, other]\nthreads: 3\nlimits: {pixels: 1.5MP}")
	env := []string{"EVOPOSE_MODEL=env", "EVOPOSE_BATCH_QUEUE=300", "EVOPOSE_ORT_LIB=/x", "HOME=/root", "EVOPOSE_POSE_MIN_SCORE=0.25"}
	c, err = LoadConfig("f.yaml", text, env, map[string]string{"model": "flag"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Model != "flag" || c.Batch.Max != 8 || c.Batch.Queue != 300 || c.Threads != 3 || c.MinScore != 0.25 || c.Limits.Pixels != 1.5e6 ||
		!cmp.Equal(c.Load, []string{"flag", "file", "other"}) {
		t.Errorf("merged: %+v", c)
	}
}

// Each *.bad.yaml breaks one rule; its first line is a comment with words that
// the message must have.
func TestBadConfigs(t *testing.T) {
	files, err := filepath.Glob("testdata/config/*.bad.yaml")
	if err != nil || len(files) < len(keys())-2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		want := strings.TrimPrefix(first, "# ")
		if _, err := LoadConfig(file, text, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", file, err, want)
		}
	}
}

func TestUnknownEnvironmentVariable(t *testing.T) {
	_, err := LoadConfig("none", nil, []string{"EVOPOSE_BATCH_MAXX=3"}, nil)
	if err == nil || !strings.Contains(err.Error(), "unknown environment variable EVOPOSE_BATCH_MAXX; did you mean EVOPOSE_BATCH_MAX?") {
		t.Error(err)
	}
	_, err = LoadConfig("none", nil, []string{"EVOPOSE_THREADS=many"}, nil)
	if err == nil || !strings.Contains(err.Error(), `threads is "many"`) {
		t.Error(err)
	}
}

// Each key is documented, with its environment variable and default.
func TestConfigurationIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys() {
		for _, want := range []string{"`" + k.name + "`", "`" + EnvName(k.name) + "`", k.allowed} {
			if !strings.Contains(string(text), want) {
				t.Errorf("docs/configuration.md lacks %s", want)
			}
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("batch: {max: 8}\nload: [a, b]"))
	f.Add([]byte("listen: ':1'\nlimits: {timeout: 1s}"))
	f.Add([]byte("a: [*b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := LoadConfig("fuzz", text, nil, nil)
		if err == nil && (c.Batch.Max < 1 || c.Batch.Queue < c.Batch.Max || c.Limits.Body <= 0 || c.Limits.Timeout <= 0 || len(c.Load) == 0) {
			t.Fatalf("accepted %+v", c)
		}
	})
}

func FuzzBoxes(f *testing.F) {
	f.Add("1,2,3,4;5,6,7,8")
	f.Add("[[1,2,3,4]]")
	f.Add("[[1e999,2,3]]")
	f.Fuzz(func(t *testing.T, s string) {
		boxes, err := parseBoxes(s)
		if err != nil {
			return
		}
		for _, b := range boxes {
			if !(b.W > 0 && b.H > 0 && b.X-b.X == 0 && b.Y-b.Y == 0) {
				t.Fatalf("accepted %+v", b)
			}
		}
	})
}
