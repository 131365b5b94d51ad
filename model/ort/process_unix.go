//go:build unix

package ort

import (
	"os/exec"
	"syscall"
)

// killChildren makes the end of a command's context end its children too.
func killChildren(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
}
