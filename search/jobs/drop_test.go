package jobs

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs/jobstest"
)

// small is a search of 1 + 3*4 evaluations.
func small() search.Settings {
	size := model.Size{H: 64, W: 64}
	return search.Settings{Seed: 3, Ancestor: model.GenotypeDefault, Native: size, Size: size, Generations: 3, Children: 4, Parents: 2,
		AncestorEpochs: 2, Epochs: 2, Cost: search.CostParameters, Selection: search.SelectFitness}
}

// evolve carries a search out with a coordinator and the journal in a folder.
func evolve(ctx context.Context, dir string, s search.Settings, c *Coordinator) ([]search.Entry, error) {
	j, err := search.OpenJournal(dir, search.Header{Settings: s})
	if err != nil {
		return nil, err
	}
	defer j.Close()
	return search.Evolve(ctx, s, c, j, search.Silent{})
}

func mustEvolve(t *testing.T, dir string, s search.Settings, c *Coordinator) []search.Entry {
	t.Helper()
	entries, err := evolve(t.Context(), dir, s, c)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// outline is what does not depend on time and workers.
func outline(entries []search.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%d of %d: %v %v %s %s\n", e.Job.ID, e.Job.Parent, e.Job.Genotype, e.Result.Loss, e.Result.Weights, e.Result.Failed)
	}
	return b.String()
}

// checkLeft requires that the broker has the weights of the parents of a next
// generation, and no others.
func checkLeft(t *testing.T, c *Coordinator, s search.Settings, entries []search.Entry) {
	t.Helper()
	there, err := c.store.list(t.Context())
	best := s.Best(entries)
	if err != nil || len(there) != len(best) {
		t.Errorf("%d weights are left, want %d; error %v", len(there), len(best), err)
	}
	for _, e := range best {
		if _, err := c.Weights(t.Context(), e.Result); err != nil {
			t.Error(err)
		}
	}
}

// The broker keeps the weights that a search may still need. Without its
// journal, too, the search is the same one again, and may be made longer.
func TestDrop(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	c := open(t, b.Connection(), quick("drop"))
	e := &counting{Evaluator: jobstest.Evaluator{}}
	startWorker(t, b.Connection(), e)
	startWorker(t, b.Connection(), e)
	s := small()
	entries := mustEvolve(t, t.TempDir(), s, c)
	checkLeft(t, c, s, entries)
	if _, err := c.Weights(t.Context(), s.Rank(entries)[2].Result); err == nil || !strings.Contains(err.Error(), "more generations before") {
		t.Errorf("error %v", err)
	}
	s.Generations++
	longer := mustEvolve(t, t.TempDir(), s, open(t, b.Connection(), quick("drop")))
	if !strings.HasPrefix(outline(longer), outline(entries)) || len(longer) != 17 || e.total() != 17 {
		t.Errorf("%d evaluations for\n%s\nwant\n%s", e.total(), outline(longer), outline(entries))
	}
	checkLeft(t, c, s, longer)
}

// Room on the disk comes back.
func TestDropGivesRoom(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, dir, BrokerOptions{})
	c := open(t, b.Connection(), quick("room"))
	var spent []search.Result
	for _, j := range generation(8) {
		name, err := c.PutWeights(t.Context(), jobstest.Weights(j, nil, 4<<20))
		if err != nil {
			t.Fatal(err)
		}
		spent = append(spent, search.Result{ID: j.ID, Weights: name})
	}
	if before := onDisk(t, dir); before < 32<<20 {
		t.Fatalf("%d bytes on the disk", before)
	}
	c.Drop(t.Context(), append(spent[:7:7], search.Result{Weights: "none"}))
	c.Drop(t.Context(), spent[:7])
	until(t, "there is room", func() bool { return onDisk(t, dir) < 13<<20 }) // 4 MB and what a block of 8 MB has beside
	if _, err := c.Weights(t.Context(), spent[7]); err != nil {
		t.Error(err)
	}
	c.Drop(t.Context(), spent)
	if there, err := c.store.list(t.Context()); err != nil || len(there) != 0 {
		t.Errorf("%v are left, error %v", there, err)
	}
}

func onDisk(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil { // else it is gone
				bytes += info.Size()
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// childEvolution is a whole search in a process: broker, coordinator and two
// workers.
type childEvolution struct{ Dir string }

func (c childEvolution) run() error {
	ctx := context.Background()
	b, err := Embedded(c.Dir, BrokerOptions{})
	if err != nil {
		return err
	}
	defer b.Close()
	s := quick("killed")
	s.Tries = 100
	o, err := Open(ctx, b.Connection(), s, Options{Log: zap.NewExample()})
	if err != nil {
		return err
	}
	defer o.Close()
	for i := range 2 {
		w := Worker{Connection: b.Connection(), Name: fmt.Sprint(i), Factory: func(context.Context, Setup) (search.Evaluator, error) {
			return jobstest.Evaluator{Epoch: 20 * time.Millisecond}, nil
		}}
		go w.Work(ctx)
	}
	_, err = evolve(ctx, c.Dir, small(), o)
	return err
}

// Killed again and again, a search that throws weights away ends as one that
// was not.
func TestKilledWhileDropping(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	startWorker(t, b.Connection(), jobstest.Evaluator{})
	want := mustEvolve(t, t.TempDir(), small(), open(t, b.Connection(), quick("whole")))
	dir := t.TempDir()
	for entries := 0; entries < 9; {
		cmd := child{Evolution: &childEvolution{dir}}.start(t)
		until(t, "the search goes on", func() bool {
			_, now, err := search.ReadJournal(dir)
			if err != nil || len(now) < entries+3 {
				return false
			}
			entries = len(now)
			return true
		})
		kill(cmd)
	}
	if err := (child{Evolution: &childEvolution{dir}}).start(t).Wait(); err != nil {
		t.Fatal(err)
	}
	_, got, err := search.ReadJournal(dir)
	if err != nil || outline(got) != outline(want) {
		t.Errorf("error %v, found\n%s\nwant\n%s", err, outline(got), outline(want))
	}
	again := startBroker(t, dir, BrokerOptions{})
	checkLeft(t, open(t, again.Connection(), quick("killed")), small(), got)
}
