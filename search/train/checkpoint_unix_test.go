//go:build unix

package train

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// aloneEnv names the test that a copy of the test program was started for.
const aloneEnv = "EVOPOSE_TEST_ALONE"

// alone reports whether the test has a process of its own. If not it starts
// one, in which the test runs, and fails if that fails.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(aloneEnv) == t.Name() {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), aloneEnv+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// limitFileSize makes writing past n bytes of a file fail, as a full disk
// does, until the process ends. It holds for what the testing package writes
// too, hence the test must be alone.
func limitFileSize(t *testing.T, n uint64) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = n
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
}

// When the disk is full, the files that were there stay, and nothing else.
func TestFullDisk(t *testing.T) {
	if !alone(t) {
		return
	}
	dir := t.TempDir()
	for step := 1; step <= 2; step++ {
		if err := SaveLatest(dir, sampleCheckpoint(step)); err != nil {
			t.Fatal(err)
		}
	}
	big := sampleCheckpoint(3)
	big.Put(GroupWeights, map[string][]float32{"big": make([]float32, 100_000)})
	limitFileSize(t, 64<<10)
	err := SaveLatest(dir, big)
	if !errors.Is(err, syscall.EFBIG) {
		t.Fatalf("error %v", err)
	}
	checkLatest(t, dir, 2, "")
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("files left: %v", entries)
	}
}

// helperEnv tells a copy of the test program what to be: see TestHelperProcess.
const helperEnv, helperDir = "EVOPOSE_TEST_HELPER", "EVOPOSE_TEST_DIR"

// helper starts a copy of the test program, which is killed when the test ends
// at the latest.
func helper(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	cmd.Env = append(os.Environ(), helperEnv+"="+what, helperDir+"="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// TestHelperProcess is no test: it is what the helpers run.
func TestHelperProcess(t *testing.T) {
	dir := os.Getenv(helperDir)
	switch os.Getenv(helperEnv) {
	case "saver":
		for step := 1; ; step++ {
			if err := SaveLatest(dir, sampleCheckpoint(step)); err != nil {
				t.Fatal(err)
			}
		}
	case "holder":
		unlock, err := LockRun(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		time.Sleep(time.Minute)
	}
}

// waitFor waits until there is such a file.
func waitFor(t *testing.T, path string) {
	t.Helper()
	for range 1000 {
		if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s did not come", path)
}

// A process that saves without pause is killed at any moment: there is always
// a checkpoint to go on from.
func TestKilledWhileSaving(t *testing.T) {
	if testing.Short() {
		t.Skip("kills ten processes")
	}
	dir := t.TempDir()
	for i := range 10 {
		cmd := helper(t, "saver", dir)
		waitFor(t, filepath.Join(dir, PreviousFile))
		time.Sleep(time.Duration(7*i) * time.Millisecond)
		kill(cmd)
		c, skipped, err := LoadLatest(dir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := same(sampleCheckpoint(c.Meta.Step), c); diff != "" {
			t.Fatal(diff)
		}
		if skipped != nil && !errors.Is(skipped, os.ErrNotExist) {
			t.Errorf("the latest was torn: %v", skipped)
		}
	}
}

// The error names the process that holds the folder; its lock ends with it,
// however it ends.
func TestLockOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := helper(t, "holder", dir)
	waitFor(t, filepath.Join(dir, holderFile))
	_, err := LockRun(dir)
	if want := fmt.Sprintf("in use by process %d on ", cmd.Process.Pid); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
	kill(cmd)
	unlock, err := LockRun(dir)
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	unlock()
}
