package preprocess

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"strconv"
	"strings"
)

var (
	// ErrNotImage is matched by errors of bytes that are not a readable JPEG,
	// PNG, WebP or GIF picture. Their message says what was seen instead.
	ErrNotImage = errors.New("not a readable picture")
	// ErrTooManyPixels is matched by *TooManyPixelsError.
	ErrTooManyPixels = errors.New("too many pixels")
)

// TooManyPixelsError says that a picture is larger than Limits.Pixels.
type TooManyPixelsError struct {
	Width, Height int   // of the picture, by its header
	Limit         int64 // Limits.Pixels
}

// Error gives size and limit in millions of pixels, the size rounded up.
func (e *TooManyPixelsError) Error() string {
	mp := math.Ceil(float64(e.Width)*float64(e.Height)/1e5) / 10
	limit := strconv.FormatFloat(float64(e.Limit)/1e6, 'f', -1, 64)
	return fmt.Sprintf("picture is %dx%d = %.1f MP; the limit is %s MP", e.Width, e.Height, mp, limit)
}

// Is makes errors.Is(err, ErrTooManyPixels) true.
func (e *TooManyPixelsError) Is(target error) bool { return target == ErrTooManyPixels }

// Limits bounds the pictures that Decode accepts.
type Limits struct {
	// Pixels is the most pixels, width times height, of a picture; 0 means
	// no limit.
	Pixels int64
}

// Header is what the first bytes of a picture say of it.
type Header struct {
	// Format is "JPEG", "PNG", "WebP" or "GIF".
	Format string
	// Width and Height are in pixels as stored, before EXIF orientation; at
	// least 1.
	Width, Height int
	// BytesPerPixel is an upper estimate of the memory that Decode holds at
	// once, per pixel: planes, coefficients, the result and its rotation.
	BytesPerPixel int
}

// DecodeCost returns an upper estimate, in bytes, of the memory that decoding
// the picture takes, beyond its own bytes. The result itself is 4 bytes per
// pixel of it. It is meant for bounding concurrent decodes.
func DecodeCost(h Header) int64 {
	const fixed = 256 << 10 // the decoders' tables and windows
	perPixel := int64(h.BytesPerPixel)
	if perPixel == 0 {
		perPixel = 28 // the dearest format
	}
	pixels := int64(h.Width) * int64(h.Height)
	if pixels > (math.MaxInt64-fixed)/perPixel {
		return math.MaxInt64
	}
	return fixed + perPixel*pixels
}

// format is one picture format.
type format struct {
	name string
	// match reports whether data begins as the format does.
	match func(data []byte) bool
	// header reads size and cost.
	header func(data []byte) (Header, error)
	// decode returns the picture as stored, opaque.
	decode func(data []byte) (*image.NRGBA, error)
	// exif returns the EXIF block, from its byte order on; nil: none.
	exif func(data []byte) []byte
}

// formats are the formats that can be decoded.
var formats = []format{
	{"JPEG", hasPrefix("\xff\xd8"), jpegHeader, decodeJPEG, jpegEXIF},
	{"PNG", hasPrefix("\x89PNG\r\n\x1a\n"), pngHeader, decodePNG, pngEXIF},
	{"WebP", isWebP, webpHeader, decodeWebP, webpEXIF},
	{"GIF", hasPrefix("GIF8"), gifHeader, decodeGIF, func([]byte) []byte { return nil }},
}

func hasPrefix(prefix string) func([]byte) bool {
	return func(data []byte) bool { return bytes.HasPrefix(data, []byte(prefix)) }
}

// Sniff reads a picture's format and size from its first bytes, whatever its
// name. The error matches ErrNotImage.
func Sniff(data []byte) (Header, error) {
	_, h, err := sniff(data)
	return h, err
}

func sniff(data []byte) (f format, h Header, err error) {
	for _, f = range formats {
		if f.match(data) {
			h, err = f.read(data)
			return f, h, err
		}
	}
	return format{}, Header{}, notImage(describe(data))
}

// read returns the header.
func (f format) read(data []byte) (h Header, err error) {
	defer f.recoverTo(&err)
	h, err = f.header(data)
	if err != nil {
		return Header{}, f.failed(err, len(data))
	}
	if h.Width < 1 || h.Height < 1 {
		return Header{}, notImage(fmt.Sprintf("%s of %dx%d pixels", f.name, h.Width, h.Height))
	}
	h.Format = f.name
	return h, nil
}

// Decode returns the picture upright (turned as its EXIF orientation says),
// opaque (transparent parts over white), in 8 bits per channel, with its
// origin at (0, 0). Of a GIF it takes the first frame, on the GIF's canvas.
// Colour profiles and gamma are ignored.
//
// The error matches ErrNotImage when the bytes are no such picture, are cut
// short or are damaged; it is a *TooManyPixelsError, found before decoding,
// when the picture is over the limit.
func Decode(data []byte, lim Limits) (*image.NRGBA, error) {
	f, h, err := sniff(data)
	if err != nil {
		return nil, err
	}
	// Both are below 2^31 in every format, so their product fits.
	if lim.Pixels > 0 && int64(h.Width)*int64(h.Height) > lim.Pixels {
		return nil, &TooManyPixelsError{Width: h.Width, Height: h.Height, Limit: lim.Pixels}
	}
	img, err := f.pixels(data)
	if err != nil {
		return nil, err
	}
	return upright(img, orientation(f.exif(data))), nil
}

// pixels returns the picture as stored.
func (f format) pixels(data []byte) (img *image.NRGBA, err error) {
	defer f.recoverTo(&err)
	if img, err = f.decode(data); err != nil {
		return nil, f.failed(err, len(data))
	}
	return img, nil
}

// recoverTo turns a decoder's panic into an error: the picture's fault, as far
// as a caller is concerned.
func (f format) recoverTo(err *error) {
	if r := recover(); r != nil {
		*err = notImage(fmt.Sprintf("%s that its decoder cannot handle: %v", f.name, r))
	}
}

// failed says in a user's terms what a decoder found wrong in n bytes.
func (f format) failed(err error, n int) error {
	// The GIF decoder keeps only the text of the error.
	if errors.Is(err, io.EOF) || strings.Contains(err.Error(), io.ErrUnexpectedEOF.Error()) {
		return notImage(fmt.Sprintf("%s cut short at byte %d", f.name, n))
	}
	return notImage(fmt.Sprintf("damaged or unsupported %s: %v", f.name, err))
}

// notImage returns an error that matches ErrNotImage and says what was seen.
func notImage(seen string) error { return fmt.Errorf("%w: %s", ErrNotImage, seen) }
