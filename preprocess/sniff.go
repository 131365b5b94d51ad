package preprocess

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// others are beginnings of files that people send by mistake, so that an error
// can name them. A question mark stands for any byte.
var others = []struct{ magic, name string }{
	{"????ftypheic", "HEIC picture"},
	{"????ftypheix", "HEIC picture"},
	{"????ftypmif1", "HEIF picture"},
	{"????ftypavif", "AVIF picture"},
	{"????ftyp", "video (MP4 or QuickTime)"},
	{"II*\x00", "TIFF or camera raw picture"},
	{"MM\x00*", "TIFF or camera raw picture"},
	{"BM????\x00\x00\x00\x00", "BMP picture"},
	{"\x00\x00\x00\x0cJXL ", "JPEG XL picture"},
	{"\xff\x0a", "JPEG XL picture"},
	{"\x00\x00\x00\x0cjP  ", "JPEG 2000 picture"},
	{"\x00\x00\x01\x00", "icon"},
	{"%PDF", "PDF document"},
	{"PK\x03\x04", "ZIP archive"},
	{"\x1f\x8b", "gzip data"},
	{"RIFF????AVI ", "video (AVI)"},
	{"RIFF????WAVE", "sound (WAV)"},
	{"\x1aE\xdf\xa3", "video (WebM or Matroska)"},
}

// describe says in a few words what data, not a picture of ours, looks like.
func describe(data []byte) string {
	if len(data) == 0 {
		return "empty body"
	}
	for _, o := range others {
		if matchMagic(data, o.magic) {
			return o.name + ": send JPEG, PNG, WebP or GIF"
		}
	}
	if head := data[:min(len(data), 512)]; isText(head) {
		return "text, beginning " + quote(string(head))
	}
	return fmt.Sprintf("unknown data, beginning % x", data[:min(len(data), 8)])
}

// matchMagic reports whether data begins as magic does.
func matchMagic(data []byte, magic string) bool {
	if len(data) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != data[i] {
			return false
		}
	}
	return true
}

// isText reports whether data, perhaps cut inside a character, is UTF-8 of
// printable characters.
func isText(data []byte) bool {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return len(data)-i < utf8.UTFMax && utf8.RuneStart(data[i]) && !utf8.FullRune(data[i:])
		}
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return false
		}
		i += n
	}
	return true
}
