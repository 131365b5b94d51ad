package hdf5

import (
	"encoding/binary"
	"fmt"
	"math"
)

// numbers converts elements to floats, row-major.
func numbers[T float32 | float64](t datatype, data []byte) ([]T, error) {
	if t.class != classInteger && t.class != classFloat {
		return nil, fmt.Errorf("the values are of type %s, not numbers", t.name())
	}
	out := make([]T, len(data)/t.size)
	if t.class == classFloat && t.size == 4 {
		for i := range out { // the usual case, without a call for each
			out[i] = T(math.Float32frombits(t.order.Uint32(data[4*i:])))
		}
		return out, nil
	}
	for i := range out {
		b := data[i*t.size : (i+1)*t.size]
		if t.class == classFloat {
			out[i] = T(float(t, b))
		} else {
			out[i] = T(integer(t, b))
		}
	}
	return out, nil
}

// float decodes a float of 2, 4 or 8 bytes.
func float(t datatype, b []byte) float64 {
	switch {
	case t.size == 8:
		return math.Float64frombits(t.order.Uint64(b))
	case t.size == 4:
		return float64(math.Float32frombits(t.order.Uint32(b)))
	case t.exponent == 8:
		return float64(math.Float32frombits(uint32(t.order.Uint16(b)) << 16))
	}
	return halfFloat(t.order.Uint16(b))
}

// halfFloat decodes a float of half precision.
func halfFloat(bits uint16) float64 {
	sign := 1 - 2*float64(bits>>15)
	exponent, mantissa := int(bits>>10&31), float64(bits&1023)
	switch {
	case exponent == 31 && mantissa != 0:
		return math.NaN()
	case exponent == 31:
		return sign * math.Inf(1)
	case exponent == 0:
		return sign * math.Ldexp(mantissa, -24)
	}
	return sign * math.Ldexp(1024+mantissa, exponent-25)
}

// integer decodes an integer of 1, 2, 4 or 8 bytes.
func integer(t datatype, b []byte) float64 {
	var v uint64
	for i := range b {
		at := len(b) - 1 - i // the most significant byte first
		if t.order == binary.BigEndian {
			at = i
		}
		v = v<<8 | uint64(b[at])
	}
	if unused := 64 - 8*len(b); t.signed {
		return float64(int64(v<<unused) >> unused)
	}
	return float64(v)
}
