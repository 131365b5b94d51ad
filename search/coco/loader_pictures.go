package coco

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/evopose/evopose/preprocess"
)

// pictures decodes pictures and keeps as many as the budget holds.
type pictures struct {
	halves   bool // keep halves beside each
	total    int
	onBroken func(error)

	mu      sync.Mutex
	budget  int64 // bytes left
	entries map[pictureKey]*picture
	broken  []error
}

// pictureKey is a place in a data set's Images.
type pictureKey struct {
	data  *Dataset
	image int
}

// picture is one picture: kept, broken, or to be decoded each time.
type picture struct {
	mu     sync.Mutex // held while it is decoded
	levels pyramid
	err    error
}

// pictures returns the number of different pictures that the samples use.
func (s *sampler) pictures() int {
	seen := map[pictureKey]bool{}
	for _, set := range s.sets {
		for _, one := range set {
			seen[one.picture()] = true
		}
	}
	return len(seen)
}

func (s sample) picture() pictureKey { return pictureKey{s.data, s.image} }

func newPictures(o LoaderOptions, total int) *pictures {
	budget := o.CacheBytes
	if budget == 0 {
		budget = defaultCache()
	}
	return &pictures{
		halves: o.Pyramid, total: total, onBroken: o.OnBroken,
		budget: budget, entries: make(map[pictureKey]*picture),
	}
}

// get returns the sample's picture. It must not be changed. The error is the
// same whenever the picture is asked for.
func (p *pictures) get(s sample) (pyramid, error) {
	e := p.entry(s.picture())
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.levels != nil || e.err != nil {
		return e.levels, e.err
	}
	levels, err := p.decode(s)
	if err != nil {
		e.err = fmt.Errorf("picture %s (annotation %d): %w", s.path(), s.data.Annotations[s.annotation].ID, err)
		p.report(e.err)
		return nil, e.err
	}
	if p.take(levels.bytes()) {
		e.levels = levels
	}
	return levels, nil
}

// entry returns the picture's entry, new if need be.
func (p *pictures) entry(key pictureKey) *picture {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entries[key]
	if e == nil {
		e = new(picture)
		p.entries[key] = e
	}
	return e
}

// path returns the path of the sample's picture.
func (s sample) path() string { return filepath.Join(s.data.Dir, s.data.Images[s.image].FileName) }

// maxPixels bounds the pictures that are decoded: four bytes a pixel, several
// times over, are needed for each.
const maxPixels = 100e6

// decode reads the sample's picture, which must have the size that its
// annotations are for.
func (p *pictures) decode(s sample) (pyramid, error) {
	data, err := os.ReadFile(s.path())
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err // the path is named already
		}
		return nil, err
	}
	img, err := preprocess.Decode(data, preprocess.Limits{Pixels: maxPixels})
	if err != nil {
		return nil, err
	}
	size, want := img.Rect.Size(), s.data.Images[s.image]
	if want.Width > 0 && want.Height > 0 && (size.X != want.Width || size.Y != want.Height) {
		return nil, fmt.Errorf("is %dx%d upright, but %s says %dx%d", size.X, size.Y, s.data.Path, want.Width, want.Height)
	}
	if p.halves {
		return newPyramid(img), nil
	}
	return pyramid{img}, nil
}

// take reports whether the budget has n bytes left, and takes them.
func (p *pictures) take(n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > p.budget {
		return false
	}
	p.budget -= n
	return true
}

// report notes a broken picture.
func (p *pictures) report(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = append(p.broken, err)
	if p.onBroken != nil {
		p.onBroken(err)
	}
}

// brokenSoFar returns a copy of the broken pictures' errors.
func (p *pictures) brokenSoFar() []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]error(nil), p.broken...)
}

const (
	brokenShare = 0.05 // of the pictures may be broken,
	brokenLeast = 10   // or fewer than this number
	brokenShown = 3    // named in the error
)

// tooManyBroken returns an error that names the first broken pictures when
// there are too many.
func (p *pictures) tooManyBroken() error {
	broken := p.brokenSoFar()
	if len(broken) < brokenLeast || float64(len(broken)) <= brokenShare*float64(p.total) {
		return nil
	}
	return fmt.Errorf("%d of %d pictures cannot be used, more than 5 %%; the first of them:\n%w",
		len(broken), p.total, errors.Join(broken[:brokenShown]...))
}
