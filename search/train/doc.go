// Package train trains pose networks on ONNX Runtime, the runtime that serves
// them: it differentiates a network while it writes the graph of a training
// step, forward and backward pass and Adam, in standard operators.
package train
