package ort

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The pair is pinned in go.mod and in pins.go; both must say the same.
func TestBindingIsThePinnedOne(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "github.com/yalue/onnxruntime_go " + BindingVersion; !strings.Contains(string(mod), want) {
		t.Errorf("go.mod does not require %s: raise pins.go with it", want)
	}
}

// The oldest library that serves follows from the binding's C header.
func TestOldestIsTheBindingsAPI(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		t.Skipf("no go command to find the binding's source: %v", err)
	}
	header, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "onnxruntime_c_api.h"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^#define ORT_API_VERSION (\d+)`).FindSubmatch(header)
	if m == nil {
		t.Fatal("the binding's header has no ORT_API_VERSION")
	}
	if want := "1." + string(m[1]); Oldest != want {
		t.Errorf("Oldest is %s, the binding needs %s", Oldest, want)
	}
}

func TestPinsAreWhole(t *testing.T) {
	for name, pins := range map[string]map[string]pin{"pip": pipPins, "pip cuda": pipCUDAPins, "npm": npmPins, "release": releasePins} {
		for platform, p := range pins {
			t.Run(name+" "+platform, func(t *testing.T) {
				if err := checkPin(p, name == "release"); err != nil {
					t.Error(err)
				}
				if strings.HasPrefix(name, "pip") == (p.tag == "") {
					t.Errorf("tag %q", p.tag)
				}
			})
		}
	}
}

func checkPin(p pin, archiveOnly bool) error {
	if !isSum(p.archive) {
		return fmt.Errorf("archive sum %q", p.archive)
	}
	if len(p.members) == 0 || !strings.Contains(p.members[0].path, "onnxruntime.") {
		return fmt.Errorf("members %v do not begin with the library", p.members)
	}
	for _, m := range p.members {
		if (m.sum == "") != archiveOnly || m.sum != "" && !isSum(m.sum) {
			return fmt.Errorf("%s has sum %q", m.path, m.sum)
		}
		if !strings.Contains(m.path, Version) && strings.Contains(m.path, "libonnxruntime.so.1.") {
			return fmt.Errorf("%s is not of version %s", m.path, Version)
		}
	}
	return nil
}

func isSum(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32
}

func TestSourcesOfEachPlatform(t *testing.T) {
	for platform, want := range map[string]string{
		"linux/amd64": "pip npm release", "linux/arm64": "pip npm release", "darwin/arm64": "pip npm release",
		"windows/amd64": "pip npm release", "windows/arm64": "pip npm", "darwin/amd64": "", "plan9/386": "",
	} {
		var names []string
		for _, s := range sources(platform, cpuBuild) {
			names = append(names, s.name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: sources %q, want %q", platform, got, want)
		}
	}
	if got := sources("linux/amd64", cudaBuild); len(got) != 1 || got[0].pin.archive != pipCUDAPins["linux/amd64"].archive {
		t.Errorf("CUDA sources of linux/amd64: %v", got)
	}
}
