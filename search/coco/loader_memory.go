package coco

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
)

const (
	mostCache     = 4 << 30 // bytes of decoded pictures kept by default
	unknownMemory = 2 << 30 // bytes taken as free where nothing says
)

// defaultCache returns half of the free memory, at most mostCache, in bytes.
func defaultCache() int64 { return min(FreeMemory()/2, mostCache) }

// FreeMemory returns how much memory, in bytes, a process may take on this
// machine and in its container, as far as Linux says; elsewhere a cautious
// guess.
func FreeMemory() int64 { return freeMemory("/") }

// freeMemory returns the memory, in bytes, that Linux has free, or that a
// container's control group (version 2) allows if that is less. root is the
// root folder.
func freeMemory(root string) int64 {
	free := int64(unknownMemory)
	if data, err := os.ReadFile(root + "proc/meminfo"); err == nil {
		if kib, ok := memAvailable(data); ok {
			free = kib << 10
		}
	}
	if most, limited := readNumber(root + "sys/fs/cgroup/memory.max"); limited {
		free = min(free, most)
	}
	return free
}

// memAvailable reads "MemAvailable:  123 kB".
func memAvailable(meminfo []byte) (kib int64, ok bool) {
	for lines := bufio.NewScanner(bytes.NewReader(meminfo)); lines.Scan(); {
		if rest, found := strings.CutPrefix(lines.Text(), "MemAvailable:"); found {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib, err == nil
		}
	}
	return 0, false
}

// readNumber reads a file that holds a number; "max", no limit, is none.
func readNumber(path string) (int64, bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return n, err == nil
}
