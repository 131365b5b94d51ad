package preprocess

import (
	"fmt"
	"image"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/evopose/evopose/model"
)

// Mean and Std normalise the channels R, G, B of a picture:
// (value/255 - Mean) / Std. They are ImageNet's. Changing them changes nothing
// after the program has started.
var (
	Mean = [3]float32{0.485, 0.456, 0.406}
	Std  = [3]float32{0.229, 0.224, 0.225}
)

// normalised holds the normalised value of every byte of each channel.
var normalised = func() (t [3][256]float32) {
	for c := range t {
		for i := range t[c] {
			t[c][i] = float32((float64(i)/255 - float64(Mean[c])) / float64(Std[c]))
		}
	}
	return t
}()

// tap is the bilinear interpolation of one coordinate: the two neighbouring
// pixels and their weights. A pixel outside the picture has weight 0 and an
// index inside, so that the inner loops need no test for the border.
type tap struct {
	i0, i1 int32
	w0, w1 float32
}

// makeTap returns the tap of coordinate x among n pixels, and whether any
// weight is not 0. Any float is fine: only x in (-1, n) becomes an integer.
func makeTap(x float64, n int) (tap, bool) {
	if !(x > -1 && x < float64(n)) { // also NaN
		return tap{}, false
	}
	floor := math.Floor(x)
	i, f := int32(floor), float32(x-floor)
	t := tap{i0: i, i1: i + 1, w0: 1 - f, w1: f}
	if i < 0 {
		t.i0, t.w0 = 0, 0
	}
	if int(i)+1 >= n || f == 0 { // f == 0: the second neighbour is not read
		t.i1, t.w1 = i, 0
	}
	return t, t.w0 != 0 || t.w1 != 0
}

// Crop samples the picture at every input pixel of the transform, normalises,
// and writes the result to dst as planes R, G, B of Input.H rows of Input.W
// values each; dst must hold exactly that many, else Crop panics.
//
// Samples are bilinear. A neighbour outside the picture counts as the mean
// colour, which is 0 after normalisation, so values fade to 0 over the one
// pixel around the picture, as those of cv2.warpAffine with a constant border
// do. A transform that is not finite gives zeros.
func Crop(dst []float32, img *image.NRGBA, a Affine) {
	checkCrop(dst, a)
	c := croppers.Get().(*cropper)
	c.crop(dst, img, a)
	croppers.Put(c)
}

// CropAll crops the picture by every transform, as[i] into dst[i], on up to
// GOMAXPROCS goroutines.
func CropAll(dst [][]float32, img *image.NRGBA, as []Affine) {
	if len(dst) != len(as) {
		panic(fmt.Sprintf("preprocess: %d destinations for %d crops", len(dst), len(as)))
	}
	for i, a := range as {
		checkCrop(dst[i], a)
	}
	workers := min(runtime.GOMAXPROCS(0), len(as))
	if workers < 2 {
		for i, a := range as {
			Crop(dst[i], img, a)
		}
		return
	}
	var (
		next  atomic.Int64
		group sync.WaitGroup
	)
	for range workers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(as)); i = next.Add(1) - 1 {
				Crop(dst[i], img, as[i])
			}
		})
	}
	group.Wait()
}

// checkCrop panics in the caller's goroutine when dst has not the crop's
// length: a mistake of the program, not of its input.
func checkCrop(dst []float32, a Affine) {
	if want := 3 * a.Input.Area(); len(dst) != want {
		panic(fmt.Sprintf("preprocess: crop of %v needs %d values, got %d", a.Input, want, len(dst)))
	}
}

// cropper is the working memory of one crop. The picture's rows are first
// interpolated horizontally, into rows of normalised planes; an output row
// mixes two of those. The last two are kept: where the picture is enlarged
// most output rows find theirs ready.
type cropper struct {
	columns []tap           // of the output columns lo..hi, as byte offsets
	rows    [2][3][]float32 // the planes of two interpolated rows
	rowOf   [2]int          // the picture's row each holds; -1: none
}

var croppers = sync.Pool{New: func() any { return new(cropper) }}

// crop is Crop with working memory.
func (c *cropper) crop(dst []float32, img *image.NRGBA, a Affine) {
	var (
		size   = img.Rect.Size()
		area   = a.Input.Area()
		width  = a.Input.W
		lo, hi = c.aim(size.X, a)
	)
	if lo == hi || size.Y <= 0 {
		clear(dst)
		return
	}
	for v := range a.Input.H {
		_, y := a.ToImage(0, float64(v))
		t, inside := makeTap(y, size.Y)
		for plane := range 3 {
			out := dst[plane*area+v*width:][:width]
			if !inside {
				clear(out)
				continue
			}
			clear(out[:lo])
			clear(out[hi:])
			c.mix(out[lo:hi], img, t, plane)
		}
	}
}

// aim prepares the taps of the output columns that see the picture, lo to hi,
// and forgets the rows.
func (c *cropper) aim(pixels int, a Affine) (lo, hi int) {
	c.columns = slices.Grow(c.columns[:0], a.Input.W)
	c.rowOf = [2]int{-1, -1}
	for u := range a.Input.W {
		x, _ := a.ToImage(float64(u), 0)
		t, inside := makeTap(x, pixels)
		if !inside {
			continue
		}
		if len(c.columns) == 0 {
			lo = u
		}
		t.i0, t.i1 = 4*t.i0, 4*t.i1
		c.columns = append(c.columns, t)
	}
	for i := range c.rows {
		for plane := range 3 {
			c.rows[i][plane] = slices.Grow(c.rows[i][plane][:0], a.Input.W)[:len(c.columns)]
		}
	}
	return lo, lo + len(c.columns)
}

// mix writes one plane of an output row: the two picture rows of the tap,
// weighted.
func (c *cropper) mix(out []float32, img *image.NRGBA, t tap, plane int) {
	top := c.row(img, int(t.i0), int(t.i1))
	bottom := c.row(img, int(t.i1), int(t.i0))
	blend(out, c.rows[top][plane], c.rows[bottom][plane], t.w0, t.w1)
}

// blend sets out[i] = w0*a[i] + w1*b[i], four at a time: a third faster than
// one by one.
func blend(out, a, b []float32, w0, w1 float32) {
	a, b = a[:len(out)], b[:len(out)]
	for len(out) >= 4 && len(a) >= 4 && len(b) >= 4 {
		out[0] = w0*a[0] + w1*b[0]
		out[1] = w0*a[1] + w1*b[1]
		out[2] = w0*a[2] + w1*b[2]
		out[3] = w0*a[3] + w1*b[3]
		out, a, b = out[4:], a[4:], b[4:]
	}
	for i := range out {
		out[i] = w0*a[i] + w1*b[i]
	}
}

// row returns which of c.rows holds the picture's row y, interpolating it when
// neither does, in place of the one that is not keep.
func (c *cropper) row(img *image.NRGBA, y, keep int) int {
	switch {
	case c.rowOf[0] == y:
		return 0
	case c.rowOf[1] == y:
		return 1
	}
	slot := 0
	if c.rowOf[0] == keep {
		slot = 1
	}
	c.rowOf[slot] = y
	pixels := img.Pix[y*img.Stride:][:4*img.Rect.Dx()]
	interpolate(&c.rows[slot], pixels, c.columns)
	return slot
}

// interpolate samples a picture's row at the columns, into normalised planes.
func interpolate(dst *[3][]float32, row []byte, columns []tap) {
	r, g, b := dst[0][:len(columns)], dst[1][:len(columns)], dst[2][:len(columns)]
	for i, t := range columns {
		p, q := row[t.i0:t.i0+4:t.i0+4], row[t.i1:t.i1+4:t.i1+4]
		r[i] = t.w0*normalised[0][p[0]] + t.w1*normalised[0][q[0]]
		g[i] = t.w0*normalised[1][p[1]] + t.w1*normalised[1][q[1]]
		b[i] = t.w0*normalised[2][p[2]] + t.w1*normalised[2][q[2]]
	}
}

// Mirror writes to dst the crop src of size s mirrored left to right, for the
// flip test. dst and src hold planes of s.H rows; they may be the same slice.
func Mirror(dst, src []float32, s model.Size) {
	copy(dst, src)
	for i := 0; i+s.W <= len(src); i += s.W {
		slices.Reverse(dst[i : i+s.W])
	}
}
