package report

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
)

// none stands where there is no value.
const none = "–"

// most characters of a text of a worker: long ones would make the page
// unreadable.
const mostText = 400

// row is an evaluation in the table.
type row struct {
	ID, Generation   int
	Parent           string
	ParentThere      bool
	Class            string
	Marks            []string
	Change           string
	Genotype         []genes
	Loss, Fitness    string
	Parameters, MACs string
	Latency, Epochs  string
	Seconds          string
	Worker, Transfer string
	Why              string // there is no fitness
	Fronts           []string
	cost             float64
}

// genes is a part of a genotype's text.
type genes struct {
	Text    string
	Changed bool
	Was     int // in the parent
}

// rows lists all evaluations, the best first, those without a fitness last.
func (f *family) rows(fronts map[int][]string) []row {
	var list []row
	ranked := map[int]bool{}
	for _, e := range f.ranked {
		ranked[e.Job.ID] = true
		list = append(list, f.row(e, fronts[e.Job.ID]))
	}
	for _, e := range f.entries {
		if !ranked[e.Job.ID] {
			list = append(list, f.row(e, nil))
		}
	}
	return list
}

func (f *family) row(e search.Entry, fronts []string) row {
	j, r := e.Job, e.Result
	parent, there := f.byID[j.Parent]
	w := row{ID: j.ID, Generation: f.generation(e), Parent: none, ParentThere: there, Fronts: fronts, cost: f.settings.Cost.Of(r), Change: change(j), Class: f.kin(e),
		Loss: number(r.Loss, 4), Fitness: number(f.fitness(e), 4), Parameters: count6(r.Parameters), MACs: count9(r.MultiplyAdds),
		Latency: milliseconds(r.Latency), Epochs: fmt.Sprint(j.Epochs), Seconds: number(r.Seconds, 3), Worker: clean(r.Worker, 60), Transfer: clean(r.Transfer, mostText)}
	if j.Parent >= 0 {
		w.Parent = fmt.Sprint(j.Parent)
	}
	w.Genotype = []genes{{Text: j.Genotype.String()}}
	if there {
		w.Genotype = compare(parent.Job.Genotype, j.Genotype)
	}
	switch {
	case r.Failed != "":
		w.Class, w.Why, w.Loss = "x", "failed: "+clean(r.Failed, mostText), none
	case r.Stopped:
		w.Class, w.Why = "x", fmt.Sprintf("stopped as hopeless after epoch %d", len(r.Losses))
	case w.Fitness == none:
		w.Why = "its " + string(f.settings.Cost) + " was not measured"
	}
	if n := len(r.Losses); n > 0 && n < j.Epochs {
		w.Epochs = fmt.Sprintf("%d of %d", n, j.Epochs)
	}
	w.Marks = f.marks(e, fronts)
	return w
}

func (f *family) marks(e search.Entry, fronts []string) []string {
	var marks []string
	if f.best(e) {
		marks = append(marks, "best")
	}
	if f.parents[e.Job.ID] {
		marks = append(marks, "parent")
	}
	if len(fronts) > 0 {
		marks = append(marks, "front")
	}
	return marks
}

// change tells what an evaluation has that its parent has not.
func change(j search.Job) string {
	if j.Parent < 0 {
		return "the ancestor"
	}
	return arrows(clean(strings.Join(j.Mutations, ", "), mostText))
}

func arrows(text string) string { return strings.ReplaceAll(text, "->", "→") }

// values are the genes of a stage in the order of their names.
func values(s model.Stage) [4]int { return [4]int{s.Kernel, s.Repeats, s.Filters, s.Stride} }

// compare writes a genotype in parts, genes that differ from the parent's apart.
func compare(parent, child model.Genotype) []genes {
	var parts []genes
	text := ""
	for i := range child {
		if i > 0 {
			text += " "
		}
		was := values(parent[i])
		for g, v := range values(child[i]) {
			if g > 0 {
				text += ","
			}
			if v == was[g] {
				text += fmt.Sprint(v)
				continue
			}
			parts = append(parts, genes{Text: text}, genes{fmt.Sprint(v), true, was[g]})
			text = ""
		}
	}
	return append(parts, genes{Text: text})
}

// title is an evaluation's tooltip.
func (f *family) title(e search.Entry) string {
	parts := []string{fmt.Sprintf("evaluation %d, generation %d", e.Job.ID, f.generation(e))}
	if e.Job.Parent >= 0 {
		parts[0] += fmt.Sprintf(", child of %d", e.Job.Parent)
	}
	parts = append(parts, clean(change(e.Job), 100))
	r := e.Result
	switch {
	case r.Failed != "":
		return strings.Join(append(parts, "failed: "+clean(r.Failed, 100)), "\n")
	case r.Stopped:
		parts = append(parts, fmt.Sprintf("stopped after epoch %d with loss %s", len(r.Losses), number(r.Loss, 4)))
	default:
		parts = append(parts, fmt.Sprintf("loss %s, fitness %s", number(r.Loss, 4), number(f.fitness(e), 4)))
	}
	size := count6(r.Parameters) + " M parameters, " + count9(r.MultiplyAdds) + " G multiply-adds"
	if r.Latency > 0 {
		size += ", " + milliseconds(r.Latency) + " ms"
	}
	return strings.Join(append(parts, size), "\n")
}

// number writes so many digits of a number, none where there is none.
func number(v float64, digits int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return none
	}
	if v == 0 {
		return "0"
	}
	whole := 1 + int(math.Floor(math.Log10(math.Abs(v)))) // digits before the point
	if whole < -3 || whole > 7 {
		return fmt.Sprintf("%.*g", digits, v)
	}
	return fmt.Sprintf("%.*f", max(0, digits-whole), v)
}

// count6 writes millions.
func count6(n int64) string { return positive(float64(n)/1e6, 2) }

// count9 writes thousands of millions.
func count9(n int64) string { return positive(float64(n)/1e9, 3) }

func milliseconds(seconds float64) string { return positive(1000*seconds, 2) }

// positive writes what is 0 when it was not measured.
func positive(v float64, decimals int) string {
	if !(v > 0) || math.IsInf(v, 0) {
		return none
	}
	if v >= 1e7 {
		return number(v, 4)
	}
	return fmt.Sprintf("%.*f", decimals, v)
}

// count writes a number of things.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// clean makes a text of elsewhere one that can be shown: no control characters,
// none that turn the direction of writing, and not too long.
func clean(text string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n++; n > most {
			b.WriteString("…")
			break
		}
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		default:
			b.WriteRune(utf8.RuneError)
		}
	}
	return b.String()
}
