package preprocess

import (
	"fmt"
	"image"
)

// errUnknownPixels says that a decoder returned a type we do not expect of it.
func errUnknownPixels(m image.Image) error { return fmt.Errorf("pixels of type %T", m) }

// opaque converts what the decoders return to opaque 8-bit RGB with its origin
// at (0, 0), composing transparent pixels over white. It reuses the pixels
// where they have 4 bytes already.
func opaque(m image.Image) (*image.NRGBA, error) {
	switch m := m.(type) {
	case *image.YCbCr:
		return fromYCbCr(m, fullSwing), nil
	case *image.NRGBA:
		return overWhite(m), nil
	case *image.RGBA: // of decoders always opaque, hence the same bytes
		return &image.NRGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Rect}, nil
	case *image.CMYK:
		return fromCMYK(m), nil
	case *image.Paletted:
		return fromPaletted(m, m.Rect), nil
	case *image.Gray:
		return fromRows(m.Rect, m.Pix, m.Stride, grayRow), nil
	case *image.Gray16:
		return fromRows(m.Rect, m.Pix, m.Stride, gray16Row), nil
	case *image.RGBA64: // of decoders always opaque
		return fromRows(m.Rect, m.Pix, m.Stride, nrgba64Row), nil
	case *image.NRGBA64:
		return fromRows(m.Rect, m.Pix, m.Stride, nrgba64Row), nil
	}
	return nil, errUnknownPixels(m)
}

// fromRows converts row by row; dst rows have 4 bytes per pixel.
func fromRows(r image.Rectangle, pix []byte, stride int, convert func(dst, src []byte)) *image.NRGBA {
	dst := image.NewNRGBA(image.Rect(0, 0, r.Dx(), r.Dy()))
	for y := range r.Dy() {
		convert(dst.Pix[y*dst.Stride:][:dst.Stride], pix[y*stride:])
	}
	return dst
}

func grayRow(dst, src []byte) {
	for i, v := range src[:len(dst)/4] {
		copy(dst[4*i:4*i+4], []byte{v, v, v, 255})
	}
}

func gray16Row(dst, src []byte) {
	for i := range len(dst) / 4 {
		v := eightBits(sample16(src[2*i:]))
		copy(dst[4*i:4*i+4], []byte{v, v, v, 255})
	}
}

// nrgba64Row composes over white and rounds once.
func nrgba64Row(dst, src []byte) {
	const white = 0xffff
	for i := range len(dst) / 4 {
		p := src[8*i : 8*i+8]
		a := sample16(p[6:])
		for c := range 3 {
			v := sample16(p[2*c:])
			if a == white {
				dst[4*i+c] = eightBits(v)
				continue
			}
			sum := uint64(v*a + white*(white-a)) // at most white*white
			dst[4*i+c] = byte((sum*255 + white*white/2) / (white * white))
		}
		dst[4*i+3] = 255
	}
}

// sample16 reads a big-endian sample of 16 bits.
func sample16(p []byte) uint32 { return uint32(p[0])<<8 | uint32(p[1]) }

// eightBits rounds v/65535 to the nearest v/255.
func eightBits(v uint32) byte { return byte((v*255 + 0x7fff) / 0xffff) }

// overWhite composes the picture over white, in place.
func overWhite(m *image.NRGBA) *image.NRGBA {
	pix := m.Pix
	for i := 3; i < len(pix); i += 4 {
		if a := uint32(pix[i]); a != 255 {
			p := pix[i-3 : i+1]
			for c := range 3 {
				p[c] = byte((uint32(p[c])*a + 255*(255-a) + 127) / 255)
			}
			p[3] = 255
		}
	}
	return m
}

// fromCMYK converts in place: red is what cyan and black let through, and so
// on.
func fromCMYK(m *image.CMYK) *image.NRGBA {
	for i := 0; i+4 <= len(m.Pix); i += 4 {
		p := m.Pix[i : i+4]
		k := 255 - uint32(p[3])
		for c := range 3 {
			p[c] = byte(((255-uint32(p[c]))*k + 127) / 255)
		}
		p[3] = 255
	}
	return &image.NRGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Rect}
}

// fromPaletted draws the frame on a canvas that holds it, white around it.
// Indices outside the palette are white too.
func fromPaletted(m *image.Paletted, canvas image.Rectangle) *image.NRGBA {
	var rgb [256][4]byte
	for i := range rgb {
		rgb[i] = [4]byte{255, 255, 255, 255}
	}
	for i, c := range m.Palette[:min(len(m.Palette), len(rgb))] {
		r, g, b, a := c.RGBA() // 16 bits, multiplied by alpha
		for ch, v := range [3]uint32{r, g, b} {
			rgb[i][ch] = eightBits(v + 0xffff - a)
		}
	}
	dst := image.NewNRGBA(image.Rect(0, 0, canvas.Dx(), canvas.Dy()))
	if m.Rect != canvas {
		for i := range dst.Pix {
			dst.Pix[i] = 255
		}
	}
	r := m.Rect.Intersect(canvas)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		out := dst.Pix[dst.PixOffset(r.Min.X-canvas.Min.X, y-canvas.Min.Y):]
		for x, index := range m.Pix[m.PixOffset(r.Min.X, y):][:r.Dx()] {
			copy(out[4*x:4*x+4], rgb[index][:])
		}
	}
	return dst
}
