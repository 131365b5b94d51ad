package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadTime is the processor time of this thread so far.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // the clock is there since Linux 2.6.12
	}
	return time.Duration(t.Nano())
}
