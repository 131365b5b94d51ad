package train

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/renameio/v2/maybe"
)

// The files of a run's curves.
const (
	CurvesCSV = "curves.csv"
	CurvesPNG = "curves.png"
)

// Point is what was measured at the end of an epoch. What was not measured is
// NaN.
type Point struct {
	Epoch int // epochs done
	Step  int // steps done
	// Loss is the mean training loss since the last point, Val the loss on
	// the validation pictures.
	Loss, Val float64
	// Rate is the learning rate of the last step.
	Rate            float64
	ImagesPerSecond float64 // in training, validation not counted
	// AP is COCO's mean average precision (OKS), PCK is PCK@0.2; both 0..1.
	AP, PCK float64
}

const curvesHeader = "epoch,step,loss,val,rate,images_per_second,AP,PCK@0.2"

// values lists the measured values in the order of curvesHeader.
func (p *Point) values() []*float64 {
	return []*float64{&p.Loss, &p.Val, &p.Rate, &p.ImagesPerSecond, &p.AP, &p.PCK}
}

// MarshalText writes the point as a row of curves.csv, exactly.
func (p Point) MarshalText() ([]byte, error) {
	row := fmt.Appendf(nil, "%d,%d", p.Epoch, p.Step)
	for _, v := range p.values() {
		row = strconv.AppendFloat(append(row, ','), *v, 'g', -1, 64)
	}
	return row, nil
}

// UnmarshalText reads a row of curves.csv.
func (p *Point) UnmarshalText(row []byte) error {
	fields := strings.Split(strings.TrimSpace(string(row)), ",")
	values := p.values()
	if len(fields) != 2+len(values) {
		return fmt.Errorf("%q has %d columns: want %s", row, len(fields), curvesHeader)
	}
	var err, failed error
	p.Epoch, err = strconv.Atoi(fields[0])
	failed = errors.Join(failed, err)
	p.Step, err = strconv.Atoi(fields[1])
	failed = errors.Join(failed, err)
	for i, v := range values {
		*v, err = strconv.ParseFloat(fields[2+i], 64)
		failed = errors.Join(failed, err)
	}
	return failed
}

// Until returns the points up to a step. A run that resumes from that step
// takes them and measures the others again.
func Until(points []Point, step int) []Point {
	var kept []Point
	for _, p := range points {
		if p.Step <= step {
			kept = append(kept, p)
		}
	}
	return kept
}

// SaveCurves writes the points into a folder, as CurvesCSV and drawn as
// CurvesPNG under the title. It replaces both files whole, so that neither is
// ever torn and a resumed run leaves no row twice.
func SaveCurves(dir, title string, points []Point) error {
	csv := []byte(curvesHeader + "\n")
	for _, p := range points {
		row, _ := p.MarshalText() // never fails
		csv = append(append(csv, row...), '\n')
	}
	if err := maybe.WriteFile(filepath.Join(dir, CurvesCSV), csv, 0o644); err != nil {
		return fmt.Errorf("curves: %w", err)
	}
	var png bytes.Buffer
	if err := DrawCurves(&png, title, points); err != nil {
		return err
	}
	if err := maybe.WriteFile(filepath.Join(dir, CurvesPNG), png.Bytes(), 0o644); err != nil {
		return fmt.Errorf("curves: %w", err)
	}
	return nil
}

// LoadCurves reads the CurvesCSV of a folder. Without the file there are no
// points.
func LoadCurves(dir string) ([]Point, error) {
	path := filepath.Join(dir, CurvesCSV)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("curves: %w", err)
	}
	header, rows, _ := strings.Cut(string(data), "\n")
	if header != curvesHeader {
		return nil, fmt.Errorf("%s begins with %q: want %s; move the file away", path, header, curvesHeader)
	}
	var points []Point
	for i, row := range strings.Split(strings.TrimSpace(rows), "\n") {
		var p Point
		if row == "" {
			continue
		}
		if err := p.UnmarshalText([]byte(row)); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w; move the file away", path, i+2, err)
		}
		points = append(points, p)
	}
	return points, nil
}
