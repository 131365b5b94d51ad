package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/evopose/evopose/search"
)

// treeChart is the family tree: generations from left to right, siblings
// together, the fittest of them on top.
func (f *family) treeChart() *chart {
	if len(f.entries) == 0 {
		return nil
	}
	groups := f.groups()
	most := 0
	for _, g := range groups {
		most = max(most, len(g))
	}
	row := min(max(640/float64(most), 2), 22)
	columns := float64(f.last() + 1)
	c := &chart{Name: "Family tree", Width: max(1200, 44*columns), Left: 8, Top: 20, XLabel: "generation"}
	c.Right, c.Bottom = c.Width-8, c.Top+max(float64(most)*row, 60)
	c.Height = c.Bottom + 44
	x := axis{high: columns, from: c.Left, to: c.Right}
	c.XTicks = f.generationTicks(x)
	f.drawTree(c, f.layout(groups, x, (c.Top+c.Bottom)/2, row), row)
	return c
}

// groups are the evaluations by generation.
func (f *family) groups() [][]search.Entry {
	var groups [][]search.Entry
	for i, e := range f.entries {
		if i == 0 || f.generation(e) != f.generation(f.entries[i-1]) {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], e)
	}
	return groups
}

// point is a place in a drawing.
type point struct{ x, y float64 }

// layout places evaluations, each generation in the order of its parents, so
// that few lines cross.
func (f *family) layout(groups [][]search.Entry, x axis, middle, row float64) map[int]point {
	rank := map[int]int{}
	for i, e := range f.ranked {
		rank[e.Job.ID] = i - len(f.ranked) // those without a fitness, 0, come last
	}
	places := map[int]point{}
	for _, group := range groups {
		slices.SortStableFunc(group, func(a, b search.Entry) int {
			return cmp.Or(cmp.Compare(f.elder(a, places).y, f.elder(b, places).y), cmp.Compare(a.Job.Parent, b.Job.Parent),
				cmp.Compare(rank[a.Job.ID], rank[b.Job.ID]))
		})
		placed := map[int]point{}
		for i, e := range group {
			at := float64(f.generation(e)) + 0.5
			if f.settings.Window > 0 { // a parent may be of the same generation
				at = f.place(e)
			}
			px, _ := x.at(at)
			placed[e.Job.ID] = point{px, pixel(middle + row*(float64(i)-float64(len(group)-1)/2))}
		}
		for id, p := range placed {
			places[id] = p
		}
	}
	return places
}

// elder is the place of the nearest ancestor that has one.
func (f *family) elder(e search.Entry, places map[int]point) point {
	for parent, ok := f.byID[e.Job.Parent]; ok; parent, ok = f.byID[parent.Job.Parent] {
		if p, placed := places[parent.Job.ID]; placed {
			return p
		}
	}
	return point{}
}

// drawTree draws lines first: those to the childless, to parents, and to the
// best.
func (f *family) drawTree(c *chart, places map[int]point, row float64) {
	lines := map[string]*strings.Builder{"": {}, "p": {}, "w": {}}
	for _, e := range f.entries {
		to := places[e.Job.ID]
		if from, ok := places[e.Job.Parent]; ok && e.Job.Parent >= 0 {
			middle := half(from.x, to.x)
			fmt.Fprintf(lines[f.kin(e)], "M%g %gC%g %g %g %g %g %g", from.x, from.y, middle, from.y, middle, to.y, to.x, to.y)
		}
		f.addNode(c, e, to, row)
	}
	for _, kin := range []string{"", "p", "w"} {
		if lines[kin].Len() > 0 {
			c.Paths = append(c.Paths, path{Class: "kin " + kin, D: lines[kin].String()})
		}
	}
	slices.SortStableFunc(c.Dots, func(a, b dot) int { return cmp.Compare(a.R, b.R) })
}

// kin is the class of an evaluation in the tree.
func (f *family) kin(e search.Entry) string {
	switch {
	case f.onLine[e.Job.ID]:
		return "w"
	case f.parents[e.Job.ID]:
		return "p"
	}
	return ""
}

func (f *family) addNode(c *chart, e search.Entry, at point, row float64) {
	small := min(max(row/3, 1), 3)
	d := dot{X: at.x, Y: at.y, R: small, ID: e.Job.ID, Title: f.title(e), Class: f.kin(e)}
	switch {
	case f.best(e):
		d.R = 6
	case d.Class != "":
		d.R = 4.5
	case e.Result.Failed != "" || e.Result.Stopped:
		d.Class, d.Path = "x", cross(at.x, at.y)
	}
	c.Dots = append(c.Dots, d)
	if d.Class == "w" || d.Class == "p" && row >= 14 {
		c.Labels = append(c.Labels, label{at.x, pixel(at.y - d.R - 3), d.Class, fmt.Sprint(e.Job.ID)})
	}
}
