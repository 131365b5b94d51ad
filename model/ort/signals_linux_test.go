package ort

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

func resident(t *testing.T) int64 {
	t.Helper()
	pages, err := strconv.ParseInt(strings.Fields(string(readFile(t, "/proc/self/statm")))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// setDefault does what a library may do: it takes a signal's handler away, so
// that the signal ends the process.
func setDefault(t *testing.T, s syscall.Signal) {
	t.Helper()
	var action [32]uintptr // struct sigaction of the kernel: SIG_DFL, no flags
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
}

// arrives sends the signal to this process and waits for it.
func arrives(t *testing.T, s syscall.Signal, c <-chan os.Signal) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), s); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("%v did not arrive", s)
	}
}

func TestKeepSignals(t *testing.T) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	defer signal.Stop(term)
	if n := keepSignals(func() {}); n != 0 {
		t.Errorf("%d handlers restored, none was changed", n)
	}
	if n := keepSignals(func() { setDefault(t, syscall.SIGTERM); setDefault(t, syscall.SIGSEGV) }); n != 2 {
		t.Errorf("%d handlers restored, want 2", n)
	}
	arrives(t, syscall.SIGTERM, term)
	nilPointerPanics(t)

	// What os/signal changes meanwhile stays changed.
	usr := make(chan os.Signal, 1)
	signal.Ignore(syscall.SIGUSR2)
	defer signal.Stop(usr)
	keepSignals(func() { signal.Notify(usr, syscall.SIGUSR2) })
	arrives(t, syscall.SIGUSR2, usr)
}

// nilPointerPanics checks that Go still handles SIGSEGV.
func nilPointerPanics(t *testing.T) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	var p *[4]int
	p[int(time.Now().UnixNano()&3)]++
}

func TestSignalsWithOpenSessions(t *testing.T) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	defer signal.Stop(term)
	s := openSmall(t, Options{})
	arrives(t, syscall.SIGTERM, term)
	b := s.newBuffers(1)
	if err := s.Run(b.crops, b.heatmaps); err != nil {
		t.Fatal(err)
	}
	arrives(t, syscall.SIGTERM, term)
	nilPointerPanics(t)
}
