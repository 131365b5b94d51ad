package preprocess

import "image"

// swing says which part of 0..255 luma and chroma use, and how chroma is
// interpolated to the size of luma.
type swing struct {
	// convert writes a row of RGBA of luma and chroma rows of equal length.
	convert func(dst, y, cb, cr []byte)
	// even and odd are what is added before dividing by 16 in the left and
	// right pixel of a pair.
	even, odd uint16
}

var (
	// fullSwing is JFIF: BT.601 on 0..255; chroma interpolated as libjpeg
	// does, which alternates its rounding so as to favour neither side.
	fullSwing = swing{convert: fullRow, even: 8, odd: 7}
	// studioSwing is VP8: BT.601 on 16..235, RFC 6386 section 9.2.
	studioSwing = swing{convert: studioRow, even: 8, odd: 8}
)

// fromYCbCr converts to RGB. Chroma that has half the width or height of luma
// is interpolated linearly (weights 3/4 and 1/4 of the nearest two on each
// axis), as the usual C decoders do; rarer ratios repeat it. The picture's own
// converter repeats it always, and reads VP8 as if it were full swing.
func fromYCbCr(m *image.YCbCr, s swing) *image.NRGBA {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	dst := image.NewNRGBA(image.Rect(0, 0, w, h))
	cb, cr := make([]byte, w+3), make([]byte, w+3) // rows may end in a whole group
	for y := range h {
		cbRow := chromaRow(cb, m, m.Cb, y, s)
		crRow := chromaRow(cr, m, m.Cr, y, s)
		s.convert(dst.Pix[y*dst.Stride:][:4*w], m.Y[y*m.YStride:][:w], cbRow[:w], crRow[:w])
	}
	return dst
}

// chromaRow returns the chroma of luma row y, one sample per luma sample: a
// part of plane where that holds it, else in row.
func chromaRow(row []byte, m *image.YCbCr, plane []byte, y int, s swing) []byte {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	line := func(y, samples int) []byte { return plane[y*m.CStride:][:samples] }
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio420:
		near, far := pair(y, h)
		stretch(row, line(near, (w+1)/2), line(far, (w+1)/2), s.even, s.odd)
	case image.YCbCrSubsampleRatio422:
		// Between whole samples libjpeg rounds the other way round.
		stretch(row, line(y, (w+1)/2), line(y, (w+1)/2), s.odd, s.even)
	case image.YCbCrSubsampleRatio440:
		near, far := pair(y, h)
		blendChroma(row, line(near, w), line(far, w), uint16(1+y%2))
	case image.YCbCrSubsampleRatio411:
		repeat(row, line(y, (w+3)/4))
	case image.YCbCrSubsampleRatio410:
		repeat(row, line(y/2, (w+3)/4))
	default: // 4:4:4
		return line(y, w)
	}
	return row
}

// pair returns the nearest and the second nearest of the chroma rows, half as
// many as the h luma rows, to luma row y.
func pair(y, h int) (near, far int) {
	near = y / 2
	far = near - 1 + y%2*2
	if far < 0 || far > (h-1)/2 {
		far = near
	}
	return near, far
}

// stretch writes two samples for each pair of near and far: these are weighted
// 3 to 1, and the sums of neighbours again, with even and odd added before the
// division by 16. An end of the row repeats itself.
func stretch(dst, near, far []byte, even, odd uint16) {
	n := len(near)
	far, dst = far[:n], dst[:2*n]
	a := 3*uint16(near[0]) + uint16(far[0])
	dst[0] = byte((4*a + even) >> 4)
	for i := 1; i < n; i++ {
		b := 3*uint16(near[i]) + uint16(far[i])
		dst[2*i-1] = byte((3*a + b + odd) >> 4)
		dst[2*i] = byte((3*b + a + even) >> 4)
		a = b
	}
	dst[2*n-1] = byte((4*a + odd) >> 4)
}

// blendChroma writes (3*near + far + round) / 4.
func blendChroma(dst, near, far []byte, round uint16) {
	for i, v := range near {
		dst[i] = byte((3*uint16(v) + uint16(far[i]) + round) >> 2)
	}
}

// repeat writes every sample four times.
func repeat(dst, src []byte) {
	for i := range dst {
		dst[i] = src[min(i/4, len(src)-1)]
	}
}

// fullRow converts full-swing luma and chroma (JFIF section 7), in fixed point
// of 16 bits: R = Y + 1.402 Cr, G = Y - 0.344136 Cb - 0.714136 Cr,
// B = Y + 1.772 Cb, with chroma less 128.
func fullRow(dst, y, cb, cr []byte) {
	cb, cr, dst = cb[:len(y)], cr[:len(y)], dst[:4*len(y)]
	for i, luma := range y {
		l := int32(luma)<<16 + 1<<15
		b, r := int32(cb[i])-128, int32(cr[i])-128
		p := dst[4*i : 4*i+4 : 4*i+4]
		p[0] = clamp((l + 91881*r) >> 16)
		p[1] = clamp((l - 22554*b - 46802*r) >> 16)
		p[2] = clamp((l + 116130*b) >> 16)
		p[3] = 255
	}
}

// studioRow converts luma of 16..235 and chroma of 16..240, in fixed point of
// 14 bits: R = 1.164 (Y-16) + 1.596 (Cr-128) and so on, BT.601.
func studioRow(dst, y, cb, cr []byte) {
	cb, cr, dst = cb[:len(y)], cr[:len(y)], dst[:4*len(y)]
	for i, luma := range y {
		l := 19077 * (int32(luma) - 16)
		b, r := int32(cb[i])-128, int32(cr[i])-128
		p := dst[4*i : 4*i+4 : 4*i+4]
		p[0] = clamp((l + 26149*r + 1<<13) >> 14)
		p[1] = clamp((l - 6419*b - 13320*r + 1<<13) >> 14)
		p[2] = clamp((l + 33050*b + 1<<13) >> 14)
		p[3] = 255
	}
}

// clamp limits v to 0..255.
func clamp(v int32) byte {
	if uint32(v) > 255 {
		return byte(^(v >> 31)) // 0 below, 255 above
	}
	return byte(v)
}
