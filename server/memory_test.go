package server

import (
	"bytes"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// unsized hides a body's length, so that it is sent in chunks and the limit
// shows only while it is read.
type unsized struct{ io.Reader }

// barrage sends bad requests with large bodies, each of which must be refused.
func (r *rig) barrage() {
	r.t.Helper()
	zeros := make([]byte, 8<<20)
	jpg := jpegBytes(r.t)
	form := append([]byte("--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\n"), zeros...)
	for _, tt := range []struct {
		contentType string
		body        io.Reader
	}{
		{"image/png", unsized{io.MultiReader(bytes.NewReader(zeros), bytes.NewReader(zeros), bytes.NewReader(zeros))}}, // 24 MiB of at most 20
		{"image/png", bytes.NewReader(zeros)},
		{"image/png", bytes.NewReader(append(hugePNG(), zeros...))},
		{"image/jpeg", bytes.NewReader(append(jpg[:len(jpg)/2:len(jpg)/2], zeros...))},
		{"multipart/form-data; boundary=x", bytes.NewReader(form)},
		{"application/json", strings.NewReader(`{"image": "` + strings.Repeat("A", 8<<20))},
		{"application/json", strings.NewReader(`{"boxes": [` + strings.Repeat("[1,2,3,4],", 400_000))},
		{"application/json", strings.NewReader(strings.Repeat("[", 4<<20))},
	} {
		if got := r.do("POST", "/v1/pose", tt.contentType, tt.body); got.StatusCode < 400 || got.StatusCode > 499 {
			r.t.Errorf("%s: status %d, %s", tt.contentType, got.StatusCode, got.body)
		}
	}
}

// held returns the bytes that are in use and the goroutines that run, after
// connections and pools have let go.
func held() (heap uint64, goroutines int) {
	http.DefaultClient.CloseIdleConnections()
	time.Sleep(50 * time.Millisecond) // closed connections end on their own
	for range 3 {                     // a sync.Pool keeps its content for two collections
		debug.FreeOSMemory()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, runtime.NumGoroutine()
}

// After a barrage of bad requests memory comes back, and so does every
// goroutine.
func TestMemoryComesBack(t *testing.T) {
	r := start(t, nil, nil).waitReady()
	r.barrage()
	heap, goroutines := held()
	for range 3 {
		r.barrage()
	}
	after, running := held()
	t.Logf("heap in use %.1f MB, then %.1f MB; goroutines %d, then %d", float64(heap)/1e6, float64(after)/1e6, goroutines, running)
	if after > heap+4<<20 { // the least body above is 4 MB
		t.Errorf("heap in use grew from %d to %d bytes", heap, after)
	}
	// A connection that the client dropped ends in its own time.
	for wait := 0; running > goroutines && wait < 100; wait++ {
		time.Sleep(50 * time.Millisecond)
		running = runtime.NumGoroutine()
	}
	if running > goroutines {
		t.Errorf("goroutines grew from %d to %d", goroutines, running)
	}
	if got := r.pose("", "", pngBytes(t)); got.StatusCode != http.StatusOK {
		t.Errorf("afterwards a good request gets %d", got.StatusCode)
	}
}
