package ort

import (
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

// openSessions returns how many sessions keep the library loaded.
func openSessions() int {
	environment.Lock()
	defer environment.Unlock()
	return environment.sessions
}

// wantOpen fails the test unless so many sessions are open.
func wantOpen(t *testing.T, want int) {
	t.Helper()
	if n := openSessions(); n != want {
		t.Errorf("%d sessions count as open, want %d", n, want)
	}
}

// grows reports by how much resident memory grows over n calls of f, after a
// few that may fill pools and arenas.
func grows(t *testing.T, n int, f func()) int64 {
	t.Helper()
	measure := func(n int) int64 {
		for range n {
			f()
		}
		debug.FreeOSMemory()
		return resident(t)
	}
	before := measure(max(4, n/4))
	return measure(n) - before
}

// cycle opens a session, runs it and closes it.
func cycle(t *testing.T, data []byte, card model.Card) {
	t.Helper()
	s, err := Open(data, card, Options{Provider: CPU})
	if err != nil {
		t.Fatal(err)
	}
	b := s.newBuffers(3)
	if err := s.Run(b.crops, b.heatmaps); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A model that is loaded and unloaded all day leaves nothing behind.
func TestOpenAndCloseManyTimes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc/self/statm")
	}
	loadRuntime(t)
	data, card := network(t, small)
	open := openSessions()
	const n = 16
	if d := grows(t, n, func() { cycle(t, data, card) }); d > 24<<20 { // each session has 10 MB of weights
		t.Errorf("resident memory grew by %d MB over %d sessions", d>>20, n)
	}
	wantOpen(t, open)
}

// An Open that fails leaves no session, and no memory of one.
func TestOpenThatFailsLeavesNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc/self/statm")
	}
	loadRuntime(t)
	data, card := network(t, small)
	m, err := onnx.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	broken := *m // the runtime reads all its weights before it finds the fault
	broken.Graph.Nodes = slices.Clone(m.Graph.Nodes)
	broken.Graph.Nodes[len(broken.Graph.Nodes)-1].Inputs = []string{"nothing", "final_conv/kernel"}
	open := openSessions()
	fail := func(data []byte, card model.Card, o Options) {
		s, err := Open(data, card, o)
		if err == nil {
			_ = s.Close()
			t.Fatal("opened")
		}
	}
	other := card
	other.Input.H *= 2
	brokenData := onnx.Marshal(&broken)
	d := grows(t, 12, func() {
		fail(brokenData, card, Options{Provider: CPU})
		fail(data, other, Options{Provider: CPU})
		fail(data[:len(data)/2], card, Options{})
		fail(data, card, Options{Provider: "tpu"})
		if CheckCUDA(0) != nil {
			fail(data, card, Options{Provider: CUDA})
		}
	})
	if d > 24<<20 {
		t.Errorf("resident memory grew by %d MB over 12 rounds", d>>20)
	}
	wantOpen(t, open)
}

// Sessions of several goroutines come and go without minding each other, and
// Close may be called by all at once.
func TestSessionsComeAndGo(t *testing.T) {
	loadRuntime(t)
	data, card := network(t, small)
	open := openSessions()
	shared, err := Open(data, card, Options{Provider: CPU})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3 {
				cycle(t, data, card)
				b := shared.newBuffers(1)
				if err := shared.Run(b.crops, b.heatmaps); err != nil && !strings.Contains(err.Error(), "the session is closed") {
					t.Error(err)
				}
			}
			if err := shared.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantOpen(t, open) // closed four times, counted once
}

func TestRunAfterClose(t *testing.T) {
	s := openSmall(t, Options{Provider: CPU})
	b := s.newBuffers(1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(b.crops, b.heatmaps); err == nil || !strings.Contains(err.Error(), "model test: the session is closed") {
		t.Errorf("Run after Close: %v", err)
	}
	if s.Provider() != CPU || s.Card().Name != "test" {
		t.Error("a closed session forgot what it was")
	}
}

// Shutdown refuses while anything is open, and so the library outlives every
// session.
func TestShutdownWaitsForSessions(t *testing.T) {
	s := openSmall(t, Options{Provider: CPU})
	if err := Shutdown(); err == nil || !strings.Contains(err.Error(), "sessions are open") {
		t.Fatalf("Shutdown: %v", err)
	}
	b := s.newBuffers(1)
	if err := s.Run(b.crops, b.heatmaps); err != nil {
		t.Errorf("after the refused Shutdown: %v", err)
	}
}
