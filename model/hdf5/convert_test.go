package hdf5

import (
	"encoding/binary"
	"math"
	"testing"
)

func TestHalfFloats(t *testing.T) {
	for bits, want := range map[uint16]float64{
		0: 0, 1: 1.0 / (1 << 24), 0x03ff: 1023.0 / (1 << 24), 0x0400: 1.0 / (1 << 14), 0x3555: 0.333251953125,
		0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0xfbff: -65504, 0x7c00: math.Inf(1), 0xfc00: math.Inf(-1),
	} {
		if got := halfFloat(bits); got != want {
			t.Errorf("halfFloat(%#x) = %v, want %v", bits, got, want)
		}
	}
	if got := halfFloat(0x8000); got != 0 || !math.Signbit(got) {
		t.Errorf("halfFloat(0x8000) = %v", got)
	}
	if got := halfFloat(0x7e00); !math.IsNaN(got) {
		t.Errorf("halfFloat(0x7e00) = %v", got)
	}
}

func TestNumbersOfBfloat16(t *testing.T) {
	kind := datatype{class: classFloat, size: 2, exponent: 8, order: binary.BigEndian}
	got, err := numbers[float32](kind, []byte{0x3f, 0x80, 0xc0, 0x40}) // the upper halves of 1 and -3
	if err != nil || len(got) != 2 || got[0] != 1 || got[1] != -3 {
		t.Errorf("got %v, %v", got, err)
	}
	if kind.name() != "bfloat16" {
		t.Errorf("name %q", kind.name())
	}
}

func TestIntegersAtTheirEnds(t *testing.T) {
	for _, tt := range []struct {
		signed bool
		bytes  string
		want   float64
	}{
		{true, "\x80", -128},
		{false, "\x80", 128},
		{true, "\x7f\xff", math.MaxInt16},
		{true, "\x80\x00\x00\x00", math.MinInt32},
		{false, "\xff\xff\xff\xff", math.MaxUint32},
		{true, "\xff\xff\xff\xff\xff\xff\xff\xfe", -2},
		{false, "\xff\xff\xff\xff\xff\xff\xff\xff", math.MaxUint64},
	} {
		kind := datatype{class: classInteger, size: len(tt.bytes), signed: tt.signed, order: binary.BigEndian}
		if got := integer(kind, []byte(tt.bytes)); got != tt.want {
			t.Errorf("%s %q = %v, want %v", kind.name(), tt.bytes, got, tt.want)
		}
	}
}

func TestPaddingOfFixedStrings(t *testing.T) {
	for padding, want := range []string{"ab", "ab\x00c ", "ab\x00c"} {
		if got := fixedString(datatype{padding: padding}, []byte("ab\x00c ")); got != want {
			t.Errorf("padding %d: %q, want %q", padding, got, want)
		}
	}
	if got := fixedString(datatype{padding: 1}, []byte("ab\x00\x00")); got != "ab" {
		t.Errorf("zeros at the end stay: %q", got)
	}
}
