// Package subset draws the people that an experiment trains on.
package subset

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/evopose/evopose/search/coco"
	"github.com/evopose/evopose/search/train"
)

// An annotation file's JSON, as far as training reads it.
type (
	labels struct {
		Images      []picture `json:"images"`
		Annotations []person  `json:"annotations"`
	}
	picture struct {
		ID       int64  `json:"id"`
		FileName string `json:"file_name"`
		Width    int    `json:"width"`
		Height   int    `json:"height"`
	}
	person struct {
		ID        int64      `json:"id"`
		ImageID   int64      `json:"image_id"`
		Box       [4]float64 `json:"bbox"`
		Area      float64    `json:"area"`
		Count     int        `json:"num_keypoints"`
		Keypoints []float64  `json:"keypoints"`
	}
)

// Write writes up to people labelled people of a set, drawn by seed, with
// their pictures into a file of its own; 0 takes all.
func Write(set train.DataSet, people int, seed uint64, path string) (train.DataSet, error) {
	data, err := coco.Load(set.Annotations, set.Images)
	if err != nil {
		return set, err
	}
	text, err := json.Marshal(draw(data, people, rand.New(rand.NewPCG(seed, 2))))
	if err != nil {
		return set, err
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return set, fmt.Errorf("the chosen people: %w", err)
	}
	images, err := filepath.Abs(set.Images)
	return train.DataSet{Annotations: path, Images: images}, err
}

// draw chooses people; they stay in the file's order.
func draw(d *coco.Dataset, people int, rng *rand.Rand) labels {
	var able []int
	for i, a := range d.Annotations {
		if !a.Crowd && a.Labelled() > 0 && a.Box.W >= 1 && a.Box.H >= 1 {
			able = append(able, i)
		}
	}
	if people > 0 && people < len(able) {
		rng.Shuffle(len(able), func(i, j int) { able[i], able[j] = able[j], able[i] })
		able = able[:people]
		slices.Sort(able)
	}
	var l labels
	wanted := map[int64]bool{}
	for _, i := range able {
		l.Annotations = append(l.Annotations, asPerson(d.Annotations[i]))
		wanted[d.Annotations[i].ImageID] = true
	}
	for _, img := range d.Images {
		if wanted[img.ID] {
			l.Images = append(l.Images, picture(img))
		}
	}
	return l
}

func asPerson(a coco.Annotation) person {
	p := person{ID: a.ID, ImageID: a.ImageID, Box: [4]float64{a.Box.X, a.Box.Y, a.Box.W, a.Box.H}, Area: a.Area, Count: a.NumKeypoints}
	for _, k := range a.Keypoints {
		p.Keypoints = append(p.Keypoints, k.X, k.Y, float64(k.V))
	}
	return p
}
