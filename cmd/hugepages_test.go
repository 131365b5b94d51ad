package cmd

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestWantsHugePages(t *testing.T) {
	const madvise = "always [madvise] never\n"
	train := []string{"evopose", "train"}
	for name, c := range map[string]struct {
		args, environ []string
		mode          string
		want          bool
	}{
		"training":         {train, []string{"HOME=/root"}, madvise, true},
		"serving":          {[]string{"evopose", "serve", "--listen", ":1"}, nil, madvise, true},
		"no command":       {[]string{"evopose"}, nil, madvise, false},
		"no arguments":     {nil, nil, madvise, false},
		"short command":    {[]string{"evopose", "models"}, nil, madvise, false},
		"a test's binary":  {[]string{"cmd.test", "-test.run=train"}, nil, madvise, false},
		"huge anyway":      {train, nil, "[always] madvise never\n", false},
		"never huge":       {train, nil, "always madvise [never]\n", false},
		"no such kernel":   {train, nil, "", false},
		"opted out":        {train, []string{"EVOPOSE_HUGE_PAGES=off"}, madvise, false},
		"started again":    {train, []string{"EVOPOSE_HUGE_PAGES=on"}, madvise, false},
		"tuned by others":  {train, []string{"GLIBC_TUNABLES=glibc.malloc.check=1"}, madvise, false},
		"odd environment":  {train, []string{"", "=", "GLIBC_TUNABLES"}, madvise, false},
		"another variable": {train, []string{"X=GLIBC_TUNABLES=1"}, madvise, true},
	} {
		if got := wantsHugePages(c.args, c.environ, c.mode); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// hugePagesTest makes TestMain call UseHugePages and say what came of it.
const hugePagesTest = "CMD_TEST_HUGE_PAGES"

func reportHugePages() {
	os.Args = []string{"evopose", "train"}
	UseHugePages()
	fmt.Printf("%d %s\n", os.Getpid(), os.Getenv(tunablesEnv))
}

func TestUseHugePages(t *testing.T) {
	mode, _ := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	asked := ""
	if strings.Contains(string(mode), "[madvise]") {
		asked = hugeMalloc
	}
	for given, want := range map[string]string{"": asked, hugePagesEnv + "=off": "", hugePagesEnv + "=": "", tunablesEnv + "=x": "x"} {
		c := exec.CommandContext(t.Context(), os.Args[0])
		c.Env = []string{hugePagesTest + "=1"}
		if given != "" {
			c.Env = append(c.Env, given)
		}
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%s: %v", given, err)
		}
		if want := fmt.Sprintf("%d %s\n", c.Process.Pid, want); string(out) != want {
			t.Errorf("%s: %q, want %q", given, out, want)
		}
	}
}
