package ort

import (
	"errors"
	"sync"
	"syscall"
	"testing"
)

// Whatever goroutine it comes from, all that is done on a thread is done on that
// one, and nothing else is.
func TestThread(t *testing.T) {
	own := newThread()
	defer own.close()
	var mu sync.Mutex
	on, others := map[int]bool{}, map[int]bool{}
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			_ = own.do(func() error { on[syscall.Gettid()] = true; return nil })
			mu.Lock()
			defer mu.Unlock()
			others[syscall.Gettid()] = true
		})
	}
	wait.Wait()
	if len(on) != 1 {
		t.Errorf("on %d threads", len(on))
	}
	for id := range on {
		if others[id] {
			t.Error("other goroutines ran on it")
		}
	}
	want := errors.New("no")
	if err := own.do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	var none *thread
	defer none.close()
	if err := none.do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("without a thread: %v", err)
	}
}
