//go:build unix

package train

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runEnv holds, for TestTrainProcess, the configuration and options of a run.
const runEnv = "EVOPOSE_TEST_RUN"

type childRun struct {
	Config  Config
	Dir     string
	Threads int
}

// TestTrainProcess is no test: it is the process that is killed. After some
// steps of the second epoch it trains no further.
func TestTrainProcess(t *testing.T) {
	text := os.Getenv(runEnv)
	if text == "" {
		t.Skip("is what TestKilledRun starts")
	}
	var child childRun
	if err := json.Unmarshal([]byte(text), &child); err != nil {
		t.Fatal(err)
	}
	_, o := tinyRun(t)
	o.Dir, o.Every = child.Dir, time.Nanosecond
	o.Progress = &recorder{onStep: func(s StepReport) {
		if s.Epoch == 2 && s.Step == 4 {
			_ = os.WriteFile(filepath.Join(child.Dir, "ready"), []byte("yes"), 0o600)
			time.Sleep(time.Hour)
		}
	}}
	t.Fatal(Run(t.Context(), child.Config, o))
}

// A run whose process is killed loses what came after its last checkpoint, and
// does that again: in the end it is the run that nobody killed.
func TestKilledRun(t *testing.T) {
	c, o := tinyRun(t)
	train(t, c, o)
	want := latest(t, o)
	o.Dir += "-killed"
	text, err := json.Marshal(childRun{Config: c, Dir: o.Dir})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestTrainProcess$")
	cmd.Env = append(os.Environ(), runEnv+"="+string(text))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	for range 10 {
		if _, err := os.Stat(filepath.Join(o.Dir, "ready")); err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	waitFor(t, filepath.Join(o.Dir, "ready"))
	if err := Run(t.Context(), c, o); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("a second run in the folder: error %v", err)
	}
	kill(cmd)
	o.Resume = true
	r := train(t, Config{}, o)
	if r.epoch != 1 || r.step != 3 {
		t.Errorf("went on after epoch %d, step %d; want 1, 3", r.epoch, r.step)
	}
	sameRun(t, latest(t, o), want)
}

// When the disk is full the run ends and says so; the checkpoint before stays.
func TestRunOnFullDisk(t *testing.T) {
	if !alone(t) {
		return
	}
	c, o := tinyRun(t)
	o.Every = time.Nanosecond
	o.Progress = &recorder{onStep: func(s StepReport) {
		if s.Step == 4 {
			limitFileSize(t, 32<<10)
		}
	}}
	err := Run(t.Context(), c, o)
	if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), "checkpoint "+filepath.Join(o.Dir, LatestFile)) {
		t.Errorf("error %v", err)
	}
	if ckpt := latest(t, o); ckpt.Meta.Step != 3 {
		t.Errorf("the checkpoint is of step %d, want 3", ckpt.Meta.Step)
	}
}
