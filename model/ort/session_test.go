package ort

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

// loadRuntime loads the real ONNX Runtime; orttest, which does the same, would
// import this package in a circle.
func loadRuntime(t testing.TB) Library {
	t.Helper()
	lib, err := Init(t.Context(), LibraryOptions{Install: true, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// network returns a real network of a small input.
func network(t testing.TB, input model.Size) ([]byte, model.Card) {
	t.Helper()
	n, err := model.NewNetwork(model.GenotypeS, input)
	if err != nil {
		t.Fatal(err)
	}
	card := model.Card{Name: "test", Genotype: model.GenotypeS, Input: n.Input, Heatmap: n.Heatmap}
	data, err := onnx.Export(n, model.InitialWeights(n, 1), card, false)
	if err != nil {
		t.Fatal(err)
	}
	return data, card
}

var small = model.Size{H: 64, W: 32}

func openSmall(t testing.TB, o Options) *Session {
	t.Helper()
	loadRuntime(t)
	data, card := network(t, small)
	s, err := Open(data, card, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// split gives s a session for each batch size, as on CUDA; none: it stays as it is.
// Each refuses batches of another size.
func (s *Session) split(t *testing.T, sizes ...int) {
	t.Helper()
	if len(sizes) == 0 {
		return
	}
	if err := s.destroy(); err != nil {
		t.Fatal(err)
	}
	data, _ := network(t, small)
	for _, n := range sizes {
		m, err := onnx.Unmarshal(data)
		if err != nil {
			t.Fatal(err)
		}
		m.Graph.Inputs[0].Dims[0] = onnx.Dim{Size: int64(n)}
		err = s.add(n, Options{Threads: 1}, newThread(), func(*ort.SessionOptions) ([]byte, error) { return onnx.Marshal(m), nil })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// noise returns the crops of a batch, each different.
func noise(s *Session, n int, seed uint64) *buffers {
	b := s.newBuffers(n)
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range b.crops {
		b.crops[i] = float32(rng.NormFloat64())
	}
	return b
}

// difference is the largest difference relative to the largest value.
func difference(a, b []float32) float64 {
	var most, scale float64
	for i := range a {
		most = max(most, math.Abs(float64(a[i])-float64(b[i])))
		scale = max(scale, math.Abs(float64(b[i])))
	}
	if len(a) != len(b) || scale == 0 || math.IsNaN(most) {
		return math.Inf(1)
	}
	return most / scale
}

const tolerance = 1e-4 // float32 sums in another order

// reference runs the crops one by one.
func reference(t testing.TB, s *Session, b *buffers, n int) []float32 {
	t.Helper()
	want := make([]float32, len(b.heatmaps))
	in, out := len(b.crops)/n, len(want)/n
	for i := range n {
		if err := s.Run(b.crops[i*in:(i+1)*in], want[i*out:(i+1)*out]); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Equal(want[:out], want[out:2*out]) {
		t.Fatal("different crops give equal heatmaps")
	}
	return want
}

// However a batch is run - as one, split, or padded to a warm size - each crop
// gets the heatmaps it gets alone.
func TestRunBatches(t *testing.T) {
	const n = 7
	var want []float32
	for name, c := range map[string]struct {
		max   int
		sizes []int
	}{
		"as one":        {16, nil},
		"exactly":       {n, nil},
		"split":         {3, nil},
		"one by one":    {1, nil},
		"padded":        {16, []int{1, 2, 4, 8, 16}},
		"split, padded": {4, []int{1, 2, 4}},
		"warm size":     {n, []int{1, 2, 4, n}},
	} {
		t.Run(name, func(t *testing.T) {
			s := openSmall(t, Options{Provider: CPU, MaxBatch: c.max})
			s.split(t, c.sizes...)
			b := noise(s, n, 3)
			if want == nil {
				want = reference(t, s, b, n)
			}
			for range 2 { // the second run finds used buffers
				clear(b.heatmaps)
				if err := s.Run(b.crops, b.heatmaps); err != nil {
					t.Fatal(err)
				}
				if d := difference(b.heatmaps, want); d > tolerance {
					t.Errorf("differs by %g", d)
				}
			}
		})
	}
}

func TestBatchSizes(t *testing.T) {
	for most, want := range map[int][]int{1: {1}, 2: {1, 2}, 3: {1, 2, 3}, 16: {1, 2, 4, 8, 16}, 20: {1, 2, 4, 8, 16, 20}} {
		if got := batchSizes(most); !slices.Equal(got, want) {
			t.Errorf("batchSizes(%d) = %v, want %v", most, got, want)
		}
	}
}

func TestRunConcurrently(t *testing.T) {
	s := openSmall(t, Options{Provider: CPU})
	s.split(t, 1, 4, 16) // with padding
	want := map[int][]float32{}
	for n := 2; n <= 5; n++ {
		want[n] = reference(t, s, noise(s, n, uint64(n)), n)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 6 {
				n := 2 + (g+i)%4
				b := noise(s, n, uint64(n))
				if err := s.Run(b.crops, b.heatmaps); err != nil {
					t.Error(err)
				} else if d := difference(b.heatmaps, want[n]); d > tolerance {
					t.Errorf("batch of %d differs by %g", n, d)
				}
				if i == 3 {
					runtime.GC() // the slices must stay where they are
				}
			}
		})
	}
	wg.Wait()
}

func TestRunLengths(t *testing.T) {
	s := openSmall(t, Options{Provider: CPU})
	b := s.newBuffers(2)
	in, out := len(b.crops)/2, len(b.heatmaps)/2
	for _, c := range [][2]int{{0, 0}, {in, 0}, {0, out}, {in, 2 * out}, {2 * in, out}, {in - 1, out}, {in + 1, out}, {2 * in, 2*out - 1}} {
		if err := s.Run(b.crops[:c[0]], b.heatmaps[:c[1]]); err == nil || !strings.Contains(err.Error(), "want 6144 and 8704 for each crop") {
			t.Errorf("Run of %d and %d values: %v", c[0], c[1], err)
		}
	}
}

// Close waits for the runs in flight; those that come later get an error.
func TestClose(t *testing.T) {
	s := openSmall(t, Options{Provider: CPU})
	var wg sync.WaitGroup
	started := make(chan struct{}, 4)
	for range 4 {
		wg.Go(func() {
			b := noise(s, 4, 1)
			for i := 0; ; i++ {
				clear(b.heatmaps)
				if err := s.Run(b.crops, b.heatmaps); err != nil {
					if !strings.Contains(err.Error(), "the session is closed") {
						t.Error(err)
					}
					return
				}
				if !slices.ContainsFunc(b.heatmaps, func(v float32) bool { return v != 0 }) {
					t.Error("a run was cut off")
				}
				if i == 0 {
					started <- struct{}{}
				}
			}
		})
	}
	for range cap(started) {
		<-started
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestOpenComparesTheCard(t *testing.T) {
	loadRuntime(t)
	data, card := network(t, small)
	graph, err := onnx.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(g *onnx.Graph)) []byte {
		m := *graph
		m.Graph.Inputs, m.Graph.Outputs = slices.Clone(m.Graph.Inputs), slices.Clone(m.Graph.Outputs)
		change(&m.Graph)
		return onnx.Marshal(&m)
	}
	other := card
	other.Input, other.Heatmap = model.Size{H: 256, W: 192}, model.Size{H: 128, W: 96}
	for name, c := range map[string]struct {
		data []byte
		card model.Card
		want []string
	}{
		"sizes": {data, other, []string{"model test", "input is image float32 [N 3 64 32]", "card needs image float32 [N 3 256 192]",
			"output is heatmaps float32 [N 17 32 16]", "card needs heatmaps float32 [N 17 128 96]"}},
		"input name":   {changed(func(g *onnx.Graph) { g.Inputs[0].Name = "x" }), card, []string{"input is x float32 [N 3 64 32]; the card needs image float32"}},
		"input type":   {changed(func(g *onnx.Graph) { g.Inputs[0].Type = onnx.Float16 }), card, []string{"input is image float16"}},
		"fixed batch":  {changed(func(g *onnx.Graph) { g.Inputs[0].Dims = append([]onnx.Dim{{Size: 1}}, g.Inputs[0].Dims[1:]...) }), card, []string{"[1 3 64 32]"}},
		"two outputs":  {changed(func(g *onnx.Graph) { g.Outputs = append(g.Outputs, g.Outputs[0]) }), card, []string{"output is heatmaps float32 [N 17 32 16], heatmaps"}},
		"no output":    {changed(func(g *onnx.Graph) { g.Outputs = nil }), card, []string{"it has no outputs"}},
		"missing node": {changed(func(g *onnx.Graph) { g.Nodes = g.Nodes[1:] }), card, []string{"model test"}},
		"not ONNX":     {[]byte("hello"), card, []string{"model test"}},
		"empty":        {nil, card, []string{"model test"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(c.data, c.card, Options{Provider: CPU})
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error lacks %q: %v", part, err)
				}
			}
		})
	}
}

func TestOptions(t *testing.T) {
	loadRuntime(t)
	data, card := network(t, small)
	for _, o := range []Options{{Provider: "gpu"}, {Threads: -1}, {MaxBatch: -1}, {Device: -1}} {
		if _, err := Open(data, card, o); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	o, err := Options{}.withDefaults()
	if err != nil || o != (Options{Provider: Auto, Threads: PhysicalCores(), MaxBatch: 16}) {
		t.Errorf("defaults %+v, %v", o, err)
	}
	for _, o := range []Options{{Provider: CPU, Threads: 1}, {Provider: CPU, Threads: 3, Spin: true}} {
		s := openSmall(t, o)
		b := noise(s, 2, 1)
		if d := difference(reference(t, s, b, 2), reference(t, s, b, 2)); d > tolerance {
			t.Errorf("%+v: two runs differ by %g", o, d)
		}
	}
}

// Batches of changing sizes must not make the process grow.
func TestMemoryIsFlat(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc/self/statm")
	}
	s := openSmall(t, Options{Provider: CPU})
	b := s.newBuffers(16)
	in, out := len(b.crops)/16, len(b.heatmaps)/16
	runs := func(n int) int64 {
		for i := range n {
			k := 1 + i*7%16
			if err := s.Run(b.crops[:k*in], b.heatmaps[:k*out]); err != nil {
				t.Fatal(err)
			}
		}
		return resident(t)
	}
	before := runs(64)
	if after := runs(320); after > before+16<<20 {
		t.Errorf("resident memory grew from %d to %d MB", before>>20, after>>20)
	}
}

// lifeMain is a process that loads and unloads the runtime twice.
func lifeMain() int {
	for range 2 {
		lib, err := Init(context.Background(), LibraryOptions{Install: true})
		if err != nil {
			println(err.Error())
			return 1
		}
		if again, err := Init(context.Background(), LibraryOptions{Path: lib.Path}); err != nil || again != lib {
			println("a second Init differs", err)
			return 1
		}
		if err := life(lib); err != "" {
			println(err)
			return 1
		}
	}
	return 0
}

func life(lib Library) string {
	if _, err := Init(context.Background(), LibraryOptions{Path: os.Args[0]}); err == nil || !strings.Contains(err.Error(), lib.Path+" is loaded already") {
		return "another library was accepted"
	}
	n, _ := model.NewNetwork(model.GenotypeS, small)
	card := model.Card{Name: "test", Input: n.Input, Heatmap: n.Heatmap}
	data, _ := onnx.Export(n, model.InitialWeights(n, 1), card, false)
	s, err := Open(data, card, Options{Provider: CPU})
	if err != nil {
		return err.Error()
	}
	b := s.newBuffers(1)
	if err := s.Run(b.crops, b.heatmaps); err != nil {
		return err.Error()
	}
	if err := Shutdown(); err == nil || !strings.Contains(err.Error(), "1 sessions are open") {
		return "Shutdown with an open session"
	}
	if err := s.Close(); err != nil {
		return err.Error()
	}
	if err := Shutdown(); err != nil {
		return err.Error()
	}
	if err := Shutdown(); err != nil {
		return "second Shutdown: " + err.Error()
	}
	if _, err := Open(data, card, Options{Provider: CPU}); err == nil || !strings.Contains(err.Error(), "call Init first") {
		return "Open after Shutdown"
	}
	if CheckCUDA(0) == nil {
		return "CUDA after Shutdown"
	}
	return ""
}

// The library is one of the process, so its whole life is tried in another.
func TestLife(t *testing.T) {
	loadRuntime(t) // installs it
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0])
	c.Env = append(os.Environ(), "ORT_TEST_LIFE=1", "GODEBUG=cgocheck=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func BenchmarkRun(b *testing.B) {
	for _, n := range []int{1, 8} {
		b.Run(map[int]string{1: "batch=1", 8: "batch=8"}[n], func(b *testing.B) {
			loadRuntime(b)
			data, card := network(b, model.Size{H: 256, W: 192})
			s, err := Open(data, card, Options{Provider: CPU})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			x := noise(s, n, 1)
			for b.Loop() {
				if err := s.Run(x.crops, x.heatmaps); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "crops/s")
		})
	}
}
