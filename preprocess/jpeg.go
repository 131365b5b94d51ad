package preprocess

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"strings"
)

// JPEG markers, ITU-T T.81 table B.1.
const (
	markerSOF0  = 0xc0 // baseline frame
	markerSOF1  = 0xc1 // extended sequential frame
	markerSOF2  = 0xc2 // progressive frame
	markerRST0  = 0xd0 // restart, to 0xd7
	markerEOI   = 0xd9
	markerSOS   = 0xda // scan
	markerAPP1  = 0xe1 // EXIF
	markerAPP14 = 0xee // Adobe
)

const (
	// A scan of a progressive JPEG costs a pass over the whole picture but
	// may take a few bytes only, so that a small file could keep a processor
	// busy for hours. Encoders write about ten.
	maxProgressiveScans = 32
	// A sequential JPEG has at most one scan per component.
	maxSequentialScans = 4
)

// jpegSegments is what the marker segments of a JPEG say.
type jpegSegments struct {
	progressive bool
	components  int
	adobe       bool // has the Adobe marker, so CMYK is stored inverted
	scans       int
	ended       bool   // has the marker of the end
	exif        []byte // from its byte order on
}

// readSegments walks over all markers as the decoder does: it skips whatever
// is not a marker. It stops without complaint where the data end.
func readSegments(data []byte) (s jpegSegments) {
	for at := 2; ; {
		marker, body, next := nextSegment(data, at)
		if next < 0 || marker == markerEOI {
			s.ended = next >= 0
			return s
		}
		at = next
		switch marker {
		case markerSOF0, markerSOF1, markerSOF2:
			s.progressive = marker == markerSOF2
			if len(body) > 5 {
				s.components = int(body[5])
			}
		case markerSOS:
			s.scans++
		case markerAPP14:
			s.adobe = s.adobe || len(body) >= 12 && bytes.HasPrefix(body, []byte("Adobe"))
		case markerAPP1:
			if s.exif == nil && bytes.HasPrefix(body, []byte("Exif\x00")) && len(body) > 6 {
				s.exif = body[6:]
			}
		}
	}
}

// nextSegment finds the first marker from data[at] on that has a segment, or
// is the end of the image, skipping stuffed bytes and restart markers; next is
// where its segment ends, -1 when the data end before.
func nextSegment(data []byte, at int) (marker byte, body []byte, next int) {
	for {
		skip := bytes.IndexByte(data[at:], 0xff)
		if skip < 0 {
			return 0, nil, -1
		}
		for at += skip; at < len(data) && data[at] == 0xff; { // fill bytes
			at++
		}
		if at == len(data) {
			return 0, nil, -1
		}
		marker = data[at]
		at++
		if marker != 0 && (marker < markerRST0 || marker >= markerEOI) {
			break
		}
	}
	if marker == markerEOI {
		return marker, nil, at
	}
	if len(data)-at < 2 {
		return 0, nil, -1
	}
	n := int(binary.BigEndian.Uint16(data[at:]))
	if n < 2 || n > len(data)-at {
		return 0, nil, -1
	}
	return marker, data[at+2 : at+n], at + n
}

// explain returns the reason of a decoder's error: where the end is missing the
// file was cut short, which the decoder calls by many names.
func (s jpegSegments) explain(err error) error {
	if !s.ended {
		return io.ErrUnexpectedEOF
	}
	return err
}

func jpegHeader(data []byte) (Header, error) {
	s := readSegments(data)
	config, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return Header{}, s.explain(err)
	}
	most := maxSequentialScans
	if s.progressive {
		most = maxProgressiveScans
	}
	if s.scans > most {
		return Header{}, fmt.Errorf("%d scans; at most %d are accepted", s.scans, most)
	}
	h := Header{Width: config.Width, Height: config.Height}
	// Planes, the result, and a rotation of it or an interleaved CMYK.
	h.BytesPerPixel = s.components + 4 + 4
	if s.progressive {
		h.BytesPerPixel += 4 * s.components // coefficients of 32 bits
	}
	return h, nil
}

func jpegEXIF(data []byte) []byte { return readSegments(data).exif }

// adobeMarker is an Adobe segment that says CMYK or RGB, not converted.
const adobeMarker = "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"

// decodeJPEG decodes with the standard library's decoder, which refuses CMYK
// without Adobe's marker. That is CMYK that is not inverted: it is decoded as
// if it had the marker, and inverted back.
func decodeJPEG(data []byte) (*image.NRGBA, error) {
	s := readSegments(data)
	if s.components != 4 || s.adobe {
		m, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, s.explain(err)
		}
		return opaque(m)
	}
	m, err := jpeg.Decode(io.MultiReader(
		bytes.NewReader(data[:2]), strings.NewReader(adobeMarker), bytes.NewReader(data[2:])))
	if err != nil {
		return nil, s.explain(err)
	}
	if cmyk, ok := m.(*image.CMYK); ok {
		for i, v := range cmyk.Pix {
			cmyk.Pix[i] = 255 - v
		}
	}
	return opaque(m)
}
