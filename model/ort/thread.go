package ort

import "runtime"

// thread is a thread of the operating system on which all runs of a CUDA session
// take place: the provider keeps its handles (cuBLAS, cuDNN) by thread, and
// goroutines change threads all the time. A nil thread is that of the caller.
type thread struct{ calls chan func() }

func newThread() *thread {
	t := &thread{calls: make(chan func())}
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its goroutine
		for f := range t.calls {
			f()
		}
	}()
	return t
}

// do runs f on the thread and waits for it.
func (t *thread) do(f func() error) error {
	if t == nil {
		return f()
	}
	done := make(chan error, 1)
	t.calls <- func() { done <- f() }
	return <-done
}

// close ends the thread; nothing may be done on it any more.
func (t *thread) close() {
	if t != nil {
		close(t.calls)
	}
}
