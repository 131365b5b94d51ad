package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/modeltest"
	"github.com/evopose/evopose/server/batch"
	"github.com/evopose/evopose/server/pose"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a real server on a port of its own over a fake network.
type rig struct {
	t      *testing.T
	url    string
	runner *modeltest.Runner
	server *Server
	logs   *observer.ObservedLogs
	stop   func() error // ends the server and returns what Run returned
}

// start starts a server; flags are configuration keys.
func start(t *testing.T, flags map[string]string, before func(int) error) *rig {
	t.Helper()
	config, err := LoadConfig("test", nil, nil, flags)
	if err != nil {
		t.Fatal(err)
	}
	card := modeltest.Card()
	card.SHA256 = "" // the registry computes it
	registry, err := model.OpenRegistry("", model.Builtin{Card: card, Build: func() ([]byte, error) { return []byte("fake"), nil }})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t}
	metrics := NewMetrics()
	pool := pose.NewPool(pose.PoolOptions{Registry: registry, Batch: config.Batch, OnRun: metrics.OnRun,
		Open: func(_ []byte, card model.Card) (model.Runner, error) {
			r.runner = modeltest.New(card)
			r.runner.Before = before
			return r.runner, nil
		}})
	core, logs := observer.New(zap.DebugLevel)
	r.logs = logs
	if r.server, err = New(config, pool, registry, metrics, zap.New(core)); err != nil {
		t.Fatal(err)
	}
	r.run()
	return r
}

func (r *rig) run() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.server.Run(ctx, l) }()
	stopped := false
	r.stop = func() error {
		cancel()
		if stopped {
			return nil
		}
		stopped = true
		return <-done
	}
	r.t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := r.stop(); err != nil {
			r.t.Error(err)
		}
	})
}

// waitReady waits until the models are loaded.
func (r *rig) waitReady() *rig {
	r.t.Helper()
	for r.server.currentState() == starting {
		time.Sleep(time.Millisecond)
	}
	if s := r.server.currentState(); s != ready {
		r.t.Fatalf("the server is %s: %v", s, r.stop())
	}
	return r
}

type reply struct {
	*http.Response
	body []byte
}

func (r *rig) do(method, path, contentType string, body io.Reader, header ...string) reply {
	r.t.Helper()
	q, err := http.NewRequest(method, r.url+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	if contentType != "" {
		q.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply{resp, data}
}

func (r *rig) pose(query, contentType string, body []byte, header ...string) reply {
	r.t.Helper()
	return r.do("POST", "/v1/pose"+query, contentType, bytes.NewReader(body), header...)
}

// wantProblem checks status, form and text of an error's answer.
func wantProblem(t *testing.T, got reply, status int, detail string) {
	t.Helper()
	var p problem
	if err := json.Unmarshal(got.body, &p); err != nil {
		t.Fatalf("status %d, no problem document: %s", got.StatusCode, got.body)
	}
	if got.StatusCode != status || p.Status != status || !strings.Contains(p.Detail, detail) {
		t.Errorf("status %d, detail %q; want %d, %q in it", got.StatusCode, p.Detail, status, detail)
	}
	if got.Header.Get("Content-Type") != "application/problem+json" || p.RequestID == "" || p.RequestID != got.Header.Get("X-Request-Id") {
		t.Errorf("headers %v, request id %q", got.Header, p.RequestID)
	}
}

func picture() *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, 64, 48))
	for y := range 48 {
		for x := range 64 {
			img.SetNRGBA(x, y, color.NRGBA{uint8(x * 4), uint8(y * 5), uint8(x * y), 255})
		}
	}
	return img
}

func pngBytes(t testing.TB) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, picture()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegBytes(t testing.TB) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture(), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hugePNG is the header of a PNG of 10000x10000 pixels.
func hugePNG() []byte {
	b := []byte("\x89PNG\r\n\x1a\n")
	chunk := []byte("IHDR\x00\x00\x27\x10\x00\x00\x27\x10\x08\x02\x00\x00\x00")
	b = binary.BigEndian.AppendUint32(b, 13)
	b = append(b, chunk...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(chunk))
}

func TestPose(t *testing.T) {
	r := start(t, nil, nil).waitReady()
	got := r.pose("?boxes=5,5,30,40;10,0,50,48", "image/png", pngBytes(t), "X-Request-Id", "my-id.1")
	var a poseAnswer
	if err := json.Unmarshal(got.body, &a); err != nil || got.StatusCode != 200 {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if a.Model != "evopose2d-s" || a.Image != (imageSize{64, 48}) || len(a.People) != 2 || len(a.People[0].Keypoints) != 17 {
		t.Errorf("%+v", a)
	}
	if a.People[0].Keypoints[0].Name != "nose" || a.People[0].Box != [4]float64{5, 5, 30, 40} || a.People[0].Score < 0.9 {
		t.Errorf("%+v", a.People[0])
	}
	if a.RequestID != "my-id.1" || got.Header.Get("X-Request-Id") != "my-id.1" {
		t.Errorf("request id %q", a.RequestID)
	}
	for _, stage := range []string{"decode", "crop", "queue", "infer", "keypoints"} {
		if !strings.Contains(got.Header.Get("Server-Timing"), stage+";dur=") {
			t.Errorf("Server-Timing %q lacks %s", got.Header.Get("Server-Timing"), stage)
		}
	}
	long := r.pose("", "", jpegBytes(t), "X-Request-Id", "not plain!")
	if id := long.Header.Get("X-Request-Id"); id == "not plain!" || id == "" {
		t.Errorf("request id %q was kept", id)
	}
}

// The three forms of a body give the same people.
func TestBodyForms(t *testing.T) {
	r := start(t, nil, nil).waitReady()
	image := pngBytes(t)
	raw := r.pose("?boxes=5,5,30,40&decode=quarter&flip=true", "application/octet-stream", image)

	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for name, v := range map[string]string{"boxes": "[[5,5,30,40]]", "decode": "quarter", "flip": "true"} {
		w.WriteField(name, v)
	}
	part, _ := w.CreateFormFile("image", "a.png")
	part.Write(image)
	w.Close()
	multi := r.pose("", w.FormDataContentType(), form.Bytes())

	doc, _ := json.Marshal(map[string]any{"image": base64.StdEncoding.EncodeToString(image), "boxes": [][]float64{{5, 5, 30, 40}},
		"decode": "quarter", "flip": true})
	asJSON := r.pose("", "application/json; charset=utf-8", doc)
	curl := r.do("POST", "/v1/models/evopose2d-s/pose?boxes=5,5,30,40&decode=quarter&flip=1", "application/x-www-form-urlencoded", bytes.NewReader(image))

	people := func(got reply) any {
		var a poseAnswer
		if err := json.Unmarshal(got.body, &a); err != nil || len(a.People) != 1 {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
		return a.People
	}
	for name, got := range map[string]reply{"multipart": multi, "JSON": asJSON, "model's own route": curl} {
		if diff := cmp.Diff(people(raw), people(got)); diff != "" {
			t.Errorf("%s differs from raw: %s", name, diff)
		}
	}
}

func TestAnswerForms(t *testing.T) {
	r := start(t, nil, nil).waitReady()
	for _, kind := range []string{"image/png", "image/jpeg"} {
		got := r.pose("", "", pngBytes(t), "Accept", "text/html;q=0.9, "+kind)
		img, format, err := image.Decode(bytes.NewReader(got.body))
		if err != nil || "image/"+format != kind || got.Header.Get("Content-Type") != kind || img.Bounds().Size() != image.Pt(64, 48) {
			t.Errorf("%s: %v, %s, %v", kind, err, format, got.Header)
		}
	}
	coco := r.pose("?format=coco", "", pngBytes(t), "Accept", "*/*")
	var results []map[string]any
	if err := json.Unmarshal(coco.body, &results); err != nil || len(results) != 1 || len(results[0]["keypoints"].([]any)) != 51 {
		t.Errorf("%s", coco.body)
	}
	high := r.pose("?min_score=1", "", pngBytes(t))
	if !strings.Contains(string(high.body), `"people":[`) {
		t.Errorf("%s", high.body)
	}
}

func TestAnswerType(t *testing.T) {
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "image/*": "image/png", "image/jpeg": "image/jpeg",
		"application/json;q=0.1, image/png;q=0.5": "image/png", "image/png;q=0, */*": "application/json",
	} {
		if got, err := answerType([]string{accept}); accept != "" && (err != nil || got != want) {
			t.Errorf("Accept %q gives %q, %v; want %q", accept, got, err, want)
		}
	}
	if _, err := answerType([]string{"text/html"}); asProblem(err).Status != 406 {
		t.Error(err)
	}
}

// Every bad request gets its documented answer, and the server stays up.
func TestBadRequests(t *testing.T) {
	r := start(t, map[string]string{"limits.body": "100KiB", "limits.boxes": "4"}, nil).waitReady()
	good, jpg := pngBytes(t), jpegBytes(t)
	for _, tt := range []struct {
		name, query, contentType string
		body                     []byte
		status                   int
		detail                   string
	}{
		{"empty body", "", "image/png", nil, 400, "no picture"},
		{"text", "", "", []byte("hello"), 400, "text"},
		{"truncated JPEG", "", "image/jpeg", jpg[:len(jpg)/2], 400, "JPEG"},
		{"100-megapixel PNG", "", "image/png", hugePNG(), 413, "10000x10000 = 100.0 MP; the limit is 40 MP"},
		{"body over the limit", "", "image/png", make([]byte, 200<<10), 413, "102400 bytes"},
		{"zero box", "?boxes=1,1,0,5", "", good, 422, "boxes"},
		{"negative box", "?boxes=1,1,-4,5", "", good, 422, "-4"},
		{"NaN box", "?boxes=NaN,1,4,5", "", good, 422, "boxes"},
		{"three numbers", "?boxes=1,1,4", "", good, 422, "boxes"},
		{"JSON box of three", "?boxes=[[1,2,3]]", "", good, 422, "box 1 of 1 has 3 numbers"},
		{"too many boxes", "?boxes=" + strings.Repeat("1,1,4,5;", 4) + "1,1,4,5", "", good, 422, "5 boxes; the limit is 4"},
		{"unknown model", "?model=nope", "", good, 404, "nope"},
		{"unknown option", "?zoom=2", "", good, 422, "zoom: unknown option"},
		{"option twice", "?flip=true&flip=false", "", good, 422, "flip: given twice"},
		{"bad flip", "?flip=maybe", "", good, 422, "want true or false"},
		{"bad decode", "?decode=best", "", good, 422, "argmax, quarter or dark"},
		{"bad min_score", "?min_score=2", "", good, 422, "0 to 1"},
		{"bad format", "?format=xml", "", good, 422, "json or coco"},
		{"content type", "", "text/csv", good, 415, "text/csv"},
		{"malformed content type", "", "image/", good, 415, "Content-Type"},
		{"bad JSON", "", "application/json", []byte("{"), 400, "JSON"},
		{"JSON without picture", "", "application/json", []byte("{}"), 400, "no picture"},
		{"JSON image not base64", "", "application/json", []byte(`{"image": "%%"}`), 422, "image"},
		{"JSON image a number", "", "application/json", []byte(`{"image": 5}`), 422, "base64"},
		{"JSON unknown key", "", "application/json", []byte(`{"pic": "a"}`), 422, "pic"},
		{"broken form", "", "multipart/form-data; boundary=x", []byte("--x\r\nbroken"), 400, "body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, r.pose(tt.query, tt.contentType, tt.body), tt.status, tt.detail)
		})
	}
	wantProblem(t, r.pose("", "", good, "Accept", "text/html"), 406, "application/json")
	wantProblem(t, r.do("GET", "/v1/pose", "", nil), 405, "GET")
	wantProblem(t, r.do("GET", "/nothing", "", nil), 404, "/nothing")
	wantProblem(t, r.do("GET", "/v1/models/nope", "", nil), 404, "nope")
	if got := r.pose("", "", good); got.StatusCode != 200 {
		t.Errorf("afterwards a good request gets %d", got.StatusCode)
	}
}

// A body over the limit is refused by its length, before it is sent.
func TestLargeBodyIsNotRead(t *testing.T) {
	r := start(t, nil, nil).waitReady()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/pose HTTP/1.1\r\nHost: x\r\nContent-Length: 52428800\r\n\r\n")
	answer := make([]byte, 200)
	n, err := c.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 413") {
		t.Errorf("%v: %s", err, answer[:n])
	}
}

// A client that sends its body too slowly is answered and cut off.
func TestSlowBody(t *testing.T) {
	r := start(t, map[string]string{"limits.timeout": "200ms"}, nil).waitReady()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/pose HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nabc")
	answer, err := io.ReadAll(c) // the server closes the connection
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408") {
		t.Errorf("%v: %s", err, answer)
	}
}

// blocker makes runs after the warm-up wait until it is opened.
type blocker struct {
	armed   chan struct{} // closed: runs block
	entered chan struct{}
	open    chan struct{}
}

func newBlocker() *blocker {
	return &blocker{make(chan struct{}), make(chan struct{}, 100), make(chan struct{})}
}

func (b *blocker) before(int) error {
	select {
	case <-b.armed:
		b.entered <- struct{}{}
		<-b.open
	default:
	}
	return nil
}

func TestQueueFullAndDeadline(t *testing.T) {
	b := newBlocker()
	r := start(t, map[string]string{"batch.max": "1", "batch.queue": "2", "limits.boxes": "1", "limits.timeout": "300ms", "batch.delay": "0s"}, b.before).waitReady()
	close(b.armed)
	image := pngBytes(t)
	replies := make(chan reply, 3)
	send := func() { replies <- r.pose("", "", image) }
	go send()
	<-b.entered // the first is in its run
	go send()
	go send()
	m, err := r.server.pool.Get(t.Context(), "evopose2d-s")
	if err != nil {
		t.Fatal(err)
	}
	for m.Batcher.Len() < 2 {
		time.Sleep(time.Millisecond)
	}
	full := r.pose("", "", image)
	wantProblem(t, full, 503, "waiting")
	if full.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	for range 3 {
		wantProblem(t, <-replies, 504, "limits.timeout")
	}
	close(b.open)
	if got := r.pose("", "", image); got.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", got.StatusCode, got.body)
	}
}

// A client that goes away frees its place in the queue.
func TestClientGone(t *testing.T) {
	b := newBlocker()
	r := start(t, map[string]string{"batch.max": "1", "batch.delay": "0s"}, b.before).waitReady()
	close(b.armed)
	first := make(chan reply, 1)
	go func() { first <- r.pose("", "", pngBytes(t)) }()
	<-b.entered
	ctx, cancel := context.WithCancel(t.Context())
	q, _ := http.NewRequestWithContext(ctx, "POST", r.url+"/v1/pose", bytes.NewReader(pngBytes(t)))
	gone := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(q)
		if err == nil {
			resp.Body.Close()
		}
		gone <- err
	}()
	m, _ := r.server.pool.Get(t.Context(), "evopose2d-s")
	for m.Batcher.Len() < 1 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for m.Batcher.Len() > 0 { // hangs, and so fails, if the place is not freed
		time.Sleep(time.Millisecond)
	}
	close(b.open)
	if got := <-first; got.StatusCode != 200 {
		t.Errorf("the other client got %d", got.StatusCode)
	}
	for r.logs.FilterField(zap.Int("status", statusClientGone)).Len() == 0 {
		time.Sleep(time.Millisecond)
	}
}

// Shutdown answers what is in flight, and no more.
func TestDrain(t *testing.T) {
	b := newBlocker()
	r := start(t, map[string]string{"batch.delay": "0s"}, b.before).waitReady()
	close(b.armed)
	inFlight := make(chan reply, 1)
	go func() { inFlight <- r.pose("", "", pngBytes(t)) }()
	<-b.entered
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	for r.server.currentState() != draining {
		time.Sleep(time.Millisecond)
	}
	w := &recorder{header: http.Header{}}
	q, _ := http.NewRequest("GET", "/readyz", nil)
	r.server.Handler().ServeHTTP(w, q)
	if w.status != 503 || !strings.Contains(w.body.String(), "shutting down") {
		t.Errorf("readyz while draining: %d %s", w.status, w.body.String())
	}
	close(b.open)
	if got := <-inFlight; got.StatusCode != 200 {
		t.Errorf("the request in flight got %d", got.StatusCode)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if !r.runner.Closed() {
		t.Error("the network was not closed")
	}
}

type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// Before its models are warm the server is alive, but not ready.
func TestStarting(t *testing.T) {
	hold := make(chan struct{})
	r := start(t, nil, func(int) error { <-hold; return nil })
	if got := r.do("GET", "/livez", "", nil); got.StatusCode != 200 {
		t.Errorf("livez: %d", got.StatusCode)
	}
	if got := r.do("GET", "/readyz", "", nil); got.StatusCode != 503 || !strings.Contains(string(got.body), "being loaded") {
		t.Errorf("readyz: %d %s", got.StatusCode, got.body)
	}
	wantProblem(t, r.pose("", "", pngBytes(t)), 503, "being loaded")
	close(hold)
	r.waitReady()
	if got := r.do("GET", "/readyz", "", nil); got.StatusCode != 200 || !strings.Contains(string(got.body), `"provider":"cpu"`) {
		t.Errorf("readyz: %d %s", got.StatusCode, got.body)
	}
}

// A model that cannot be loaded ends the server with the reason.
func TestLoadFails(t *testing.T) {
	r := start(t, nil, func(int) error { return errors.New("out of memory") })
	for r.server.currentState() == starting {
		time.Sleep(time.Millisecond)
	}
	if err := r.stop(); err == nil || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("Run returned %v", err)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	r := start(t, nil, nil).waitReady()
	w := &recorder{header: http.Header{}}
	q, _ := http.NewRequest("GET", "/", nil)
	r.server.observe(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret") })).ServeHTTP(w, q)
	if w.status != 500 || strings.Contains(w.body.String(), "secret") {
		t.Errorf("%d %s", w.status, w.body.String())
	}
	if r.logs.FilterMessage("request").Len() != 1 || !strings.Contains(fmt.Sprint(r.logs.All()), "secret") {
		t.Error("the log does not tell the panic")
	}
}

func TestTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("# people\nalpha\n\nbeta\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, map[string]string{"auth.tokens_file": file}, nil).waitReady()
	for header, status := range map[string]int{"": 401, "Bearer nope": 401, "Basic alpha": 401, "Bearer alpha": 200, "bearer beta": 200, "Bearer # people": 401} {
		if got := r.pose("", "", pngBytes(t), "Authorization", header); got.StatusCode != status {
			t.Errorf("Authorization %q: %d, want %d", header, got.StatusCode, status)
		}
	}
	if got := r.do("GET", "/readyz", "", nil); got.StatusCode != 200 {
		t.Errorf("readyz needs no token, got %d", got.StatusCode)
	}
}

func TestModelsAndMetrics(t *testing.T) {
	r := start(t, nil, nil).waitReady()
	r.pose("", "", pngBytes(t))
	r.pose("?model=nope", "", pngBytes(t))
	r.do("GET", "/who/knows", "", nil)
	got := r.do("GET", "/v1/models", "", nil)
	var list struct {
		Models []map[string]any `json:"models"`
	}
	if err := json.Unmarshal(got.body, &list); err != nil || len(list.Models) != 1 {
		t.Fatalf("%s", got.body)
	}
	m := list.Models[0]
	if m["name"] != "evopose2d-s" || m["loaded"] != true || m["provider"] != "cpu" || m["warning"] != untrained {
		t.Errorf("%v", m)
	}
	text := string(r.do("GET", "/metrics", "", nil).body)
	for _, want := range []string{
		`evopose_http_request_duration_seconds_count{code="200",route="/v1/pose"} 1`,
		`evopose_http_request_duration_seconds_count{code="404",route="/v1/pose"} 1`,
		`evopose_http_request_duration_seconds_count{code="404",route="none"} 1`,
		`evopose_stage_duration_seconds_count{model="evopose2d-s",stage="infer"} 1`,
		`evopose_batch_size_count{model="evopose2d-s"}`,
		`evopose_queue_length{model="evopose2d-s"} 0`,
		`evopose_people_total{model="evopose2d-s"} 1`,
		`evopose_rejected_total{reason="unknown_model"} 1`,
		`evopose_model_info{model="evopose2d-s",provider="cpu",sha256="`,
		"go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func TestLogLine(t *testing.T) {
	r := start(t, nil, nil).waitReady()
	r.pose("", "", pngBytes(t), "X-Request-Id", "one")
	lines := r.logs.FilterField(zap.String("request_id", "one"))
	for lines.Len() == 0 {
		time.Sleep(time.Millisecond)
		lines = r.logs.FilterField(zap.String("request_id", "one"))
	}
	fields := lines.All()[0].ContextMap()
	for _, key := range []string{"method", "route", "status", "bytes", "took", "remote", "model", "people", "decode", "infer"} {
		if _, ok := fields[key]; !ok {
			t.Errorf("the log line lacks %s: %v", key, fields)
		}
	}
}

func TestAsProblemHidesInternals(t *testing.T) {
	p := asProblem(errors.New("password is hunter2"))
	if p.Status != 500 || strings.Contains(p.Detail, "hunter2") || !strings.Contains(p.Error(), "hunter2") {
		t.Errorf("%+v", p)
	}
	if asProblem(fmt.Errorf("x: %w", batch.ErrClosed)).Status != 503 {
		t.Error("a closed batcher is not 503")
	}
}

func BenchmarkPoseRequest(b *testing.B) {
	config, err := LoadConfig("bench", nil, nil, map[string]string{"batch.delay": "0s"})
	if err != nil {
		b.Fatal(err)
	}
	card := modeltest.Card()
	card.SHA256 = "" // the registry computes it
	registry, _ := model.OpenRegistry("", model.Builtin{Card: card, Build: func() ([]byte, error) { return []byte("fake"), nil }})
	metrics := NewMetrics()
	pool := pose.NewPool(pose.PoolOptions{Registry: registry, Batch: config.Batch, OnRun: metrics.OnRun,
		Open: func(_ []byte, card model.Card) (model.Runner, error) { return modeltest.New(card), nil }})
	defer pool.Close(context.Background())
	s, err := New(config, pool, registry, metrics, zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Load(b.Context()); err != nil {
		b.Fatal(err)
	}
	body := jpegBytes(b)
	for b.Loop() {
		q, _ := http.NewRequest("POST", "/v1/pose", bytes.NewReader(body))
		w := &recorder{header: http.Header{}}
		s.Handler().ServeHTTP(w, q)
		if w.status != 0 {
			b.Fatal(w.status)
		}
	}
}
