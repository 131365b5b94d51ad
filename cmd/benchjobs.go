package cmd

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/evopose/evopose/preprocess"
)

// job is a request that bench posts.
type job struct {
	name        string
	body        []byte
	contentType string
	query       string
	crops       int
}

// benchJobs returns the requests: one for each picture of dir, with the boxes
// of the COCO file data, or synthetic ones when dir is empty.
func benchJobs(dir, data string) ([]job, error) {
	if dir == "" {
		return syntheticJobs()
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var known boxesByFile
	if data != "" {
		if known, err = readCOCOBoxes(data); err != nil {
			return nil, err
		}
	}
	var jobs []job
	for _, e := range entries {
		body, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if e.IsDir() || err == nil && !strings.HasPrefix(http.DetectContentType(body), "image/") {
			continue
		}
		if err != nil {
			return nil, err
		}
		if boxes := known[e.Name()]; data == "" || len(boxes) > 0 {
			jobs = append(jobs, newJob(e.Name(), body, boxes))
		}
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("%s holds no picture that %s", dir, map[bool]string{true: "can be posted", false: data + " has boxes of"}[data == ""])
	}
	return jobs, nil
}

func newJob(name string, body []byte, boxes []preprocess.Box) job {
	j := job{name: name, body: body, contentType: http.DetectContentType(body), crops: max(1, len(boxes))}
	if len(boxes) > 0 {
		j.query = url.Values{"boxes": {formatBoxes(boxes)}}.Encode()
	}
	return j
}

// formatBoxes writes boxes as preprocess.ParseBoxes reads them.
func formatBoxes(boxes []preprocess.Box) string {
	var parts []string
	for _, b := range boxes {
		var numbers []string
		for _, v := range []float64{b.X, b.Y, b.W, b.H} {
			numbers = append(numbers, strconv.FormatFloat(v, 'g', -1, 64))
		}
		parts = append(parts, strings.Join(numbers, ","))
	}
	return strings.Join(parts, ";")
}

// syntheticJobs returns eight pictures of 640x480 with one person's box each.
func syntheticJobs() ([]job, error) {
	var jobs []job
	for seed := range uint64(8) {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, syntheticPicture(seed, 640, 480), &jpeg.Options{Quality: 90}); err != nil {
			return nil, err
		}
		jobs = append(jobs, newJob(fmt.Sprintf("synthetic %d", seed), b.Bytes(), []preprocess.Box{{X: 200, Y: 40, W: 200, H: 400}}))
	}
	return jobs, nil
}

// syntheticPicture draws waves and grain, so that it costs a decoder about as
// much as a photograph.
func syntheticPicture(seed uint64, w, h int) image.Image {
	rng := rand.New(rand.NewPCG(seed, 0))
	fx, fy, phase := 0.01+0.05*rng.Float64(), 0.01+0.05*rng.Float64(), 6*rng.Float64()
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			wave := 0.5 + 0.4*math.Sin(fx*float64(x)+phase)*math.Cos(fy*float64(y))
			grain := float64(rng.IntN(24))
			copy(img.Pix[img.PixOffset(x, y):], []uint8{uint8(200*wave + grain), uint8(140*wave + grain), uint8(220*(1-wave) + grain), 255})
		}
	}
	return img
}
