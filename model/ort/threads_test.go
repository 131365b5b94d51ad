package ort

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
)

func TestPhysicalCores(t *testing.T) {
	limit := runtime.GOMAXPROCS(0)
	if n := PhysicalCores(); n < 1 || n > limit {
		t.Errorf("PhysicalCores() = %d of %d", n, limit)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as a container's limit does
	if n := PhysicalCores(); n != 1 {
		t.Errorf("PhysicalCores() = %d with a limit of 1", n)
	}
}

func TestCountCores(t *testing.T) {
	for name, c := range map[string]struct {
		siblings []string
		want     int
	}{
		"two threads a core": {[]string{"0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"}, 4},
		"neighbours":         {[]string{"0-1", "0-1", "2-3", "2-3"}, 2},
		"one thread a core":  {[]string{"0", "1", "2"}, 3},
		"more than ten":      {[]string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"}, 12},
		"unknown":            {nil, 0},
	} {
		dir := t.TempDir()
		for i, s := range c.siblings {
			writeFile(t, filepath.Join(dir, fmt.Sprintf("cpu%d", i), "topology", "thread_siblings_list"), []byte(s+"\n"))
		}
		writeFile(t, filepath.Join(dir, "cpufreq", "policy0"), nil)
		if got := countCores(dir); got != c.want {
			t.Errorf("%s: %d cores, want %d", name, got, c.want)
		}
	}
}
