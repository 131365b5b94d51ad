package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/preprocess"
	"github.com/evopose/evopose/server/pose"
)

// prediction is what predict --json prints for a picture: the fields of the
// server's answer, and the file's name.
type prediction struct {
	File   string               `json:"file"`
	Model  string               `json:"model,omitempty"`
	Image  *imageSize           `json:"image,omitempty"`
	People []postprocess.Person `json:"people"` // null when Error is set
	Drawn  string               `json:"drawn,omitempty"`
	Error  string               `json:"error,omitempty"`
}

// imageSize is a picture's size in pixels, upright.
type imageSize struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// predictor predicts and draws files.
type predictor struct {
	estimator *pose.Estimator
	model     string
	options   pose.Options
	boxes     boxesOf
	drawTo    []string // by file; nil: nothing is drawn
	drawScore float64  // keypoints below it are not drawn
	stdin     io.Reader
}

// each predicts the pictures, several at once, and calls done for each in the
// order of files. It returns how many failed; its error is done's or ctx's.
func (p *predictor) each(ctx context.Context, files []string, done func(prediction) error) (failed int, err error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, result := range p.start(ctx, &wg, files) {
		select {
		case r := <-result:
			if r.Error != "" {
				failed++
			}
			if err := done(r); err != nil {
				return failed, err
			}
		case <-ctx.Done():
			return failed, ctx.Err()
		}
	}
	return failed, nil
}

// start predicts files on goroutines of wg until ctx ends. It returns where
// each file's prediction will be.
func (p *predictor) start(ctx context.Context, wg *sync.WaitGroup, files []string) []chan prediction {
	results := make([]chan prediction, len(files))
	for i := range results {
		results[i] = make(chan prediction, 1)
	}
	var next atomic.Int64
	for range min(len(files), 2*runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(files) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				results[i] <- p.one(ctx, files[i], i)
			}
		})
	}
	return results
}

// one predicts a file; whatever goes wrong is in the prediction.
func (p *predictor) one(ctx context.Context, file string, i int) prediction {
	img, people, err := p.estimate(ctx, file)
	if err != nil {
		return prediction{File: file, Error: err.Error()}
	}
	r := prediction{File: file, Model: p.model, People: people,
		Image: &imageSize{Width: img.Rect.Dx(), Height: img.Rect.Dy()}}
	if p.drawTo != nil {
		postprocess.Draw(img, people, p.drawScore)
		if err := writePNG(p.drawTo[i], img); err != nil {
			return prediction{File: file, Error: err.Error()}
		}
		r.Drawn = p.drawTo[i]
	}
	return r
}

// drawScore is the usual score under which a keypoint is not drawn: that under
// which it does not count for its person's score.
const drawScore = 0.2

func (p *predictor) estimate(ctx context.Context, file string) (*image.NRGBA, []postprocess.Person, error) {
	data, err := p.read(file)
	if err != nil {
		return nil, nil, err
	}
	boxes, err := p.boxes(file)
	if err != nil {
		return nil, nil, err
	}
	img, err := preprocess.Decode(data, preprocess.Limits{})
	if err != nil {
		return nil, nil, err
	}
	if boxes != nil && len(boxes) == 0 {
		return img, []postprocess.Person{}, nil // known to show nobody
	}
	people, _, err := p.estimator.Estimate(ctx, img, boxes, p.options)
	return img, people, err
}

func (p *predictor) read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(p.stdin)
	}
	data, err := os.ReadFile(file)
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err // the caller names the file
	}
	return data, err
}

func writePNG(file string, img image.Image) error {
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := encoder.Encode(&b, img); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// drawnNames returns where the drawn copies of files go: DIR/NAME.pose.png,
// or NAME-2.pose.png for a second NAME.
func drawnNames(files []string, dir string) []string {
	taken := map[string]bool{}
	names := make([]string, len(files))
	for i, file := range files {
		base := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		if file == "-" {
			base = "stdin"
		}
		name := base
		for n := 2; taken[name]; n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		taken[name] = true
		names[i] = filepath.Join(dir, name+".pose.png")
	}
	return names
}

// printText writes a picture's line for people to read; a failed one has none.
func printText(w io.Writer, r prediction) error {
	if r.Error != "" {
		return nil
	}
	line := fmt.Sprintf("%s: %d people", r.File, len(r.People))
	if len(r.People) == 1 {
		line = r.File + ": 1 person"
	}
	for i, p := range r.People {
		if i == 0 {
			line += ", score"
		}
		line += fmt.Sprintf(" %.2f", p.Score)
	}
	if r.Drawn != "" {
		line += " -> " + r.Drawn
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

// printJSON writes a picture's line for machines.
func printJSON(w io.Writer, r prediction) error { return json.NewEncoder(w).Encode(r) }
