package ort

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"

	binding "github.com/yalue/onnxruntime_go"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
)

// Options says how to run a network.
type Options struct {
	// Provider is CPU, CUDA or Auto; empty means Auto.
	Provider string
	// Threads is the number of intra-op threads; 0: PhysicalCores.
	Threads int
	// Spin lets idle intra-op threads wait actively between operators: lower
	// latency, and a busy core while the server is idle.
	Spin bool
	// MaxBatch is the largest number of crops of a run to prepare for on
	// CUDA; 0: 16.
	MaxBatch int
}

// Session is a network under ONNX Runtime; it implements model.Runner.
type Session struct {
	card     model.Card
	provider string
	reason   string
	buckets  []int // batch sizes that CUDA runs at; nil: any
	padding  sync.Pool

	mu      sync.RWMutex // held for reading during a run
	session *binding.DynamicAdvancedSession
}

// Open prepares an ONNX network that Export wrote for running. The card must
// have the file's input and heatmap size. Init comes first.
func Open(data []byte, card model.Card, o Options) (*Session, error) {
	if err := checkShapes(data, card); err != nil {
		return nil, fmt.Errorf("model %s: %w", card.Name, err)
	}
	s := &Session{card: card}
	var err error
	switch o.Provider {
	case CPU:
		s.provider, s.reason = CPU, "asked for"
		err = s.open(data, o)
	case CUDA:
		s.provider, s.reason = CUDA, "asked for"
		err = s.openCUDA(data, o)
	case Auto, "":
		err = s.openAuto(data, o)
	default:
		err = fmt.Errorf("provider %q: want %s, %s or %s", o.Provider, Auto, CPU, CUDA)
	}
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", card.Name, err)
	}
	return s, nil
}

func (s *Session) openAuto(data []byte, o Options) error {
	s.provider, s.reason = CUDA, "CUDA works on this machine"
	err := s.openCUDA(data, o)
	if err == nil {
		return nil
	}
	s.provider, s.reason, s.buckets = CPU, "CUDA is not available: "+err.Error(), nil
	return s.open(data, o)
}

// openCUDA opens the session on CUDA and runs it once at each batch size that
// will be used, so that no request waits for cuDNN's preparations.
func (s *Session) openCUDA(data []byte, o Options) error {
	loaded.Lock()
	missing := cudaMissing(loaded.library)
	loaded.Unlock()
	if missing != nil {
		return fmt.Errorf("provider cuda: %w", missing)
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = 16
	}
	for n := 1; n < o.MaxBatch; n *= 2 {
		s.buckets = append(s.buckets, n)
	}
	s.buckets = append(s.buckets, o.MaxBatch)
	err := keepSignals(func() error {
		if err := s.open(data, o); err != nil {
			return err
		}
		return s.warm()
	})
	if err != nil {
		return fmt.Errorf("provider cuda: %w", errors.Join(err, s.Close()))
	}
	return nil
}

func (s *Session) warm() error {
	for _, n := range s.buckets {
		in := make([]float32, n*3*s.card.Input.Area())
		out := make([]float32, n*model.Keypoints*s.card.Heatmap.Area())
		if err := s.Run(in, out); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) open(data []byte, o Options) error {
	options, err := binding.NewSessionOptions()
	if err != nil {
		return err
	}
	defer options.Destroy() //nolint:errcheck // the session keeps its own copy
	if err := configure(options, s.provider, o); err != nil {
		return err
	}
	s.session, err = binding.NewDynamicAdvancedSessionWithONNXData(data, []string{onnx.InputName}, []string{onnx.OutputName}, options)
	return err
}

func configure(options *binding.SessionOptions, provider string, o Options) error {
	threads := o.Threads
	if threads == 0 {
		threads = PhysicalCores()
	}
	spin := "0"
	if o.Spin {
		spin = "1"
	}
	err := errors.Join(
		options.SetGraphOptimizationLevel(binding.GraphOptimizationLevelEnableAll),
		options.SetIntraOpNumThreads(threads),
		options.SetInterOpNumThreads(1),
		options.AddSessionConfigEntry("session.intra_op.allow_spinning", spin))
	if err == nil && provider == CUDA {
		err = addCUDA(options)
	}
	return err
}

// checkShapes compares the file's input and output with the card.
func checkShapes(data []byte, card model.Card) error {
	m, err := onnx.Unmarshal(data)
	if err != nil {
		return err
	}
	in := describe(onnx.InputName, "N", 3, card.Input)
	out := describe(onnx.OutputName, "N", model.Keypoints, card.Heatmap)
	if got := describeAll(m.Graph.Inputs); got != in {
		return fmt.Errorf("the ONNX file's input is %s, the card says %s", got, in)
	}
	if got := describeAll(m.Graph.Outputs); got != out {
		return fmt.Errorf("the ONNX file's output is %s, the card says %s", got, out)
	}
	return nil
}

func describe(name, batch string, channels int, s model.Size) string {
	return fmt.Sprintf("%s[%s %d %d %d]", name, batch, channels, s.H, s.W)
}

func describeAll(values []onnx.Value) string {
	text := ""
	for _, v := range values {
		dims := make([]string, len(v.Dims))
		for i, d := range v.Dims {
			dims[i] = d.Param
			if d.Param == "" {
				dims[i] = strconv.FormatInt(d.Size, 10)
			}
		}
		text += fmt.Sprintf("%s%v", v.Name, dims)
	}
	return text
}

// Card implements model.Runner.
func (s *Session) Card() model.Card { return s.card }

// Provider implements model.Runner.
func (s *Session) Provider() string { return s.provider }

// ProviderReason tells why that provider was chosen.
func (s *Session) ProviderReason() string { return s.reason }

// Run implements model.Runner.
func (s *Session) Run(crops, heatmaps []float32) error {
	in, out := 3*s.card.Input.Area(), model.Keypoints*s.card.Heatmap.Area()
	n := len(crops) / in
	if n < 1 || len(crops) != n*in || len(heatmaps) != n*out {
		return fmt.Errorf("model %s: %d input and %d output values; a crop has %d and %d", s.card.Name, len(crops), len(heatmaps), in, out)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.session == nil {
		return fmt.Errorf("model %s: %w", s.card.Name, errClosed)
	}
	if padded := s.bucket(n); padded != n {
		return s.runPadded(crops, heatmaps, padded)
	}
	return s.run(crops, heatmaps, n)
}

// bucket returns the batch size to run n crops at.
func (s *Session) bucket(n int) int {
	if i, _ := slices.BinarySearch(s.buckets, n); i < len(s.buckets) {
		return s.buckets[i]
	}
	return n
}

// runPadded runs a larger batch whose last crops are zero.
func (s *Session) runPadded(crops, heatmaps []float32, n int) error {
	in, out := n*3*s.card.Input.Area(), n*model.Keypoints*s.card.Heatmap.Area()
	buffer, _ := s.padding.Get().(*[]float32)
	if buffer == nil || len(*buffer) < in+out {
		fresh := make([]float32, in+out)
		buffer = &fresh
	}
	defer s.padding.Put(buffer)
	input, output := (*buffer)[:in], (*buffer)[in:in+out]
	clear(input[copy(input, crops):])
	if err := s.run(input, output, n); err != nil {
		return err
	}
	copy(heatmaps, output)
	return nil
}

// run hands the slices to the runtime as they are; they are pinned meanwhile,
// as the C side holds pointers to them for longer than one call.
func (s *Session) run(crops, heatmaps []float32, n int) error {
	var pins runtime.Pinner
	defer pins.Unpin()
	pins.Pin(&crops[0])
	pins.Pin(&heatmaps[0])
	input, err := tensor(crops, n, 3, s.card.Input)
	if err != nil {
		return err
	}
	defer input.Destroy() //nolint:errcheck // frees only the header
	output, err := tensor(heatmaps, n, model.Keypoints, s.card.Heatmap)
	if err != nil {
		return err
	}
	defer output.Destroy() //nolint:errcheck // frees only the header
	return s.session.Run([]binding.Value{input}, []binding.Value{output})
}

func tensor(data []float32, n, channels int, size model.Size) (*binding.Tensor[float32], error) {
	return binding.NewTensor(binding.NewShape(int64(n), int64(channels), int64(size.H), int64(size.W)), data)
}

// Close implements model.Runner: it waits for the runs in flight.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		return nil
	}
	err := s.session.Destroy()
	s.session = nil
	return err
}
