package preprocess

import (
	"bytes"
	"image"

	"github.com/bep/imagemeta"
	"github.com/disintegration/imaging"
)

const (
	// maxEXIF is how much of an EXIF block is read: what fits into a JPEG
	// segment. The orientation is in its first directory.
	maxEXIF = 1 << 16
	// maxEXIFValue is the longest value that is read, in bytes. Orientation
	// has two; longer ones would let a small block point into itself over
	// and over.
	maxEXIFValue = 4
)

// orientation returns the EXIF orientation, 1 to 8, of an EXIF block that
// begins with its byte order. It is 1, upright, when there is none, and when
// the block is broken: a picture is worth more than its label.
func orientation(exif []byte) int {
	if len(exif) < 8 {
		return 1
	}
	found := 1
	// A panic inside is recovered by the library; its error means a broken
	// block.
	_, _ = imagemeta.Decode(imagemeta.Options{
		R:            bytes.NewReader(exif[:min(len(exif), maxEXIF)]),
		ImageFormat:  imagemeta.TIFF, // what an EXIF block is
		Sources:      imagemeta.EXIF,
		LimitTagSize: maxEXIFValue,
		ShouldHandleTag: func(tag imagemeta.TagInfo) bool {
			return tag.Tag == "Orientation" && tag.Namespace == "IFD0"
		},
		HandleTag: func(tag imagemeta.TagInfo) error {
			if v, ok := tag.Value.(uint16); ok && v >= 1 && v <= 8 {
				found = int(v)
			}
			return imagemeta.ErrStopWalking
		},
	})
	return found
}

// upright returns the picture turned as the EXIF orientation says, the
// picture itself when it is upright already.
func upright(img *image.NRGBA, orientation int) *image.NRGBA {
	switch orientation {
	case 2:
		return imaging.FlipH(img)
	case 3:
		return imaging.Rotate180(img)
	case 4:
		return imaging.FlipV(img)
	case 5:
		return imaging.Transpose(img)
	case 6:
		return imaging.Rotate270(img)
	case 7:
		return imaging.Transverse(img)
	case 8:
		return imaging.Rotate90(img)
	}
	return img
}
