package train

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A checkpoint file is, one after the other:
//
//	checkpointMagic and the version, then a line feed
//	the header's length, a little-endian uint32
//	the header: Meta and the list of tensors, JSON
//	the values of each tensor, little-endian float32
//	the SHA-256 sum of all before it
const (
	checkpointMagic   = "evopose checkpoint "
	checkpointVersion = "1"
	preamble          = checkpointMagic + checkpointVersion + "\n"
)

// header is a checkpoint file's JSON.
type header struct {
	Meta
	Tensors []tensorShape `json:"tensors"`
}

type tensorShape struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"`
}

// values returns the number of values, or -1 for an impossible shape.
func (t tensorShape) values() int {
	const most = 1 << 30
	n := 1
	for _, d := range t.Shape {
		if d < 0 || d > most || n*d > most {
			return -1
		}
		n *= d
	}
	return n
}

// encode returns the bytes of the checkpoint's file.
func (c *Checkpoint) encode() ([]byte, error) {
	tensors, err := c.tensorShapes()
	if err != nil {
		return nil, err
	}
	head, err := json.Marshal(header{c.Meta, tensors})
	if err != nil {
		return nil, fmt.Errorf("its state is no JSON: %w", err)
	}
	size := len(preamble) + 4 + len(head) + sha256.Size
	for _, t := range tensors {
		size += 4 * len(c.Tensors[t.Name])
	}
	data := append(make([]byte, 0, size), preamble...)
	data = binary.LittleEndian.AppendUint32(data, uint32(len(head)))
	data = append(data, head...)
	for _, t := range tensors {
		if data, err = binary.Append(data, binary.LittleEndian, c.Tensors[t.Name]); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256(data)
	return append(data, sum[:]...), nil
}

// tensorShapes lists the tensors in the order of their names.
func (c *Checkpoint) tensorShapes() ([]tensorShape, error) {
	var tensors []tensorShape
	for _, name := range slices.Sorted(maps.Keys(c.Tensors)) {
		t := tensorShape{name, c.Meta.Shapes[name]}
		n := len(c.Tensors[name])
		if t.Shape == nil {
			t.Shape = []int{n}
		}
		if t.values() != n {
			return nil, fmt.Errorf("tensor %s has %d values, which is not its shape %v", name, n, t.Shape)
		}
		tensors = append(tensors, t)
	}
	return tensors, nil
}

// The ways in which a file is no checkpoint, to follow its name.
var (
	errForeign = errors.New("is not a checkpoint: name a .ckpt file that evopose train wrote")
	errDamaged = errors.New("is damaged (its checksum does not match): delete it and use another checkpoint of the run")
	errInside  = errors.New("is not as evopose train writes it: delete it and use another checkpoint of the run")
)

// decode reads the bytes of a checkpoint's file.
func decode(data []byte) (*Checkpoint, error) {
	rest, ok := bytes.CutPrefix(data, []byte(checkpointMagic))
	if !ok {
		return nil, errForeign
	}
	body := len(data) - sha256.Size
	if body < len(preamble)+4 {
		return nil, errDamaged
	}
	if !bytes.HasPrefix(data, []byte(preamble)) {
		version, _, _ := bytes.Cut(rest[:sha256.Size], []byte("\n"))
		return nil, fmt.Errorf("has format version %.10q and this program reads %s: use the version of evopose that wrote it", version, checkpointVersion)
	}
	if sum := sha256.Sum256(data[:body]); !bytes.Equal(sum[:], data[body:]) {
		return nil, errDamaged
	}
	return decodeBody(data[len(preamble):body])
}

// decodeBody reads the header and the tensors of a file whose sum is right.
func decodeBody(data []byte) (*Checkpoint, error) {
	length := int64(binary.LittleEndian.Uint32(data))
	data = data[4:]
	if length > int64(len(data)) {
		return nil, fmt.Errorf("%w (its header is cut)", errInside)
	}
	var head header
	if err := json.Unmarshal(data[:length], &head); err != nil {
		return nil, fmt.Errorf("%w (its header: %w)", errInside, err)
	}
	c := &Checkpoint{Meta: head.Meta, Tensors: map[string][]float32{}}
	c.Meta.Shapes = map[string][]int{}
	return c, c.decodeTensors(data[length:], head.Tensors)
}

func (c *Checkpoint) decodeTensors(data []byte, tensors []tensorShape) error {
	for _, t := range tensors {
		n := t.values()
		if n < 0 || 4*n > len(data) {
			return fmt.Errorf("%w (tensor %s of shape %v is not in it)", errInside, t.Name, t.Shape)
		}
		values := make([]float32, n)
		used, err := binary.Decode(data, binary.LittleEndian, values)
		if err != nil {
			return fmt.Errorf("%w (tensor %s: %w)", errInside, t.Name, err)
		}
		data = data[used:]
		c.Tensors[t.Name], c.Meta.Shapes[t.Name] = values, t.Shape
	}
	if len(data) > 0 {
		return fmt.Errorf("%w (%d bytes belong to no tensor)", errInside, len(data))
	}
	return nil
}
