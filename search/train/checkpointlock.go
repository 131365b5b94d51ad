package train

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// The files by which a process holds a run's folder. The lock ends with the
// process; the other file says who holds it.
const (
	lockFile   = "run.lock"
	holderFile = "run.pid"
)

// LockRun takes a run's folder, which it makes if need be, for this process: a
// folder takes one run at a time. The error names the process that has it. The
// caller calls unlock at the end of the run: a lock of which nobody holds the
// unlock may end early.
func LockRun(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	lock := flock.New(filepath.Join(dir, lockFile))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock of the run folder %s: %w", dir, err)
	case !ok:
		return nil, fmt.Errorf("the run folder %s is in use by %s: stop that run, wait for it, or name another folder with --out", dir, holder(dir))
	}
	path := filepath.Join(dir, holderFile)
	if err := os.WriteFile(path, []byte(self()), 0o644); err != nil {
		_ = lock.Unlock()
		return nil, fmt.Errorf("run folder: %w", err)
	}
	return func() {
		_ = os.Remove(path)
		_ = lock.Unlock()
	}, nil
}

// self describes this process.
func self() string {
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown host"
	}
	return fmt.Sprintf("process %d on %s (since %s)", os.Getpid(), host, time.Now().Format(time.DateTime))
}

// holder describes the process that holds the folder.
func holder(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, holderFile))
	if who := strings.TrimSpace(string(text)); err == nil && who != "" {
		return who
	}
	return "another process"
}
