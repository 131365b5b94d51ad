package ort

import (
	"os/exec"
	"strconv"
)

// killChildren makes the end of a command's context end its children too.
func killChildren(c *exec.Cmd) {
	c.Cancel = func() error {
		return exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(c.Process.Pid)).Run()
	}
}
