package ort

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

// Options say how a session runs.
type Options struct {
	// Provider is Auto, CPU or CUDA; empty means Auto. CUDA is an error where
	// it does not work.
	Provider string
	// Threads is the number of threads of one run on the CPU; 0 means
	// PhysicalCores. On CUDA it does not count.
	Threads int
	// MaxBatch is the most crops of one run of the network; Run splits more. 0
	// means 16.
	MaxBatch int
	// Spin lets the threads wait for the next run in a busy loop. That saves
	// little time and keeps the processor busy after each run, so it is off by
	// default; within a run they always spin.
	Spin bool
	// FullBatches says that most runs have MaxBatch crops: on CUDA, where each
	// size has a session of its own, smaller ones are then filled up to it.
	FullBatches bool
	// Device is the number of the CUDA device.
	Device int
}

const defaultMaxBatch = 16

// Session is a network that ONNX Runtime runs. It implements model.Runner.
type Session struct {
	card     model.Card
	provider string
	reason   string
	max      int

	mu      sync.RWMutex // held for reading by the runs in flight
	engines []engine     // by ascending size, the last of size max or for any; none: closed
	padded  sync.Pool    // *buffers for the largest size
}

// engine is a session of the runtime for one batch size, or for any if that is 0.
//
// On CUDA each size has its own: for a shape other than that of the run before
// all convolutions are planned anew. On an H100 batches of 8 and 16 crops of S by
// turns took 480 to 700 ms in one session, and 4 and 7 ms in two.
type engine struct {
	size    int
	session *ort.DynamicAdvancedSession
	thread  *thread // of CUDA
}

var _ model.Runner = (*Session)(nil)

// Open opens a network from the bytes of an ONNX file. Its input and output
// must be "image" [N,3,H,W] and "heatmaps" [N,17,h,w], float32, with the
// card's sizes. Init must have been called.
//
// On CUDA there is a session for each batch size, which is run once, since the
// first run is slow.
func Open(data []byte, card model.Card, o Options) (*Session, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	lib, err := hold()
	if err != nil {
		return nil, err
	}
	s := &Session{card: card, max: o.MaxBatch}
	err = checkGraph(data, card)
	if err == nil {
		keepSignals(func() { err = s.open(data, o, lib) })
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("model %s: %w", card.Name, err)
	}
	return s, nil
}

func (o Options) withDefaults() (Options, error) {
	provider, err := ParseProvider(o.Provider)
	if err != nil {
		return o, err
	}
	o.Provider = provider
	if o.Threads < 0 || o.MaxBatch < 0 || o.Device < 0 {
		return o, fmt.Errorf("threads %d, batch %d, device %d: want 0 or more", o.Threads, o.MaxBatch, o.Device)
	}
	if o.Threads == 0 {
		o.Threads = PhysicalCores()
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = defaultMaxBatch
	}
	return o, nil
}

// open chooses the provider: CUDA is tried unless the CPU was asked for.
func (s *Session) open(data []byte, o Options, lib Library) error {
	if o.Provider == CPU {
		s.reason = "asked for"
		return s.openCPU(data, o)
	}
	err := s.openCUDA(data, o, lib)
	if err == nil {
		s.reason = "asked for"
		if o.Provider == Auto {
			s.reason = fmt.Sprintf("auto: CUDA device %d works", o.Device)
		}
		return nil
	}
	if o.Provider == CUDA {
		return err
	}
	s.reason = "auto: " + err.Error()
	return s.openCPU(data, o)
}

func (s *Session) openCPU(data []byte, o Options) error {
	s.provider = CPU
	return s.add(0, o, nil, func(*ort.SessionOptions) ([]byte, error) { return data, nil })
}

// openCUDA creates the sessions of all batch sizes and runs each once.
func (s *Session) openCUDA(data []byte, o Options, lib Library) (err error) {
	s.provider = CUDA
	defer func() {
		if err == nil {
			return
		}
		if !strings.HasPrefix(err.Error(), "provider cuda:") {
			err = fmt.Errorf("provider cuda: device %d: %s", o.Device, plain(err))
		}
		err = errors.Join(err, s.destroy())
	}()
	if data, err = symmetric(data); err != nil {
		return err
	}
	o.Threads = 1 // they would all wait: no slower on an H100 than 16
	sizes := batchSizes(s.max)
	if o.FullBatches {
		sizes = []int{s.max}
	}
	for _, n := range sizes {
		err := s.add(n, o, newThread(), func(options *ort.SessionOptions) ([]byte, error) {
			return data, appendCUDA(options, o.Device, lib, nil)
		})
		if err != nil {
			return err
		}
		b := s.newBuffers(n)
		if err := s.engines[len(s.engines)-1].run(s.card, b.crops, b.heatmaps, n); err != nil {
			return fmt.Errorf("provider cuda: the first run of %d crops: %s", n, plain(err))
		}
	}
	return nil
}

// add creates the session for a batch size, on the thread.
func (s *Session) add(size int, o Options, on *thread, provider func(*ort.SessionOptions) ([]byte, error)) error {
	e := engine{size: size, thread: on}
	err := on.do(func() (err error) {
		e.session, err = newSession(o, provider)
		return err
	})
	if err != nil {
		on.close()
		return err
	}
	s.engines = append(s.engines, e)
	return nil
}

// batchSizes returns the powers of two below most, and most.
func batchSizes(most int) (sizes []int) {
	for n := 1; n < most; n *= 2 {
		sizes = append(sizes, n)
	}
	return append(sizes, most)
}

// newSession creates a session; add adds its execution provider and returns the
// ONNX file for it.
func newSession(o Options, add func(*ort.SessionOptions) ([]byte, error)) (*ort.DynamicAdvancedSession, error) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer func() { _ = options.Destroy() }() // the session has its own copy
	spin := map[bool]string{true: "0", false: "1"}[o.Spin]
	err = errors.Join(
		options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll),
		options.SetLogSeverityLevel(ort.LoggingLevelError),
		options.SetIntraOpNumThreads(o.Threads),
		options.SetInterOpNumThreads(1),
		options.AddSessionConfigEntry("session.force_spinning_stop", spin),
	)
	if err != nil {
		return nil, err
	}
	data, err := add(options)
	if err != nil {
		return nil, err
	}
	return ort.NewDynamicAdvancedSessionWithONNXData(data, []string{model.InputName}, []string{onnx.OutputName}, options)
}

// checkGraph compares the graph's input and output with the card.
func checkGraph(data []byte, card model.Card) error {
	m, err := onnx.Unmarshal(data)
	if err != nil {
		return err
	}
	return errors.Join(
		checkValue("input", m.Graph.Inputs, model.InputName, 3, card.Input),
		checkValue("output", m.Graph.Outputs, onnx.OutputName, model.Keypoints, card.Heatmap),
	)
}

// checkValue wants exactly one float32 tensor of the name, channels and size,
// with a free number of crops.
func checkValue(kind string, values []onnx.Value, name string, channels int, size model.Size) error {
	want := describe(onnx.Value{Name: name, Type: onnx.Float,
		Dims: []onnx.Dim{{Param: "N"}, {Size: int64(channels)}, {Size: int64(size.H)}, {Size: int64(size.W)}}})
	var got []string
	for _, v := range values {
		got = append(got, describe(v))
	}
	if len(got) == 1 && got[0] == want {
		return nil
	}
	return fmt.Errorf("its %s is %s; the card needs %s", kind, strings.Join(got, ", "), want)
}

// describe writes a value like "image float32 [N 3 256 192]".
func describe(v onnx.Value) string {
	dims := make([]string, len(v.Dims))
	for i, d := range v.Dims {
		dims[i] = strconv.FormatInt(d.Size, 10)
		if d.Param != "" {
			dims[i] = "N" // whatever its name is
		}
	}
	types := map[onnx.DataType]string{onnx.Float: "float32", onnx.Float16: "float16", onnx.Int64: "int64"}
	return fmt.Sprintf("%s %s %v", v.Name, types[v.Type], dims)
}

// Card implements model.Runner.
func (s *Session) Card() model.Card { return s.card }

// Provider implements model.Runner: CPU or CUDA.
func (s *Session) Provider() string { return s.provider }

// ProviderReason says why that provider was chosen.
func (s *Session) ProviderReason() string { return s.reason }

// Run implements model.Runner. It is safe for concurrent use.
func (s *Session) Run(crops, heatmaps []float32) error {
	in, out := 3*s.card.Input.Area(), model.Keypoints*s.card.Heatmap.Area()
	n := len(crops) / in
	if n == 0 || len(crops) != n*in || len(heatmaps) != n*out {
		return fmt.Errorf("model %s: %d values in and %d out: want %d and %d for each crop, and one crop at least",
			s.card.Name, len(crops), len(heatmaps), in, out)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.engines == nil {
		return fmt.Errorf("model %s: the session is closed", s.card.Name)
	}
	for i := 0; i < n; i += s.max {
		j := min(n, i+s.max)
		if err := s.runPadded(crops[i*in:j*in], heatmaps[i*out:j*out], j-i); err != nil {
			return fmt.Errorf("model %s: run of %d crops: %w", s.card.Name, j-i, err)
		}
	}
	return nil
}

// runPadded runs n crops, filled up to the next larger batch size that there is.
func (s *Session) runPadded(crops, heatmaps []float32, n int) error {
	i := slices.IndexFunc(s.engines, func(e engine) bool { return e.size >= n || e.size == 0 })
	e := s.engines[i]
	if e.size == n || e.size == 0 {
		return e.run(s.card, crops, heatmaps, n)
	}
	b, _ := s.padded.Get().(*buffers)
	if b == nil {
		b = s.newBuffers(s.max)
	}
	defer s.padded.Put(b)
	in, out := len(crops)/n, len(heatmaps)/n
	copy(b.crops, crops)
	clear(b.crops[n*in : e.size*in])
	err := e.run(s.card, b.crops[:e.size*in], b.heatmaps[:e.size*out], e.size)
	copy(heatmaps, b.heatmaps)
	return err
}

// buffers hold a padded batch.
type buffers struct{ crops, heatmaps []float32 }

func (s *Session) newBuffers(n int) *buffers {
	return &buffers{make([]float32, n*3*s.card.Input.Area()), make([]float32, n*model.Keypoints*s.card.Heatmap.Area())}
}

// run runs n crops on the caller's own slices: nothing is copied. The tensors
// keep pointers to them in C memory, so they are pinned meanwhile.
func (e engine) run(card model.Card, crops, heatmaps []float32, n int) (err error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(&crops[0])
	pinner.Pin(&heatmaps[0])
	in, out := card.Input, card.Heatmap
	input, err := ort.NewTensor(ort.NewShape(int64(n), 3, int64(in.H), int64(in.W)), crops)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, input.Destroy()) }()
	output, err := ort.NewTensor(ort.NewShape(int64(n), model.Keypoints, int64(out.H), int64(out.W)), heatmaps)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, output.Destroy()) }()
	return e.thread.do(func() error { return e.session.Run([]ort.Value{input}, []ort.Value{output}) })
}

// Close waits for the runs in flight and then destroys the session; a second
// call does nothing.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engines == nil {
		return nil
	}
	err := s.destroy()
	release()
	return err
}

// destroy destroys all engines.
func (s *Session) destroy() (err error) {
	for _, e := range s.engines {
		err = errors.Join(err, e.thread.do(e.session.Destroy))
		e.thread.close()
	}
	s.engines = nil
	return err
}
