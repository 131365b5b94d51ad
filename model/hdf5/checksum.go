package hdf5

import (
	"encoding/binary"
	"math/bits"
)

// lookup3 is Bob Jenkins' hash of 2006 ("hashlittle", initial value 0), the
// checksum of metadata.
func lookup3(b []byte) uint32 {
	x := 0xdeadbeef + uint32(len(b))
	y, z := x, x
	for len(b) > 12 {
		x += binary.LittleEndian.Uint32(b)
		y += binary.LittleEndian.Uint32(b[4:])
		z += binary.LittleEndian.Uint32(b[8:])
		x, y, z = lookup3Mix(x, y, z)
		b = b[12:]
	}
	if len(b) == 0 {
		return z
	}
	var tail [12]byte
	copy(tail[:], b)
	x += binary.LittleEndian.Uint32(tail[:])
	y += binary.LittleEndian.Uint32(tail[4:])
	z += binary.LittleEndian.Uint32(tail[8:])
	return lookup3Final(x, y, z)
}

func lookup3Mix(x, y, z uint32) (uint32, uint32, uint32) {
	for _, k := range [2][3]int{{4, 6, 8}, {16, 19, 4}} {
		x -= z
		x ^= bits.RotateLeft32(z, k[0])
		z += y
		y -= x
		y ^= bits.RotateLeft32(x, k[1])
		x += z
		z -= y
		z ^= bits.RotateLeft32(y, k[2])
		y += x
	}
	return x, y, z
}

func lookup3Final(x, y, z uint32) uint32 {
	z ^= y
	z -= bits.RotateLeft32(y, 14)
	x ^= z
	x -= bits.RotateLeft32(z, 11)
	y ^= x
	y -= bits.RotateLeft32(x, 25)
	z ^= y
	z -= bits.RotateLeft32(y, 16)
	x ^= z
	x -= bits.RotateLeft32(z, 4)
	y ^= x
	y -= bits.RotateLeft32(x, 14)
	z ^= y
	z -= bits.RotateLeft32(y, 24)
	return z
}

// fletcher32 is the checksum of a chunk: 16-bit big-endian words, a last odd
// byte as the high one. As in the HDF5 library a sum that is a multiple of
// 65535 stays 65535, unless all words are 0.
func fletcher32(b []byte) uint32 {
	var low, high uint64
	for i := 0; i < len(b); i += 2 {
		word := uint64(b[i]) << 8
		if i+1 < len(b) {
			word |= uint64(b[i+1])
		}
		low += word
		high += low
		if i%8192 == 0 { // long before either overflows
			low, high = fold(low), fold(high)
		}
	}
	return uint32(fold(high)<<16 | fold(low))
}

// fold reduces modulo 65535, keeping 65535.
func fold(sum uint64) uint64 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return sum
}
