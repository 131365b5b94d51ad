package ort

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// PhysicalCores returns the number of physical cores that the process may use:
// two threads of one core share the units that the networks need, so more
// threads than cores do not help. The limit of a container counts, too.
func PhysicalCores() int {
	// GOMAXPROCS starts as the smaller of the affinity mask and the cgroup's limit.
	limit := runtime.GOMAXPROCS(0)
	cores := countCores("/sys/devices/system/cpu")
	if cores == 0 {
		cores = limit
		if runtime.GOARCH == "amd64" && runtime.GOOS != "darwin" {
			cores = (limit + 1) / 2 // most have two threads a core
		}
	}
	return max(1, min(cores, limit))
}

// countCores counts the distinct cores in Linux's topology of processors, 0
// where there is none.
func countCores(dir string) int {
	lists, _ := filepath.Glob(filepath.Join(dir, "cpu[0-9]*", "topology", "thread_siblings_list"))
	cores := map[string]bool{}
	for _, path := range lists {
		if text, err := os.ReadFile(path); err == nil {
			cores[strings.TrimSpace(string(text))] = true
		}
	}
	return len(cores)
}
