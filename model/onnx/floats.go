package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
)

// maxHalf is the largest finite value of a half.
const maxHalf = 65504

// checkFinite refuses values that a file of that precision cannot hold or that
// no network can compute with.
func checkFinite(name string, data []float32, half bool) error {
	for i, v := range data {
		switch {
		case v-v != 0:
			return fmt.Errorf("%s[%d] is %v", name, i, v)
		case half && (v > maxHalf || v < -maxHalf):
			return fmt.Errorf("%s[%d] is %v, half precision ends at %d", name, i, v, maxHalf)
		}
	}
	return nil
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
		data[i] = Widen(binary.LittleEndian.Uint16(raw[2*i:]))
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

// Widen returns the value of an IEEE 754 binary16.
func Widen(h uint16) float32 {
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
