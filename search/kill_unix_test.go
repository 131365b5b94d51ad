//go:build unix

package search

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// killDir names, for the process that is killed, the folder of its search.
const killDir = "EVOPOSE_TEST_KILLED_SEARCH"

// slow takes a few milliseconds an evaluation.
type slow struct{ Silent }

func (slow) Evaluated(Entry, bool) { time.Sleep(3 * time.Millisecond) }

// TestKilledProcess is the search that is killed, in a process of its own.
func TestKilledProcess(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		t.Skip("run by TestKilled only")
	}
	if _, err := searchIn(t, dir, small(), &fake{delay: true}, 3, slow{}); err != nil {
		t.Fatal(err)
	}
}

// Killed by SIGKILL again and again, wherever it happens to be, a search ends
// as one that was not.
func TestKilled(t *testing.T) {
	want := searchAll(t, small(), &fake{}, 1)
	dir := t.TempDir()
	kills, entries := 0, 0
	for entries < 25 {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledProcess$") //nolint:gosec // this test
		c.Env = append(os.Environ(), killDir+"="+dir)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		entries = waitForMore(t, dir, entries+5)
		_ = c.Process.Kill()
		_ = c.Wait()
		kills++
	}
	var o teller
	got, err := searchIn(t, dir, small(), &fake{}, 2, &o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if kills < 2 || o.kept < 25 {
		t.Errorf("%d kills, %d evaluations kept", kills, o.kept)
	}
}

// waitForMore waits until the journal has some entries, and returns how many.
func waitForMore(t *testing.T, dir string, n int) int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, JournalFile)); err != nil {
			continue
		}
		if _, entries, err := ReadJournal(dir); err == nil && len(entries) >= n {
			return len(entries)
		}
	}
	t.Fatal("the search does not go on")
	return 0
}
