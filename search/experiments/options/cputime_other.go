//go:build !linux

package main

import "time"

var begin = time.Now()

// threadTime is the time so far: the processor time of a thread is for Linux
// only.
func threadTime() time.Duration { return time.Since(begin) }
