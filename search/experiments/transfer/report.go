package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/stat"

	"github.com/evopose/evopose/search/experiments/internal/pairs"
	"github.com/evopose/evopose/search/experiments/internal/stats"
)

// comparison is a pair whose trainings both ended.
type comparison struct {
	pairs.Pair
	// Difference is the final loss with transfer less that from scratch.
	Difference float64
	// TransferToParent and ScratchToParent are the epochs until the loss is no
	// higher than the parent's final one, ToScratch those with transfer until
	// it is no higher than the final one from scratch; +Inf: not reached; NaN:
	// the losses do not compare.
	TransferToParent, ScratchToParent, ToScratch float64
}

func final(losses []float64) float64 { return losses[len(losses)-1] }

// reach returns the first epoch, counted from first, with a loss of at most
// the bound; +Inf if there is none.
func reach(losses []float64, first int, bound float64) float64 {
	for i, loss := range losses {
		if loss <= bound {
			return float64(first + i)
		}
	}
	return math.Inf(1)
}

// compare leaves out pairs of which a training failed.
func compare(e pairs.Experiment) []comparison {
	var list []comparison
	bound := final(e.Parent)
	for _, p := range e.Pairs {
		if p.Failed != "" {
			continue
		}
		c := comparison{p, final(p.Transfer) - final(p.Scratch),
			reach(p.Curve(), 0, bound), reach(p.Scratch, 1, bound), reach(p.Curve(), 0, final(p.Scratch))}
		if p.OtherGrid {
			c.TransferToParent, c.ScratchToParent = math.NaN(), math.NaN()
		}
		list = append(list, c)
	}
	return list
}

// report writes the table and what it comes to, in Markdown.
func report(w io.Writer, e pairs.Experiment) error {
	list, epochs := compare(e), e.Settings.AncestorEpochs
	if _, err := fmt.Fprintf(w, "The parent %v ends at a loss of %.5g after %d epochs.\n\n", e.Settings.Ancestor, final(e.Parent), epochs); err != nil {
		return err
	}
	fmt.Fprintln(w, "| pair | gene | transferred | loss at the start | with transfer | from scratch | difference | epochs to the parent's loss | from scratch | epochs to the loss from scratch |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|")
	for _, c := range list {
		fmt.Fprintf(w, "| %d | %s | %.1f %% | %.5g | %.5g | %.5g | %+.3g | %s | %s | %s |\n", c.Number, c.Gene, 100*c.Share, c.Start,
			final(c.Transfer), final(c.Scratch), c.Difference, count(c.TransferToParent, epochs), count(c.ScratchToParent, epochs), count(c.ToScratch, epochs))
	}
	fmt.Fprintf(w, "\n%s\n", kinds(list))
	for _, p := range e.Pairs {
		if p.Failed != "" {
			fmt.Fprintf(w, "Left out: pair %d (%s): %s\n", p.Number, p.Gene, p.Failed)
		}
	}
	if slices.ContainsFunc(list, func(c comparison) bool { return c.OtherGrid }) {
		fmt.Fprintln(w, "Other grid: heatmaps of another size than the parent's, so that the loss does not compare with its.")
	}
	if e.Missing > 0 {
		fmt.Fprintf(w, "Not yet trained: %d pairs.\n", e.Missing)
	}
	if len(list) > 1 {
		summarise(w, list, epochs)
	}
	return nil
}

// summarise writes what the pairs say together.
func summarise(w io.Writer, list []comparison, epochs int) {
	differences := column(list, func(c comparison) float64 { return c.Difference })
	mean, low, high := stats.MeanInterval(differences, 0.95)
	below, above, p := stats.SignTest(differences)
	scratch := stat.Mean(column(list, func(c comparison) float64 { return final(c.Scratch) }), nil)
	fmt.Fprintf(w, "\nMean difference of the final losses %+.3g (95 %% confidence interval %+.3g to %+.3g, paired t, n = %d), %+.1f %% of the mean from scratch.\n",
		mean, low, high, len(list), 100*mean/scratch)
	fmt.Fprintf(w, "With transfer %d of %d end lower, %d higher: p = %.2g by the exact two-sided sign test.\n", below, len(list), above, p)
	for _, line := range []struct {
		what string
		of   func(comparison) float64
	}{
		{"the parent's final loss, with transfer", func(c comparison) float64 { return c.TransferToParent }},
		{"the parent's final loss, from scratch", func(c comparison) float64 { return c.ScratchToParent }},
		{"the final loss from scratch, with transfer", func(c comparison) float64 { return c.ToScratch }},
	} {
		fmt.Fprintf(w, "Epochs to %s: %s.\n", line.what, spread(column(list, line.of), epochs))
	}
}

func column(list []comparison, of func(comparison) float64) []float64 {
	var values []float64
	for _, c := range list {
		values = append(values, of(c))
	}
	return values
}

// count writes a number of epochs.
func count(v float64, epochs int) string {
	if math.IsNaN(v) {
		return "other grid"
	}
	if math.IsInf(v, 1) {
		return fmt.Sprintf(">%d", epochs)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// spread writes median and range, and how many are only known to be above the
// number of epochs trained.
func spread(values []float64, epochs int) string {
	values = slices.DeleteFunc(values, math.IsNaN)
	if len(values) == 0 {
		return "none compares"
	}
	censored := 0
	for _, v := range values {
		if math.IsInf(v, 1) {
			censored++
		}
	}
	text := fmt.Sprintf("median %s, range %s to %s of %d", count(stats.Median(values), epochs), count(slices.Min(values), epochs), count(slices.Max(values), epochs), len(values))
	if censored > 0 {
		text += fmt.Sprintf("; %d of %d not within %d epochs (right-censored)", censored, len(values), epochs)
	}
	return text
}

// kinds counts the kinds of genes that were changed.
func kinds(list []comparison) string {
	counts := map[string]int{}
	for _, c := range list {
		counts[c.Kind()]++
	}
	var parts []string
	for kind, n := range counts {
		parts = append(parts, fmt.Sprintf("%s %d", kind, n))
	}
	slices.Sort(parts)
	return "Genes changed: " + strings.Join(parts, ", ") + "."
}
