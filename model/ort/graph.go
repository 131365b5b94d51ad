package ort

import (
	"errors"
	"fmt"
	"runtime"

	ort "github.com/yalue/onnxruntime_go"
)

// Graph is any ONNX graph of float32 tensors of fixed shapes, such as that of
// a training step. Unlike a Session it is not for concurrent use.
type Graph struct {
	session         *ort.DynamicAdvancedSession
	inputs, outputs []string
	thread          *thread // of CUDA
}

// GraphOptions say how a graph runs.
type GraphOptions struct {
	// Provider is CPU or CUDA; empty means CPU.
	Provider string
	// Threads is the number of intra-op threads; 0 means PhysicalCores.
	Threads int
	// Device is the number of the CUDA device.
	Device int
	// SaveMemory asks who builds the graph for one that takes less memory and
	// a little longer.
	SaveMemory bool
	// Profile, if set, is the prefix of a file that the runtime writes each
	// node's time to when the graph is closed (Chrome's trace format).
	Profile string
}

// Tensor is a float32 tensor on memory of the caller's, row-major.
type Tensor struct {
	Shape []int
	Data  []float32
}

// OpenGraph opens a graph from the bytes of an ONNX file; inputs and outputs
// name, in order, the tensors that Bind is given. Init must have been called.
func OpenGraph(data []byte, inputs, outputs []string, o GraphOptions) (*Graph, error) {
	if o.Threads == 0 {
		o.Threads = PhysicalCores()
	}
	if o.Provider == "" {
		o.Provider = CPU
	}
	lib, err := hold()
	if err != nil {
		return nil, err
	}
	g := &Graph{inputs: inputs, outputs: outputs}
	if o.Provider == CUDA {
		g.thread = newThread()
	}
	keepSignals(func() { err = g.thread.do(func() error { return g.open(data, o, lib) }) })
	if err != nil {
		g.thread.close()
		release()
		return nil, fmt.Errorf("training graph: %w", err)
	}
	return g, nil
}

func (g *Graph) open(data []byte, o GraphOptions, lib Library) error {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return err
	}
	defer func() { _ = options.Destroy() }() // the session has its own copy
	err = errors.Join(
		// Nothing is constant in training, so the higher levels find little
		// to do and take longer over it.
		options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableBasic),
		options.SetLogSeverityLevel(ort.LoggingLevelError),
		options.SetIntraOpNumThreads(o.Threads),
		options.SetInterOpNumThreads(1),
		// A memory pattern is a second copy of all memory beside the arena of
		// the first run, for a fiftieth of the time.
		options.SetMemPattern(false),
	)
	if err == nil && o.Profile != "" {
		err = options.EnableProfiling(o.Profile)
	}
	if err == nil && o.Provider == CUDA {
		// Doubling, the default, could take twice the memory that is needed.
		err = appendCUDA(options, o.Device, lib, map[string]string{"arena_extend_strategy": "kSameAsRequested"})
	}
	if err != nil {
		return err
	}
	g.session, err = ort.NewDynamicAdvancedSessionWithONNXData(data, g.inputs, g.outputs, options)
	return err
}

// Close destroys the graph; its bindings must be closed before.
func (g *Graph) Close() error {
	if g.session == nil {
		return nil
	}
	err := g.thread.do(g.session.Destroy)
	g.thread.close()
	g.session = nil
	release()
	return err
}

// Binding is a graph with memory for all its tensors.
type Binding struct {
	graph           *Graph
	pinner          runtime.Pinner
	inputs, outputs []ort.Value
}

// Bind ties the graph's inputs and outputs, in OpenGraph's order, to memory
// that every Run reads and writes in place; the memory must stay the caller's
// until Close. No output may share memory with an input.
func (g *Graph) Bind(inputs, outputs []Tensor) (*Binding, error) {
	b := &Binding{graph: g}
	if len(inputs) != len(g.inputs) || len(outputs) != len(g.outputs) {
		return nil, fmt.Errorf("training graph: %d inputs and %d outputs bound, want %d and %d",
			len(inputs), len(outputs), len(g.inputs), len(g.outputs))
	}
	err := b.add(&b.inputs, inputs, g.inputs)
	if err == nil {
		err = b.add(&b.outputs, outputs, g.outputs)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Binding) add(values *[]ort.Value, tensors []Tensor, names []string) error {
	for i, t := range tensors {
		shape := make(ort.Shape, len(t.Shape))
		for j, d := range t.Shape {
			shape[j] = int64(d)
		}
		if n := shape.FlattenedSize(); n != int64(len(t.Data)) || n == 0 {
			return fmt.Errorf("training graph: %s has %d values, want those of shape %v", names[i], len(t.Data), t.Shape)
		}
		b.pinner.Pin(&t.Data[0])
		v, err := ort.NewTensor(shape, t.Data)
		if err != nil {
			return fmt.Errorf("training graph: %s: %w", names[i], err)
		}
		*values = append(*values, v)
	}
	return nil
}

// Run computes the outputs from the inputs as they are now.
func (b *Binding) Run() error {
	if b.graph.thread == nil {
		return b.run()
	}
	var err error
	keepSignals(func() { err = b.graph.thread.do(b.run) }) // the first run on CUDA sets handlers, too
	return err
}

func (b *Binding) run() error {
	if err := b.graph.session.Run(b.inputs, b.outputs); err != nil {
		return fmt.Errorf("training graph: %w", err)
	}
	return nil
}

// Close lets go of the memory.
func (b *Binding) Close() error {
	var errs []error
	for _, v := range append(b.inputs, b.outputs...) {
		errs = append(errs, v.Destroy())
	}
	b.inputs, b.outputs = nil, nil
	b.pinner.Unpin()
	return errors.Join(errs...)
}
