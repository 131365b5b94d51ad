// Package chart draws the experiments' figures as small PNG files.
package chart

import (
	"fmt"
	"image"
	"image/color"
	imagedraw "image/draw"
	"image/png"
	"maps"
	"math"
	"os"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// Colours that stay apart for the colour-blind (Okabe and Ito).
var (
	Blue      = color.NRGBA{0x00, 0x72, 0xb2, 0xff}
	Vermilion = color.NRGBA{0xd5, 0x5e, 0x00, 0xff}
	Green     = color.NRGBA{0x00, 0x9e, 0x73, 0xff}
	Purple    = color.NRGBA{0xcc, 0x79, 0xa7, 0xff}
	Black     = color.NRGBA{0x30, 0x30, 0x30, 0xff}
)

// Faint is the colour for thin lines behind the main ones.
func Faint(c color.NRGBA) color.NRGBA {
	c.A = 0x50
	return c
}

// Panel returns an empty plot with axes and a grid.
func Panel(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle.Font.Size = vg.Points(12)
	p.Title.Padding = vg.Points(5)
	p.Legend.Top = true
	p.Legend.Padding = vg.Points(2)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{0xd8}, color.Gray{0xd8}
	p.Add(grid)
	return p
}

// Line is how a line is drawn. Without a name it is not in the legend.
type Line struct {
	Name   string
	Colour color.NRGBA
	Width  float64 // in points
	Dashed bool
}

// numbers leaves out points that are no numbers.
func numbers(points plotter.XYs) plotter.XYs {
	return slices.DeleteFunc(slices.Clone(points), func(p plotter.XY) bool {
		return math.IsNaN(p.X+p.Y) || math.IsInf(p.X+p.Y, 0)
	})
}

// Draw adds the line to a panel. Points that are no numbers are left out;
// without any other nothing is drawn.
func (l Line) Draw(p *plot.Plot, points plotter.XYs) error {
	points = numbers(points)
	if len(points) == 0 {
		return nil
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return fmt.Errorf("line %s: %w", l.Name, err)
	}
	line.Color, line.Width = l.Colour, vg.Points(l.Width)
	if l.Dashed {
		line.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
	}
	p.Add(line)
	if l.Name != "" {
		p.Legend.Add(l.Name, line)
	}
	return nil
}

// Dots adds points to a panel and, with a name, to its legend. What is left out
// is as for Line.Draw.
func Dots(p *plot.Plot, name string, colour color.NRGBA, points plotter.XYs) error {
	points = numbers(points)
	if len(points) == 0 {
		return nil
	}
	dots, err := plotter.NewScatter(points)
	if err != nil {
		return fmt.Errorf("dots %s: %w", name, err)
	}
	dots.Color, dots.Shape, dots.Radius = colour, draw.CircleGlyph{}, vg.Points(2.6)
	p.Add(dots)
	if name != "" {
		p.Legend.Add(name, dots)
	}
	return nil
}

// Size of a panel in pixels, and pixels per inch.
const (
	width  = 520
	height = 380
	dpi    = 96
)

func pixels(n int) vg.Length { return vg.Length(n) * vg.Inch / dpi }

// Write draws the panels side by side into a PNG file of 520x380 pixels each.
func Write(path string, panels ...*plot.Plot) error {
	canvas := vgimg.NewWith(vgimg.UseWH(pixels(width*len(panels)), pixels(height)), vgimg.UseDPI(dpi))
	tiles := draw.Tiles{Rows: 1, Cols: len(panels), PadX: pixels(24), PadTop: pixels(10), PadBottom: pixels(10), PadLeft: pixels(10), PadRight: pixels(18)}
	for i, c := range plot.Align([][]*plot.Plot{panels}, tiles, draw.New(canvas))[0] {
		panels[i].Draw(c)
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(file, fewColours(canvas.Image())); err != nil {
		_ = file.Close()
		return fmt.Errorf("plot %s: %w", path, err)
	}
	return file.Close()
}

// colours is how many a figure has: enough for a few hues with their edges.
const colours = 64

// fewColours draws a picture with the colours that are most frequent in it,
// which makes its file a third of the size.
func fewColours(img image.Image) *image.Paletted {
	counts, bounds := map[color.Color]int{}, img.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[img.At(x, y)]++
		}
	}
	palette := slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int { return counts[b] - counts[a] })
	few := image.NewPaletted(bounds, palette[:min(colours, len(palette))])
	imagedraw.Draw(few, bounds, img, bounds.Min, imagedraw.Src)
	return few
}
