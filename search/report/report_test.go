package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
)

// node is an element of a page, or without a name a text.
type node struct {
	name     string
	attr     map[string]string
	data     string
	children []*node
}

// text is all text inside.
func (n *node) text() string {
	text := n.data
	for _, child := range n.children {
		text += child.text()
	}
	return text
}

// parse reads a page strictly: every element that is opened is closed, every
// attribute quoted, every special character escaped.
func parse(t testing.TB, page []byte) *node {
	t.Helper()
	root := &node{}
	open := []*node{root}
	for d := xml.NewDecoder(bytes.NewReader(page)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return root
		}
		if err != nil {
			t.Fatal(err)
		}
		last := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{name: token.Name.Local, attr: map[string]string{}}
			for _, a := range token.Attr {
				n.attr[a.Name.Local] = a.Value
			}
			last.children, open = append(last.children, n), append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			last.children = append(last.children, &node{data: string(token)})
		}
	}
}

// all returns the elements inside that match.
func (n *node) all(match func(*node) bool) []*node {
	var list []*node
	for _, child := range n.children {
		if child.name != "" && match(child) {
			list = append(list, child)
		}
		list = append(list, child.all(match)...)
	}
	return list
}

func (n *node) named(name string) []*node { return n.all(func(n *node) bool { return n.name == name }) }

// classed returns the elements that have all the classes.
func (n *node) classed(classes ...string) []*node {
	return n.all(func(n *node) bool {
		for _, c := range classes {
			if !slices.Contains(strings.Fields(n.attr["class"]), c) {
				return false
			}
		}
		return true
	})
}

// chart returns a drawing by its name.
func (n *node) chart(t testing.TB, name string) *node {
	t.Helper()
	found := n.all(func(n *node) bool { return n.name == "svg" && n.attr["aria-label"] == name })
	if len(found) != 1 {
		t.Fatalf("%d charts are called %q", len(found), name)
	}
	return found[0]
}

// ids are those of the evaluations whose dots match, in order.
func (n *node) ids(match func(dot *node) bool) []int {
	var list []int
	for _, a := range n.named("a") {
		if dots := a.classed("dot"); len(dots) == 1 && match(dots[0]) {
			id, _ := strconv.Atoi(strings.TrimPrefix(a.attr["href"], "#e"))
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return list
}

func every(*node) bool { return true }

func has(class string) func(*node) bool {
	return func(n *node) bool { return slices.Contains(strings.Fields(n.attr["class"]), class) }
}

func pageOf(t testing.TB, s search.Settings, entries []search.Entry) *node {
	t.Helper()
	return parse(t, bytesOf(t, s, entries))
}

func bytesOf(t testing.TB, s search.Settings, entries []search.Entry) []byte {
	t.Helper()
	data, err := render(header(s), s, entries)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// able are the IDs that have a fitness by a cost.
func able(c search.Cost, entries []search.Entry) []int {
	var list []int
	for _, e := range entries {
		if !math.IsInf(search.Fitness(c, e.Result), 1) {
			list = append(list, e.Job.ID)
		}
	}
	return list
}

func TestEveryEvaluationIsInTheTable(t *testing.T) {
	s := settings(5, 16)
	s.StopFactor, s.Cost = 1.3, search.CostLatency
	entries := fake(s)
	page := pageOf(t, s, entries)
	for _, e := range entries {
		rows := page.all(func(n *node) bool { return n.name == "tr" && n.attr["id"] == fmt.Sprintf("e%d", e.Job.ID) })
		if len(rows) != 1 {
			t.Fatalf("evaluation %d has %d rows", e.Job.ID, len(rows))
		}
		row := rows[0]
		want := []string{e.Job.Genotype.String(), e.Result.Worker, e.Result.Transfer, e.Result.Failed, fmt.Sprintf("%.2f", float64(e.Result.Parameters)/1e6),
			fmt.Sprintf("%.3f", float64(e.Result.MultiplyAdds)/1e9), fmt.Sprintf("%.2f", 1000*e.Result.Latency)}
		for _, m := range e.Job.Mutations {
			want = append(want, strings.Replace(m, "->", "→", 1))
		}
		if e.Result.Failed == "" {
			want = append(want, fmt.Sprintf("%.1f", e.Result.Loss))
		}
		if e.Result.Stopped {
			want = append(want, "stopped as hopeless after epoch 2", "2 of 5")
		}
		for _, w := range want {
			if !strings.Contains(row.text(), w) {
				t.Errorf("evaluation %d: %q is not in %q", e.Job.ID, w, row.text())
			}
		}
		if e.Job.ID > 0 {
			checkDiff(t, row, entries[e.Job.Parent].Job.Genotype, e.Job.Genotype)
		}
	}
}

// checkDiff requires the genes that a row marks to be those that differ from the
// parent's.
func checkDiff(t *testing.T, row *node, parent, child model.Genotype) {
	t.Helper()
	var got, want []string
	for _, n := range row.named("ins") {
		got = append(got, n.attr["title"]+" "+n.text())
	}
	for _, m := range search.Mutations(parent, child) {
		want = append(want, fmt.Sprintf("%d in the parent %d", m.From, m.To))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v from %v: marked %q, want %q", child, parent, got, want)
	}
}

// Rows are by fitness, and those without one last.
func TestOrderOfRows(t *testing.T) {
	s := settings(5, 16)
	entries := fake(s)
	var got []int
	for _, row := range pageOf(t, s, entries).all(func(n *node) bool { return n.name == "tr" && n.attr["id"] != "" }) {
		id, _ := strconv.Atoi(row.attr["id"][1:])
		got = append(got, id)
	}
	fitness := func(id int) float64 { return search.Fitness(s.Cost, entries[id].Result) }
	if len(got) != len(entries) || !slices.IsSortedFunc(got, func(a, b int) int {
		switch x, y := fitness(a), fitness(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return a - b
	}) {
		t.Errorf("%v", got)
	}
}

func TestCharts(t *testing.T) {
	s := settings(5, 16)
	s.StopFactor = 1.3
	entries := fake(s)
	page := pageOf(t, s, entries)
	best := s.Best(entries)
	winner := []int{best[0].Job.ID}
	parents := map[int]bool{}
	for _, e := range best {
		parents[e.Job.ID] = true
	}
	for _, e := range entries[1:] {
		parents[e.Job.Parent] = true
	}
	var curves, ended []int
	for _, e := range entries[1:] {
		if len(e.Result.Losses) > 1 {
			curves = append(curves, e.Job.ID)
		}
		if e.Result.Stopped {
			ended = append(ended, e.Job.ID)
		}
	}
	rated := able(s.Cost, entries)
	fitness, costs, tree := page.chart(t, "Fitness by generation"), page.chart(t, "Validation loss and parameters"), page.chart(t, "Family tree")
	for name, c := range map[string]struct{ got, want []int }{
		"fitness":         {fitness.ids(every), rated},
		"fitness parents": {append(fitness.ids(has("p")), winner...), slices.Collect(maps.Keys(parents))},
		"fitness best":    {fitness.ids(has("w")), winner},
		"costs":           {costs.ids(every), rated},
		"multiply-adds":   {page.chart(t, "Validation loss and multiply-adds").ids(every), rated},
		"tree":            {tree.ids(every), able("", nil)},
		"stopped curves":  {page.chart(t, "Children").ids(every), ended},
	} {
		if name == "tree" {
			c.want = slices.Sorted(maps.Keys(indexed(entries)))
		}
		slices.Sort(c.got)
		slices.Sort(c.want)
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: evaluations %v, want %v", name, c.got, c.want)
		}
	}
	if got := len(page.chart(t, "Children").classed("curve")); got != len(curves) {
		t.Errorf("%d curves of children, want %d", got, len(curves))
	}
	if got := len(page.chart(t, "Ancestor").classed("curve")); got != 1 {
		t.Errorf("%d curves of the ancestor", got)
	}
	if strings.Contains(string(bytesOf(t, s, entries)), "latency") {
		t.Error("latency is shown, but was not measured")
	}
}

func indexed(entries []search.Entry) map[int]search.Entry {
	m := map[int]search.Entry{}
	for _, e := range entries {
		m[e.Job.ID] = e
	}
	return m
}

// The best so far goes down with each evaluation that is better than all before.
func TestBestSoFar(t *testing.T) {
	s := settings(5, 16)
	entries := fake(s)
	steps, lowest := 0, math.Inf(1)
	for _, e := range entries {
		if v := search.Fitness(s.Cost, e.Result); v < lowest {
			lowest, steps = v, steps+1
		}
	}
	line := pageOf(t, s, entries).chart(t, "Fitness by generation").classed("best")
	if len(line) != 1 {
		t.Fatalf("%d lines", len(line))
	}
	heights := regexp.MustCompile(`V([0-9.]+)`).FindAllStringSubmatch(line[0].attr["d"], -1)
	if len(heights) != steps-1 {
		t.Errorf("%d steps, want %d", len(heights), steps-1)
	}
	last := 0.0
	for _, h := range heights {
		y, _ := strconv.ParseFloat(h[1], 64)
		if y < last { // pixels go down
			t.Errorf("the line goes up to %v from %v", y, last)
		}
		last = y
	}
}

// The fronts are those of a plain loop.
func TestFronts(t *testing.T) {
	s := settings(5, 16)
	s.Cost, s.Selection = search.CostLatency, search.SelectPareto
	entries := fake(s)
	page := pageOf(t, s, entries)
	for _, c := range []search.Cost{search.CostParameters, search.CostMultiplyAdds, search.CostLatency} {
		var want []int
		for _, id := range able(c, entries) {
			if !dominated(c, entries[id].Result, entries) {
				want = append(want, id)
			}
		}
		if got := page.chart(t, "Validation loss and "+string(c)).ids(has("f")); !slices.Equal(got, want) || len(want) < 2 {
			t.Errorf("front of %s: %v, want %v", c, got, want)
		}
	}
}

func dominated(c search.Cost, r search.Result, entries []search.Entry) bool {
	return slices.ContainsFunc(entries, func(e search.Entry) bool {
		o := e.Result
		return !math.IsInf(search.Fitness(c, o), 1) && o.Loss <= r.Loss && c.Of(o) <= c.Of(r) && (o.Loss < r.Loss || c.Of(o) < c.Of(r))
	})
}

// In the tree no two evaluations are in the same place, children are to the right
// of their parents, and the line of the best is drawn from the ancestor on.
func TestTree(t *testing.T) {
	steady := settings(5, 16)
	steady.Window = 5
	for name, s := range map[string]search.Settings{"generations": settings(5, 16), "steady state": steady, "one": settings(0, 1)} {
		entries := fake(s)
		page := pageOf(t, s, entries)
		tree := page.chart(t, "Family tree")
		checkTree(t, name, tree, entries)
		best := s.Best(entries)[0].Job.ID
		line := search.Ancestry(entries, best)
		var labels []string
		for _, n := range tree.classed("label", "w") {
			labels = append(labels, n.text())
		}
		var want []string
		for _, e := range line {
			want = append(want, fmt.Sprint(e.Job.ID))
		}
		if !slices.Equal(labels, want) {
			t.Errorf("%s: the line is %v, want %v", name, labels, want)
		}
		if heading := page.named("h2")[0].text(); heading != fmt.Sprintf("Best network: evaluation %d", best) {
			t.Errorf("%s: %s", name, heading)
		}
	}
}

func checkTree(t *testing.T, name string, tree *node, entries []search.Entry) {
	t.Helper()
	lines := 0
	for _, n := range tree.classed("kin") {
		for _, m := range regexp.MustCompile(`M([0-9.]+) [0-9.]+C[0-9. ]+ ([0-9.]+) [0-9.]+`).FindAllStringSubmatch(n.attr["d"], -1) {
			lines++
			from, _ := strconv.ParseFloat(m[1], 64)
			to, _ := strconv.ParseFloat(m[2], 64)
			if to <= from {
				t.Errorf("%s: a child at %v of a parent at %v", name, to, from)
			}
		}
	}
	if lines != len(entries)-1 {
		t.Errorf("%s: %d lines of %d evaluations", name, lines, len(entries))
	}
	seen := map[string]bool{}
	for _, n := range tree.named("circle") {
		seen[n.attr["cx"]+" "+n.attr["cy"]] = true
	}
	if circles := len(tree.named("circle")); len(seen) != circles {
		t.Errorf("%s: %d places of %d evaluations", name, len(seen), circles)
	}
}

// However parents are chosen, the best is the fittest.
func TestBestByFitness(t *testing.T) {
	s := settings(3, 16)
	s.Selection = search.SelectPareto
	entries := fake(s)
	byFitness := s
	byFitness.Selection = search.SelectFitness
	best := byFitness.Best(entries)[0].Job.ID
	if got := pageOf(t, s, entries).chart(t, "Validation loss and parameters").ids(has("w")); !slices.Equal(got, []int{best}) {
		t.Errorf("best %v, want %d", got, best)
	}
}

// A report of a search under way does not depend on the order in which results
// came, and is the same each time.
func TestSameOutput(t *testing.T) {
	s := settings(5, 16)
	entries := slices.Delete(fake(s), 40, 60)
	want := bytesOf(t, s, entries)
	slices.Reverse(entries)
	if !bytes.Equal(bytesOf(t, s, entries), want) {
		t.Error("another order gives another report")
	}
	if text := parse(t, want).text(); !strings.Contains(text, "61 of 81") || !strings.Contains(text, "2 of 5") {
		t.Error("progress is not that of evaluations 0 to 39 and 60 to 80")
	}
}

func TestUnfinished(t *testing.T) {
	s := settings(2, 4)
	failed := fake(s)[:3]
	for i := range failed {
		failed[i].Result = search.Result{ID: i, Failed: "no such file"}
	}
	for name, entries := range map[string][]search.Entry{"nothing": nil, "failures": failed} {
		page := pageOf(t, s, entries)
		if !strings.Contains(page.text(), "No evaluation has a fitness yet") || len(page.named("tr")) > len(entries)+1 {
			t.Errorf("%s: %s", name, page.text())
		}
		for _, a := range page.named("a") {
			if id := strings.TrimPrefix(a.attr["href"], "#"); len(page.all(func(n *node) bool { return n.attr["id"] == id })) != 1 {
				t.Errorf("%s: a link to %q, which is not there", name, id)
			}
		}
	}
	page := pageOf(t, settings(0, 4), fake(s)) // the journal of a search that had more generations
	if !strings.Contains(page.text(), "9 of 9") {
		t.Errorf("%s", page.text())
	}
}

func TestRefused(t *testing.T) {
	s := settings(1, 4)
	entries := fake(s)
	entries[2].Job.Parent = 2
	if _, err := render(header(s), s, entries); err == nil || !strings.Contains(err.Error(), "evaluation 2 has the parent 2") {
		t.Errorf("error %v", err)
	}
	if _, err := render(search.Header{}, search.Settings{}, fake(s)); err == nil || !strings.Contains(err.Error(), "children 0") {
		t.Errorf("error %v", err)
	}
}

func TestWrite(t *testing.T) {
	path, s := filepath.Join(t.TempDir(), File), settings(1, 4)
	for _, n := range []int{5, 1} {
		if err := Write(path, header(s), s, fake(s)[:n]); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(parse(t, data).text(), fmt.Sprintf("%d of 5", n)) {
			t.Errorf("the report of %d evaluations is not that", n)
		}
	}
	if err := Write(filepath.Join(path, "x"), header(s), s, nil); err == nil || !strings.HasPrefix(err.Error(), "the report: ") {
		t.Errorf("error %v", err)
	}
}

// The largest search of the paper's size is a page that a browser opens at once.
func TestSize(t *testing.T) {
	s := settings(20, 64)
	data := bytesOf(t, s, fake(s))
	if most := s.Total() * 2500; len(data) > most {
		t.Errorf("%d evaluations take %d bytes, more than %d", s.Total(), len(data), most)
	}
}

func BenchmarkRender(b *testing.B) {
	s := settings(20, 64)
	entries := fake(s)
	for b.Loop() {
		bytesOf(b, s, entries)
	}
}
