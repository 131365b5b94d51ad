package onnx

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/evopose/evopose/model"
)

// Card returns what the metadata of one of our files says: name, genotype,
// input, trained, seed, data, licence and lineage.
func Card(m *Model) (c model.Card, err error) {
	values := map[string]string{}
	for _, p := range m.Metadata {
		values[p.Key] = p.Value
	}
	if values[keyGenotype] == "" {
		return c, fmt.Errorf("the ONNX file has no %s in its metadata; only files that evopose wrote can be loaded", keyGenotype)
	}
	if c.Genotype, err = model.ParseGenotype(values[keyGenotype]); err != nil {
		return c, err
	}
	if c.Input, err = model.ParseSize(values[keyInput]); err != nil {
		return c, err
	}
	c.Name, c.Data, c.Licence = values[keyName], values[keyData], values[keyLicence]
	c.Trained = values[keyTrained] == "true"
	c.Seed, _ = strconv.ParseUint(values[keySeed], 10, 64)
	if err := json.Unmarshal([]byte(values[keyLineage]), &c.Lineage); err != nil {
		return c, fmt.Errorf("metadata %s: %w", keyLineage, err)
	}
	return c, nil
}

// Check reports whether a file is the model that its card says it is: same
// genotype, same input size. It fits model.Registry's Check.
func Check(data []byte, want model.Card) error {
	m, err := Unmarshal(data)
	if err != nil {
		return err
	}
	got, err := Card(m)
	if err != nil {
		return err
	}
	if got.Genotype != want.Genotype {
		return fmt.Errorf("the card says genotype %v, the ONNX file %v", want.Genotype, got.Genotype)
	}
	if got.Input != want.Input {
		return fmt.Errorf("the card says input %v, the ONNX file %v", want.Input, got.Input)
	}
	return nil
}

// Weights returns the weights of one of our files, widened to float32, and
// what its metadata says.
func Weights(data []byte) (model.Weights, model.Card, error) {
	m, err := Unmarshal(data)
	if err != nil {
		return nil, model.Card{}, err
	}
	card, err := Card(m)
	if err != nil {
		return nil, model.Card{}, err
	}
	w := model.Weights{}
	for _, t := range m.Graph.Initializers {
		switch t.Type {
		case Float:
			w[t.Name] = decodeFloats(t.Raw)
		case Float16:
			w[strings.TrimSuffix(t.Name, halfSuffix)] = decodeHalves(t.Raw)
		}
	}
	return w, card, nil
}

func encodeFloats(data []float32) []byte {
	raw := make([]byte, 0, 4*len(data))
	for _, v := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return raw
}

func decodeFloats(raw []byte) []float32 {
	data := make([]float32, len(raw)/4)
	for i := range data {
		data[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return data
}

func encodeHalves(data []float32) []byte {
	raw := make([]byte, 0, 2*len(data))
	for _, v := range data {
		raw = binary.LittleEndian.AppendUint16(raw, half(v))
	}
	return raw
}

func decodeHalves(raw []byte) []float32 {
	data := make([]float32, len(raw)/2)
	for i := range data {
		data[i] = widen(binary.LittleEndian.Uint16(raw[2*i:]))
	}
	return data
}

// half rounds to IEEE 754 binary16, ties to even; beyond 65504 it is infinite.
func half(v float32) uint16 {
	bits := math.Float32bits(v)
	sign := uint16(bits >> 16 & 0x8000)
	abs := math.Abs(float64(v))
	switch {
	case v != v:
		return sign | 0x7e00
	case abs >= 65520:
		return sign | 0x7c00
	case abs < 0x1p-14: // subnormal: units of 2^-24; 1024 units carry into the normals
		return sign | uint16(math.RoundToEven(abs*0x1p24))
	}
	mantissa, exponent := math.Frexp(abs) // abs = mantissa * 2^exponent, mantissa in [0.5, 1)
	// A mantissa that rounds up to 2048 carries into the exponent, as it should.
	return sign | uint16((exponent+13)<<10) + uint16(math.RoundToEven(mantissa*0x1p11))
}

// widen returns the value of an IEEE 754 binary16.
func widen(h uint16) float32 {
	sign := 1.0
	if h&0x8000 != 0 {
		sign = -1
	}
	exponent, mantissa := int(h>>10&31), float64(h&1023)
	switch exponent {
	case 0:
		return float32(sign * mantissa * 0x1p-24)
	case 31:
		if mantissa != 0 {
			return float32(math.NaN())
		}
		return float32(math.Inf(int(sign)))
	}
	return float32(sign * math.Ldexp(1+mantissa/1024, exponent-15))
}
