package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/evopose/evopose/search"
)

// chart is a drawing in pixels, from the top left.
type chart struct {
	Name                     string
	Note                     string // below it
	Width, Height            float64
	Left, Top, Right, Bottom float64 // of the area inside the axes
	XLabel, YLabel           string
	XTicks, YTicks           []tick
	Paths                    []path
	Dots                     []dot
	Labels                   []label

	above int // evaluations that the axis leaves out
}

// tick is a value of an axis, with a line of the grid that may be elsewhere.
type tick struct {
	At, Grid float64
	Text     string
}

// path is a line; that of an evaluation has a title.
type path struct {
	Class, D, Title string
	ID              int
}

// dot is an evaluation.
type dot struct {
	X, Y, R      float64
	Class, Title string
	ID           int
	Path         string // drawn in place of a circle
}

type label struct {
	X, Y        float64
	Class, Text string
}

// newChart has room for the labels of its axes; it sets the pixels of y.
func newChart(name string, width, height float64, y *axis) *chart {
	c := &chart{Name: name, Width: width, Height: height, Top: 14, Right: width - 16, Bottom: height - 44}
	y.from, y.to = c.Bottom, c.Top
	c.YTicks = y.ticks()
	longest := 0
	for _, t := range c.YTicks {
		longest = max(longest, len(t.Text))
	}
	c.Left = 34 + 7*float64(longest)
	return c
}

// half is the middle between two pixels.
func half(a, b float64) float64 { return pixel((a + b) / 2) }

// pixel rounds to what can be seen.
func pixel(v float64) float64 { return math.Round(10*v) / 10 }

// axis maps values onto pixels.
type axis struct {
	low, high float64 // values at its ends
	from, to  float64 // pixels there
	log       bool
}

// at returns the pixel of a value, and whether it lies above the high end,
// where it is put.
func (a axis) at(v float64) (at float64, above bool) {
	low, high := a.low, a.high
	above = v > high
	v = min(max(v, low), high)
	if a.log {
		low, high, v = math.Log(low), math.Log(high), math.Log(v)
	}
	return pixel(a.from + (a.to-a.from)*(v-low)/(high-low)), above
}

// newAxis has all values but outliers.
func newAxis(values []float64) axis { return around(inliers(values)) }

// inliers are the ends of all values but outliers: those that are further above
// the third quartile than twice its distance from the lowest. One network that
// diverged must not press all others into a line.
func inliers(values []float64) (low, high float64) {
	values = slices.Clone(values)
	slices.Sort(values)
	low, high = values[0], values[len(values)-1]
	if third := values[len(values)*3/4]; len(values) >= 8 && third > low {
		for i := len(values) - 1; high > third+2*(third-low); i-- {
			high = values[i]
		}
	}
	return low, high
}

// on is the axis on these pixels.
func (a axis) on(from, to float64) axis {
	a.from, a.to = from, to
	return a
}

// around has its ends a little beyond two values.
func around(low, high float64) axis {
	margin := 0.04 * (high - low)
	if !(margin > 1e-9*math.Abs(high)) {
		margin = max(0.05*math.Abs(high), 1e-9)
	}
	a := axis{low: low - margin, high: high + margin}
	if low >= 0 {
		a.low = max(a.low, 0)
	}
	return a
}

// ticks are about six round values.
func (a axis) ticks() []tick {
	const n = 6
	if a.log {
		return a.logTicks()
	}
	step := roundStep((a.high - a.low) / n)
	first := math.Ceil(a.low/step - 1e-9)
	var list []tick
	for i := range 4 * n {
		v := (first + float64(i)) * step
		if v > a.high+1e-9*step {
			break
		}
		at, _ := a.at(v)
		list = append(list, tick{at, at, tickText(v, step)})
	}
	return list
}

// logTicks are 1, 2 and 5 times the powers of ten, which is few enough for the
// four decades that an axis may have.
func (a axis) logTicks() []tick {
	var list []tick
	for power := math.Floor(math.Log10(a.low)); power <= math.Log10(a.high); power++ {
		for _, digit := range []float64{1, 2, 5} {
			if v := digit * math.Pow(10, power); v >= a.low && v <= a.high {
				at, _ := a.at(v)
				list = append(list, tick{at, at, tickText(v, v)})
			}
		}
	}
	return list
}

// roundStep returns the next of 1, 2 and 5 times a power of ten.
func roundStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, digit := range []float64{1, 2, 5} {
		if digit*power >= v*(1-1e-9) {
			return digit * power
		}
	}
	return 10 * power
}

// tickText has as many digits as tell a tick from the next one.
func tickText(v, step float64) string {
	last := int(math.Floor(math.Log10(step) + 1e-9)) // the power of the last digit
	switch {
	case math.Abs(v) < step/2:
		return "0"
	case math.Abs(v) >= 1e6 || last < -9:
		return strconv.FormatFloat(v, 'g', min(max(1, 1+int(math.Floor(math.Log10(math.Abs(v))))-last), 15), 64)
	}
	return strconv.FormatFloat(v, 'f', max(0, -last), 64)
}

// plottable reports whether a value can be drawn; beyond that sums overflow.
func plottable(v float64) bool { return math.Abs(v) < 1e100 }

// add draws an evaluation; one above the axis as an arrow.
func (c *chart) add(d dot, above bool) {
	if above {
		c.above++
		d.Path = fmt.Sprintf("M%g %gl4 7h-8z", d.X, d.Y)
	}
	c.Dots = append(c.Dots, d)
}

// dotOf is an evaluation's dot, with what its tooltip says.
func (f *family) dotOf(e search.Entry, x, y float64) dot {
	d := dot{X: x, Y: y, R: 3.5, ID: e.Job.ID, Title: f.title(e)}
	if f.best(e) {
		d.Class, d.R = "w", 6
	}
	return d
}

func (f *family) best(e search.Entry) bool {
	return len(f.ranked) > 0 && f.ranked[0].Job.ID == e.Job.ID
}

// polyline is the path through points.
type polyline struct{ strings.Builder }

func (p *polyline) to(x, y float64) {
	command := "L"
	if p.Len() == 0 {
		command = "M"
	}
	fmt.Fprintf(p, "%s%g %g", command, x, y)
}

// step goes right and then up or down.
func (p *polyline) step(x, y float64) {
	if p.Len() == 0 {
		p.to(x, y)
		return
	}
	fmt.Fprintf(p, "H%gV%g", x, y)
}
