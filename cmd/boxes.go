package cmd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/evopose/evopose/preprocess"
)

// boxesByFile are the person boxes of pictures, by the pictures' base names.
type boxesByFile map[string][]preprocess.Box

// readCOCOBoxes reads the boxes of a COCO annotation file (images,
// annotations). Crowd regions and other categories than person (1) are left
// out; a picture without any has an empty entry.
func readCOCOBoxes(file string) (boxesByFile, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var coco struct {
		Images []struct {
			ID   int64  `json:"id"`
			File string `json:"file_name"`
		} `json:"images"`
		Annotations []struct {
			Image    int64      `json:"image_id"`
			Category int        `json:"category_id"`
			Crowd    int        `json:"iscrowd"`
			Box      [4]float64 `json:"bbox"`
		} `json:"annotations"`
	}
	if err := json.Unmarshal(data, &coco); err != nil {
		return nil, fmt.Errorf("%s: not a COCO annotation file: %w", file, err)
	}
	if len(coco.Images) == 0 {
		return nil, fmt.Errorf("%s: not a COCO annotation file: it lists no images", file)
	}
	boxes, names := boxesByFile{}, map[int64]string{}
	for _, i := range coco.Images {
		names[i.ID] = filepath.Base(i.File)
		boxes[names[i.ID]] = nil
	}
	for n, a := range coco.Annotations {
		name, ok := names[a.Image]
		if !ok {
			return nil, fmt.Errorf("%s: annotation %d: there is no image %d", file, n, a.Image)
		}
		if a.Category != 1 || a.Crowd != 0 {
			continue
		}
		b := preprocess.Box{X: a.Box[0], Y: a.Box[1], W: a.Box[2], H: a.Box[3]}
		if err := b.Validate(); err != nil {
			return nil, fmt.Errorf("%s: annotation %d: %w", file, n, err)
		}
		boxes[name] = append(boxes[name], b)
	}
	return boxes, nil
}

// of returns the boxes of a picture, which may be none but is never nil, as
// nil would stand for the whole picture.
func (b boxesByFile) of(file, source string) ([]preprocess.Box, error) {
	boxes, ok := b[filepath.Base(file)]
	if !ok {
		return nil, fmt.Errorf("%s lists no picture of this name", source)
	}
	return append([]preprocess.Box{}, boxes...), nil
}
