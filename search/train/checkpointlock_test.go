package train

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestLockRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs", "s") // made on demand
	unlock, err := LockRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockRun(dir)
	if err == nil {
		t.Fatal("two runs have one folder")
	}
	for _, want := range []string{dir, fmt.Sprintf("process %d on ", os.Getpid()), "name another folder with --out"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	unlock()
	if _, err := os.Stat(filepath.Join(dir, holderFile)); !os.IsNotExist(err) {
		t.Errorf("%s was left: %v", holderFile, err)
	}
	again, err := LockRun(dir)
	if err != nil {
		t.Fatalf("after the first run: %v", err)
	}
	again()
}

// Of many that want the folder at once, one gets it.
func TestLockRunAtOnce(t *testing.T) {
	dir := t.TempDir()
	unlocks := make([]func(), 20)
	var all sync.WaitGroup
	for i := range unlocks {
		all.Go(func() { unlocks[i], _ = LockRun(dir) })
	}
	all.Wait()
	got := 0
	for _, unlock := range unlocks {
		if unlock != nil {
			unlock()
			got++
		}
	}
	if got != 1 {
		t.Errorf("%d got the folder", got)
	}
}

func TestLockRunWithoutHolderFile(t *testing.T) {
	dir := t.TempDir()
	unlock, err := LockRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := os.Remove(filepath.Join(dir, holderFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := LockRun(dir); err == nil || !strings.Contains(err.Error(), "in use by another process: ") {
		t.Errorf("error %v", err)
	}
}

func TestLockRunOnAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LockRun(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}
