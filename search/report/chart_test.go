package report

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

func texts(ticks []tick) []string {
	var list []string
	for _, t := range ticks {
		list = append(list, t.Text)
	}
	return list
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		want      []string
	}{
		{0, 10, []string{"0", "2", "4", "6", "8", "10"}},
		{110.3, 152.8, []string{"120", "130", "140", "150"}},
		{0.42, 0.58, []string{"0.45", "0.50", "0.55"}},
		{-0.02, 0.02, []string{"-0.02", "-0.01", "0", "0.01", "0.02"}},
		{1.2e6, 3.1e6, []string{"1.5e+06", "2e+06", "2.5e+06", "3e+06"}},
	} {
		if got := texts(axis{low: c.low, high: c.high, to: 100}.ticks()); !slices.Equal(got, c.want) {
			t.Errorf("%v to %v: %q, want %q", c.low, c.high, got, c.want)
		}
	}
	if got, want := texts(axis{low: 8, high: 300, to: 100, log: true}.ticks()), []string{"10", "20", "50", "100", "200"}; !slices.Equal(got, want) {
		t.Errorf("logarithmic %q, want %q", got, want)
	}
	if got, want := texts(wholeTicks(axis{low: 0.4, high: 30.6, to: 100})), []string{"5", "10", "15", "20", "25", "30"}; !slices.Equal(got, want) {
		t.Errorf("epochs %q, want %q", got, want)
	}
}

// Ticks are few but enough, inside the axis, and read as what they are.
func TestTicksOfAnyRange(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		low := math.Pow(10, 8*rng.Float64()-3)
		a := around(low, low*(1+math.Pow(10, 6*rng.Float64()-4))).on(400, 0)
		ticks := a.ticks()
		if len(ticks) < 2 || len(ticks) > 8 {
			t.Fatalf("%+v has the ticks %q", a, texts(ticks))
		}
		for i, tick := range ticks {
			v, err := strconv.ParseFloat(tick.Text, 64)
			at, _ := a.at(v)
			if err != nil || math.Abs(at-tick.At) > 1 || tick.At < 0 || tick.At > 400 || i > 0 && tick.Text == ticks[i-1].Text {
				t.Fatalf("%+v has the ticks %q", a, texts(ticks))
			}
		}
	}
}

// Outliers do not press the others together, and what is no outlier stays.
func TestInliers(t *testing.T) {
	values := []float64{10, 11, 12, 13, 14, 15, 16, 17, 900}
	if low, high := inliers(values); low != 10 || high != 17 {
		t.Errorf("%v to %v, want 10 to 17", low, high)
	}
	a := newAxis(values).on(100, 0)
	if at, above := a.at(900); at != 0 || !above {
		t.Errorf("900 is at %v, above %v", at, above)
	}
	for _, values := range [][]float64{{10, 900}, {5, 5, 5, 5, 5, 5, 5, 5, 9}, {10, 20, 30, 40, 50, 60, 70, 80, 90, 100}} {
		if low, high := inliers(values); low != values[0] || high != values[len(values)-1] {
			t.Errorf("%v: %v to %v", values, low, high)
		}
	}
}

func TestTexts(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{number(123.456, 4), "123.5"}, {number(122, 4), "122.0"}, {number(9.87654, 4), "9.877"}, {number(0.0123456, 4), "0.01235"}, {number(0, 4), "0"},
		{number(123456, 4), "123456"}, {number(1.5e12, 4), "1.5e+12"}, {number(-5, 3), "-5.00"}, {number(math.NaN(), 4), none}, {number(math.Inf(1), 4), none},
		{duration(42), "42 s"}, {duration(150), "2.5 min"}, {duration(9000), "2.5 h"}, {duration(864000), "10 days"}, {duration(0), "0 s"},
		{signed(-12.34), "−12.3 %"}, {signed(3), "+3.0 %"}, {signed(-0.01), "±0 %"}, {count(1, "worker"), "1 worker"}, {count(0, "worker"), "0 workers"},
		{clean("a\tb\nc\x00d\u202ee", 99), "a b c�d�e"}, {clean("äöü", 2), "äö…"}, {clean("äöü", 3), "äöü"},
		{count6(5263151), "5.26"}, {count9(1064e6), "1.064"}, {count6(0), none}, {milliseconds(0.02186), "21.86"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
