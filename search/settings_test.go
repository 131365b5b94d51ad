package search

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evopose/evopose/model"
)

func TestSettingsValidate(t *testing.T) {
	good := small()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Settings){
		"generations -1: want 0 or more":                                       func(s *Settings) { s.Generations = -1 },
		"children 0: want 1 or more":                                           func(s *Settings) { s.Children = 0 },
		"parents 0: want 1 up to the number of children, 8":                    func(s *Settings) { s.Parents = 0 },
		"parents 9: want 1 up to the number of children, 8":                    func(s *Settings) { s.Parents = 9 },
		"epochs of generation 0 0: want 1 or more":                             func(s *Settings) { s.AncestorEpochs = 0 },
		"epochs 0: want 1 or more":                                             func(s *Settings) { s.Epochs = 0 },
		"stop factor 0.5: want 0 (none) or 1 and more":                         func(s *Settings) { s.StopFactor = 0.5 },
		"stop factor NaN":                                                      func(s *Settings) { s.StopFactor = nan },
		"stop factor +Inf":                                                     func(s *Settings) { s.StopFactor = inf },
		"window -1: want 0 (generations) or more":                              func(s *Settings) { s.Window = -1 },
		`selection "best": want fitness or pareto`:                             func(s *Settings) { s.Selection = "best" },
		`cost "flops": want parameters, multiply-adds, latency`:                func(s *Settings) { s.Cost = "flops" },
		"ancestor: genotype: stage 1: kernel is 0":                             func(s *Settings) { s.Ancestor = model.Genotype{} },
		"input size 48x48: height and width must be multiples of 32":           func(s *Settings) { s.Size = model.Size{H: 48, W: 48} },
		"input size 250x192: height and width must be multiples of 32 (the ne": func(s *Settings) { s.Native.H = 250 },
	} {
		s := small()
		change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestNumbering(t *testing.T) {
	s, w := small(), steady(3)
	if s.Total() != 33 {
		t.Errorf("total %d", s.Total())
	}
	for _, tt := range [][4]int{ // ID, generation, visible, visible in a steady state
		{0, 0, 0, 0}, {1, 1, 0, 0}, {3, 1, 0, 0}, {4, 1, 0, 1}, {8, 1, 0, 5}, {9, 2, 8, 6}, {16, 2, 8, 13}, {17, 3, 16, 14},
	} {
		if got := [4]int{tt[0], s.Generation(tt[0]), s.visible(tt[0]), w.visible(tt[0])}; got != tt {
			t.Errorf("%v, want %v", got, tt)
		}
	}
}

// The share of each parent, the best parent's children first.
func TestParentOf(t *testing.T) {
	parents := []Entry{{Job: Job{ID: 100}}, {Job: Job{ID: 101}}, {Job: Job{ID: 102}}}
	for n, want := range map[int][]int{
		1: {100, 100, 100, 100, 100, 100, 100, 100},
		2: {100, 100, 100, 100, 101, 101, 101, 101},
		3: {100, 100, 100, 101, 101, 101, 102, 102},
	} {
		s := small()
		var got []int
		for id := 9; id <= 16; id++ {
			got = append(got, s.parentOf(id, parents[:n]).Job.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d parents: %s", n, diff)
		}
	}
}

// entry is an evaluation with a loss, of a network of so many parameters.
func entry(id int, loss float64, parameters int64) Entry {
	return Entry{Job{ID: id}, Result{ID: id, Loss: loss, Parameters: parameters}}
}

func TestRank(t *testing.T) {
	failed, stopped := entry(6, 1, 1e6), entry(7, 1, 1e6)
	failed.Result.Failed, stopped.Result.Stopped = "out of memory", true
	all := []Entry{entry(0, 10, 5e6), entry(1, 9, 5e6), entry(2, 9, 4e6), entry(3, 9, 5e6), entry(4, nan, 1e6), entry(5, 9.5, 1e6), failed, stopped}
	for name, tt := range map[string]struct {
		selection Selection
		want      []int
	}{
		// The loss of 5 is higher, but its cost a fifth: 9.5*0.893 = 8.49.
		"fitness": {SelectFitness, []int{5, 2, 1, 3, 0}},
		// 5 and 2 are not dominated; 2 dominates 1, 3 and 0, 1 dominates 0.
		"pareto": {SelectPareto, []int{5, 2, 1, 3, 0}},
	} {
		s := small()
		s.Selection = tt.selection
		var got []int
		for _, e := range s.Rank(all) {
			got = append(got, e.Job.ID)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if best := s.Best(all); len(best) != 3 || best[0].Job.ID != 5 {
			t.Errorf("%s: best %v", name, best)
		}
	}
	s := small()
	if got := s.Best(all[4:5]); len(got) != 0 {
		t.Errorf("NaN wins: %v", got)
	}
}

// By fitness small networks that lose much win nothing; as objectives they do.
func TestParetoKeepsExtremes(t *testing.T) {
	all := []Entry{entry(0, 10, 5e6), entry(1, 9.9, 49e5), entry(2, 9.8, 48e5), entry(3, 30, 1e6)}
	s := small()
	s.Parents = 2
	if best := s.Best(all); best[1].Job.ID != 1 {
		t.Errorf("fitness: %v", best)
	}
	s.Selection = SelectPareto
	if best := s.Best(all); best[0].Job.ID != 2 || best[1].Job.ID != 3 {
		t.Errorf("pareto: %v", best)
	}
}

func TestBounds(t *testing.T) {
	losses := func(id int, v ...float64) Entry { return Entry{Job{ID: id}, Result{ID: id, Losses: v}} }
	for _, tt := range []struct {
		name    string
		factor  float64
		parents []Entry
		want    []float64
	}{
		{"off", 0, []Entry{losses(1, 8, 6, 4)}, nil},
		{"only the ancestor", 1.5, []Entry{losses(0, 8, 6, 4)}, nil},
		{"one", 1.5, []Entry{losses(1, 8, 6, 4)}, []float64{12, 9}},
		{"three and the ancestor", 2, []Entry{losses(5, 8, 6, 4), losses(0, 1, 1, 1), losses(3, 2, 1, 1), losses(4, 3, 2, 1)}, []float64{6, 4}},
		{"two", 1, []Entry{losses(5, 8, 6), losses(6, 4, 2)}, []float64{6, 4}},
		{"short", 1, []Entry{losses(5, 8)}, []float64{8}},
	} {
		s := small()
		s.StopFactor = tt.factor
		if diff := cmp.Diff(tt.want, s.bounds(tt.parents)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestHopeless(t *testing.T) {
	j := Job{Epochs: 4, StopAbove: []float64{10, 0, 8, 7, 6}}
	for _, tt := range []struct {
		epoch int
		loss  float64
		want  bool
	}{
		{1, 10, false}, {1, 10.1, true}, {1, nan, true}, {2, 1e9, false}, {3, 8.1, true}, {3, 7, false},
		{4, 100, false}, {5, 100, false}, {6, 100, false}, // the last is over anyway
	} {
		if got := j.Hopeless(tt.epoch, tt.loss); got != tt.want {
			t.Errorf("epoch %d, loss %v: %v", tt.epoch, tt.loss, got)
		}
	}
}

// Stopping early saves epochs and leaves the best where they are.
func TestStoppingSavesEpochs(t *testing.T) {
	plain, stopping := small(), small()
	stopping.StopFactor = 1
	epochs := func(entries []Entry) (n, stopped int) {
		for _, e := range entries {
			n += len(e.Result.Losses)
			if e.Result.Stopped {
				stopped++
			}
		}
		return n, stopped
	}
	a, none := epochs(searchAll(t, plain, &fake{}, 2))
	b, some := epochs(searchAll(t, stopping, &fake{}, 2))
	if none != 0 || some == 0 || b >= a {
		t.Errorf("%d epochs without stopping, %d with, %d stopped", a, b, some)
	}
}
