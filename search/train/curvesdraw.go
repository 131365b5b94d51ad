package train

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// The picture of the curves, in pixels.
const (
	curvesWidth  = 1200
	curvesHeight = 700
	curvesDPI    = 96
)

// curve is a line of a panel: the value of a point that it shows.
type curve struct {
	name   string
	value  func(Point) float64
	colour color.Color
}

// Colours that stay apart for the colour-blind (Okabe and Ito).
var (
	blue      = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	vermilion = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
	green     = color.RGBA{0x00, 0x9e, 0x73, 0xff}
	purple    = color.RGBA{0xcc, 0x79, 0xa7, 0xff}
)

var (
	lossCurves = []curve{
		{"training", func(p Point) float64 { return p.Loss }, blue},
		{"validation", func(p Point) float64 { return p.Val }, vermilion},
	}
	accuracyCurves = []curve{
		{"PCK@0.2", func(p Point) float64 { return p.PCK }, green},
		{"AP", func(p Point) float64 { return p.AP }, purple},
	}
)

// DrawCurves writes a PNG of 1200x700 pixels: over the epochs, on the left the
// losses on a logarithmic axis, on the right the accuracies from 0 to 1.
// Values that cannot be shown (NaN, losses outside 1e-9..1e9, accuracies
// outside 0..1) are passed over.
func DrawCurves(w io.Writer, title string, points []Point) error {
	loss, err := lossPanel(points)
	if err != nil {
		return fmt.Errorf("curves: %w", err)
	}
	accuracy, err := accuracyPanel(points)
	if err != nil {
		return fmt.Errorf("curves: %w", err)
	}
	canvas := vgimg.PngCanvas{Canvas: vgimg.NewWith(
		vgimg.UseWH(pixels(curvesWidth), pixels(curvesHeight)), vgimg.UseDPI(curvesDPI))}
	drawPanels(draw.New(canvas), title, loss, accuracy)
	if _, err := canvas.WriteTo(w); err != nil {
		return fmt.Errorf("curves: %w", err)
	}
	return nil
}

func pixels(n float64) vg.Length { return vg.Length(n) * vg.Inch / curvesDPI }

// drawPanels draws the title over the two panels, whose axes are in line.
func drawPanels(canvas draw.Canvas, title string, panels ...*plot.Plot) {
	style := panels[0].Title.TextStyle
	style.Font.Size = vg.Points(16)
	style.XAlign, style.YAlign = draw.XCenter, draw.YTop
	margin := pixels(14)
	canvas.FillText(style, vg.Point{X: (canvas.Min.X + canvas.Max.X) / 2, Y: canvas.Max.Y - margin}, title)

	tiles := draw.Tiles{Rows: 1, Cols: len(panels), PadTop: pixels(56), PadBottom: margin,
		PadLeft: margin, PadRight: pixels(28), PadX: pixels(36)}
	for i, c := range plot.Align([][]*plot.Plot{panels}, tiles, canvas)[0] {
		panels[i].Draw(c)
	}
}

func lossPanel(points []Point) (*plot.Plot, error) {
	p, err := panel("Loss", lossCurves, points, 1e-9, 1e9)
	if err != nil || p.Y.Min > p.Y.Max { // no value yet: a logarithm has no default range
		return p, err
	}
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = plot.TickerFunc(logTicks)
	p.Y.Min, p.Y.Max = p.Y.Min/1.1, p.Y.Max*1.1
	return p, nil
}

func accuracyPanel(points []Point) (*plot.Plot, error) {
	p, err := panel("Accuracy on validation", accuracyCurves, points, 0, 1)
	if err != nil {
		return nil, err
	}
	p.Y.Min, p.Y.Max = 0, 1
	p.Y.Tick.Marker = plot.TickerFunc(accuracyTicks)
	p.Legend.Top, p.Legend.Left = true, true
	return p, nil
}

// panel draws the values from low to high, as lines over the epochs.
func panel(title string, curves []curve, points []Point, low, high float64) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = title
	p.Title.TextStyle.Font.Size = vg.Points(13)
	p.Title.Padding = vg.Points(6)
	p.X.Label.Text = "epoch"
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font.Size = vg.Points(12)
		axis.Tick.Label.Font.Size = vg.Points(11)
	}
	p.Legend.TextStyle.Font.Size = vg.Points(12)
	p.Legend.Top = true
	p.Legend.Padding = vg.Points(4)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{0xc8}, color.Gray{0xc8}
	p.Add(grid)
	for _, c := range curves {
		if err := addCurve(p, c, points, low, high); err != nil {
			return nil, err
		}
	}
	p.X.Min, p.X.Max = 0, 1
	if len(points) > 0 {
		p.X.Max = float64(max(1, points[len(points)-1].Epoch))
	}
	return p, nil
}

// fewPoints is up to how many points are also drawn as dots.
const fewPoints = 40

func addCurve(p *plot.Plot, c curve, points []Point, low, high float64) error {
	var xys plotter.XYs
	for _, point := range points {
		if v := c.value(point); v >= low && v <= high { // false for NaN
			xys = append(xys, plotter.XY{X: float64(point.Epoch), Y: v})
		}
	}
	if len(xys) == 0 {
		return nil
	}
	line, dots, err := plotter.NewLinePoints(xys)
	if err != nil {
		return err
	}
	line.Color, line.Width = c.colour, vg.Points(1.8)
	dots.Color, dots.Shape, dots.Radius = c.colour, draw.CircleGlyph{}, vg.Points(2.2)
	p.Add(line)
	if len(xys) <= fewPoints {
		p.Add(dots)
	}
	p.Legend.Add(c.name, line)
	return nil
}

func accuracyTicks(_, _ float64) []plot.Tick {
	var ticks []plot.Tick
	for tenths := range 11 {
		v := float64(tenths) / 10
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', 1, 64)})
	}
	return ticks
}

// logTicks labels 1, 2, 3, 5 and 7 of each decade. Where that gives under two
// labels it falls back on even steps.
func logTicks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	labels := 0
	for e := math.Floor(math.Log10(low)); e <= math.Log10(high); e++ {
		for m := 1.0; m < 10; m++ {
			v := m * math.Pow(10, e)
			if v < low || v > high {
				continue
			}
			label := ""
			if m == 1 || m == 2 || m == 3 || m == 5 || m == 7 {
				label = strconv.FormatFloat(v, 'g', 4, 64)
				labels++
			}
			ticks = append(ticks, plot.Tick{Value: v, Label: label})
		}
	}
	if labels < 2 {
		return plot.DefaultTicks{}.Ticks(low, high)
	}
	return ticks
}
