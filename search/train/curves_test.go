package train

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var nan = math.NaN()

// runPoints looks like a run: losses that fall, accuracies that rise, AP
// measured every fifth epoch.
func runPoints(epochs int) []Point {
	var points []Point
	for e := 1; e <= epochs; e++ {
		x := float64(e)
		p := Point{Epoch: e, Step: 100 * e, Rate: 1e-3 / x, ImagesPerSecond: 40 + math.Sin(x),
			Loss: 300*math.Exp(-x/9) + 20 + 3*math.Sin(x), Val: 280*math.Exp(-x/10) + 31 + x/9,
			AP: nan, PCK: 0.8 * (1 - math.Exp(-x/15))}
		if e%5 == 0 {
			p.AP = 0.5 * (1 - math.Exp(-x/25))
		}
		points = append(points, p)
	}
	return points
}

func TestPointText(t *testing.T) {
	for _, tt := range []struct {
		point Point
		want  string
	}{
		{Point{Epoch: 3, Step: 1200, Loss: 25.5, Val: 30, Rate: 2.5e-4, ImagesPerSecond: 38.25, AP: 0.3, PCK: nan},
			"3,1200,25.5,30,0.00025,38.25,0.3,NaN"},
		{Point{Epoch: 1, Step: 1, Loss: 1.0 / 3, Val: nan, Rate: 1e-9, ImagesPerSecond: math.Inf(1), AP: nan, PCK: 1},
			"1,1,0.3333333333333333,NaN,1e-09,+Inf,NaN,1"},
		{Point{}, "0,0,0,0,0,0,0,0"},
	} {
		row, err := tt.point.MarshalText()
		if err != nil || string(row) != tt.want {
			t.Errorf("%s, %v, want %s", row, err, tt.want)
		}
		var back Point
		if err := back.UnmarshalText(row); err != nil || !cmp.Equal(back, tt.point, cmpopts.EquateNaNs()) {
			t.Errorf("%s: read back as %+v, %v", row, back, err)
		}
	}
}

func TestBadRows(t *testing.T) {
	for _, row := range []string{"", "1,2", "1,2,3,4,5,6,7,8,9", "x,2,3,4,5,6,7,8", "1,2.5,3,4,5,6,7,8", "1,2,3,4,5,6,7,", "1,2,3,4,5,6,7,8 9"} {
		if err := new(Point).UnmarshalText([]byte(row)); err == nil {
			t.Errorf("%q was read", row)
		}
	}
}

func TestSaveAndLoadCurves(t *testing.T) {
	dir, points := t.TempDir(), runPoints(7)
	if err := SaveCurves(dir, "s", points); err != nil {
		t.Fatal(err)
	}
	got, err := LoadCurves(dir)
	if err != nil || !cmp.Equal(got, points, cmpopts.EquateNaNs()) {
		t.Errorf("read %v, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(dir, CurvesPNG)); err != nil {
		t.Error(err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 {
		t.Errorf("temporary files were left: %v", entries)
	}
}

// A run that was killed at epoch 7 and resumes from epoch 4 measures 5 to 7
// again, without a row twice.
func TestResumedRunHasNoRowTwice(t *testing.T) {
	dir := t.TempDir()
	if err := SaveCurves(dir, "s", runPoints(7)); err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadCurves(dir)
	if err != nil {
		t.Fatal(err)
	}
	points := Until(loaded, 450)
	if len(points) != 4 || points[3].Step != 400 {
		t.Fatalf("kept %v", points)
	}
	for _, p := range runPoints(9)[4:] {
		points = append(points, p)
		if err := SaveCurves(dir, "s", points); err != nil {
			t.Fatal(err)
		}
	}
	got, err := LoadCurves(dir)
	if err != nil || !cmp.Equal(got, runPoints(9), cmpopts.EquateNaNs()) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestLoadCurvesErrors(t *testing.T) {
	dir := t.TempDir()
	if points, err := LoadCurves(dir); points != nil || err != nil {
		t.Errorf("no file: %v, %v", points, err)
	}
	for text, want := range map[string]string{
		"":                                      "begins with",
		"epoch,loss\n":                          `curves.csv begins with "epoch,loss": want epoch,step,`,
		curvesHeader + "\n1,2,3\n":              "line 2: ",
		curvesHeader + "\n1,2,3,4,5,6,7,8\nx\n": "line 3: ",
	} {
		if err := os.WriteFile(filepath.Join(dir, CurvesCSV), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadCurves(dir); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "move the file away") {
			t.Errorf("%q: error %v, want %q in it", text, err, want)
		}
	}
}

func TestSaveCurvesWithoutFolder(t *testing.T) {
	if err := SaveCurves(filepath.Join(t.TempDir(), "none"), "s", runPoints(1)); err == nil || !strings.Contains(err.Error(), "curves: ") {
		t.Errorf("error %v", err)
	}
}

func drawn(t *testing.T, points []Point) image.Image {
	t.Helper()
	var b bytes.Buffer
	if err := DrawCurves(&b, "evopose2d-s 128x96", points); err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	if picture.Bounds() != image.Rect(0, 0, curvesWidth, curvesHeight) {
		t.Fatalf("picture of %v", picture.Bounds())
	}
	return picture
}

// columns counts the columns, left and right of the middle, that have a pixel
// of the colour.
func columns(picture image.Image, want color.RGBA) (left, right int) {
	for x := range curvesWidth {
		for y := range curvesHeight {
			if color.RGBAModel.Convert(picture.At(x, y)) != want {
				continue
			}
			if x < curvesWidth/2 {
				left++
			} else {
				right++
			}
			break
		}
	}
	return left, right
}

// Each curve is drawn across its own panel and not in the other.
func TestCurvesAreDrawnInTheirPanels(t *testing.T) {
	picture := drawn(t, runPoints(60))
	for name, colour := range map[string]color.RGBA{"training": blue, "validation": vermilion} {
		if left, right := columns(picture, colour); left < 450 || right != 0 {
			t.Errorf("%s is in %d columns of the left panel and %d of the right", name, left, right)
		}
	}
	for name, colour := range map[string]color.RGBA{"PCK": green, "AP": purple} {
		if left, right := columns(picture, colour); left != 0 || right < 400 {
			t.Errorf("%s is in %d columns of the left panel and %d of the right", name, left, right)
		}
	}
}

// On the logarithmic axis an exponential loss is a straight line: the line's
// height in the middle is the mean of those at its ends.
func TestLossAxisIsLogarithmic(t *testing.T) {
	var points []Point
	for e := range 101 {
		points = append(points, Point{Epoch: e, Loss: 1000 * math.Pow(0.95, float64(e)), Val: nan, AP: nan, PCK: nan})
	}
	picture := drawn(t, points)
	height := map[int]int{}
	first, last := curvesWidth, 0
	for x := range curvesWidth / 2 {
		for y := 150; y < curvesHeight; y++ { // below the legend
			if color.RGBAModel.Convert(picture.At(x, y)) == blue {
				height[x] = y
				first, last = min(first, x), max(last, x)
			}
		}
	}
	if middle := height[(first+last)/2]; last-first < 300 || math.Abs(float64(middle)-float64(height[first]+height[last])/2) > 3 {
		t.Errorf("heights %d, %d, %d at %d, %d", height[first], middle, height[last], first, last)
	}
}

// What cannot be drawn is passed over: no error, no panic.
func TestOddCurves(t *testing.T) {
	nothing := Point{Loss: nan, Val: nan, Rate: nan, ImagesPerSecond: nan, AP: nan, PCK: nan}
	for name, points := range map[string][]Point{
		"none":            nil,
		"one":             runPoints(1),
		"nothing known":   {nothing, nothing},
		"zero loss":       {{Epoch: 1}, {Epoch: 2}},
		"negative loss":   {{Epoch: 1, Loss: -1, Val: -2}},
		"infinite":        {{Epoch: 1, Loss: math.Inf(1), Val: math.Inf(-1), AP: math.Inf(1), PCK: nan}},
		"tiny and huge":   {{Epoch: 1, Loss: 1e-300, Val: 1e300}, {Epoch: 2, Loss: 5e-324, Val: math.MaxFloat64}, {Epoch: 3, Loss: 1e-9, Val: 1e9}},
		"constant":        {{Epoch: 1, Loss: 3, Val: 3}, {Epoch: 2, Loss: 3, Val: 3}},
		"accuracy over 1": {{Epoch: 1, Loss: 3, AP: 7, PCK: -4}},
		"same epoch":      {{Epoch: 2, Loss: 3}, {Epoch: 2, Loss: 4}},
	} {
		t.Run(name, func(t *testing.T) { drawn(t, points) })
	}
}

func TestLogTicks(t *testing.T) {
	for _, tt := range []struct {
		low, high float64
		want      string
	}{
		{18, 320, "20 30 50 70 100 200 300"},
		{0.9, 110, "1 2 3 5 7 10 20 30 50 70 100"},
		{18, 52, "20 30 50"},
		{0.0009, 0.004, "0.001 0.002 0.003"},
		{22, 52, "30 50"},
		{258, 320, "260 280 300 320"}, // too narrow: even steps
	} {
		var labels []string
		for _, tick := range logTicks(tt.low, tt.high) {
			if tick.Label != "" {
				labels = append(labels, tick.Label)
			}
		}
		if got := strings.Join(labels, " "); got != tt.want {
			t.Errorf("%v to %v: %s, want %s", tt.low, tt.high, got, tt.want)
		}
	}
}
