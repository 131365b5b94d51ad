package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/gif"
	"image/png"
	"io"
	"iter"

	"golang.org/x/image/webp"
)

// PNG: an 8-byte signature, then chunks of length, type, data and checksum;
// the first is IHDR (W3C PNG specification, section 11.2.1).
const (
	pngChunks      = 8
	pngDepth       = 24 // place of IHDR's bit depth
	pngInterlacing = 28 // place of IHDR's interlace method
)

func pngHeader(data []byte) (Header, error) {
	config, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return Header{}, err
	}
	h := Header{Width: config.Width, Height: config.Height}
	h.BytesPerPixel = 4 + 4 // the decoder's picture or palette indices, the result or its rotation
	if data[pngDepth] == 16 {
		h.BytesPerPixel += 8
	}
	if len(data) > pngInterlacing && data[pngInterlacing] != 0 {
		h.BytesPerPixel += h.BytesPerPixel / 2 // passes, the largest half the picture
	}
	return h, nil
}

func decodePNG(data []byte) (*image.NRGBA, error) {
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return opaque(m)
}

// pngEXIF returns the data of the first eXIf chunk.
func pngEXIF(data []byte) []byte {
	for at := pngChunks; len(data)-at >= 12; {
		n := int64(binary.BigEndian.Uint32(data[at:]))
		if n > int64(len(data)-at-12) {
			return nil
		}
		if string(data[at+4:at+8]) == "eXIf" {
			return data[at+8 : at+8+int(n)]
		}
		at += 12 + int(n)
	}
	return nil
}

// WebP: "RIFF", the length of what follows, "WEBP", then chunks of type,
// length and data, padded to even length (RFC 9649).
const (
	riffHeader = 8
	riffChunks = 12
	webpAlpha  = 1 << 4 // VP8X flags
	webpMoving = 1 << 1
)

func isWebP(data []byte) bool { return matchMagic(data, "RIFF????WEBP") }

// webpHeader also checks the file's length: the decoder allocates what the
// header promises.
func webpHeader(data []byte) (Header, error) {
	if n := int64(binary.LittleEndian.Uint32(data[4:])); n > int64(len(data)-riffHeader) {
		return Header{}, io.ErrUnexpectedEOF
	}
	// Lossy pictures: planes, the result and its rotation.
	h := Header{BytesPerPixel: 2 + 4 + 4}
	for name, body := range riff(data) {
		switch {
		case name == "VP8X" && len(body) > 0 && body[0]&webpMoving != 0:
			return Header{}, errors.New("animation: send a still picture")
		case name == "VP8X" && len(body) > 0 && body[0]&webpAlpha != 0, name == "VP8L":
			// The lossless decoder, also used for alpha, may hold a second
			// copy while it undoes a palette.
			h.BytesPerPixel = 16
		}
	}
	config, err := webp.DecodeConfig(bytes.NewReader(data))
	h.Width, h.Height = config.Width, config.Height
	return h, err
}

// riff yields the chunks of a WebP file.
func riff(data []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for at := riffChunks; len(data)-at >= 8; {
			n := int64(binary.LittleEndian.Uint32(data[at+4:]))
			if n > int64(len(data)-at-8) {
				return
			}
			if !yield(string(data[at:at+4]), data[at+8:at+8+int(n)]) {
				return
			}
			at += 8 + int(n+n&1)
		}
	}
}

func decodeWebP(data []byte) (*image.NRGBA, error) {
	m, err := webp.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *image.YCbCr:
		return fromYCbCr(m, studioSwing), nil
	case *image.NYCbCrA:
		dst := fromYCbCr(&m.YCbCr, studioSwing)
		for y := range dst.Rect.Dy() {
			setAlpha(dst.Pix[y*dst.Stride:], m.A[y*m.AStride:][:dst.Rect.Dx()])
		}
		return overWhite(dst), nil
	}
	return opaque(m)
}

// setAlpha sets the alpha of a row of pixels.
func setAlpha(row, alpha []byte) {
	for x, a := range alpha {
		row[4*x+3] = a
	}
}

// webpEXIF returns the data of the first EXIF chunk, without the prefix that
// some programs copy from JPEG.
func webpEXIF(data []byte) []byte {
	for name, body := range riff(data) {
		if name == "EXIF" {
			return bytes.TrimPrefix(body, []byte("Exif\x00\x00"))
		}
	}
	return nil
}

func gifHeader(data []byte) (Header, error) {
	config, err := gif.DecodeConfig(bytes.NewReader(data))
	return Header{Width: config.Width, Height: config.Height, BytesPerPixel: 1 + 4}, err
}

// decodeGIF decodes the first frame and places it on the canvas, which is
// white around it. The decoder refuses a frame that reaches outside.
func decodeGIF(data []byte) (*image.NRGBA, error) {
	r := bytes.NewReader(data)
	config, err := gif.DecodeConfig(r)
	if err != nil {
		return nil, err
	}
	r.Reset(data)
	m, err := gif.Decode(r)
	if err != nil {
		return nil, err
	}
	frame, ok := m.(*image.Paletted)
	if !ok {
		return nil, errUnknownPixels(m)
	}
	return fromPaletted(frame, image.Rect(0, 0, config.Width, config.Height)), nil
}
