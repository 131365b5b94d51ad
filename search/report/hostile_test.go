package report

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// hostile are texts that a worker or a command line may hold.
var hostile = []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `</title></svg><svg onload=alert(1)>`,
	`javascript:alert(1)`, `{{.}}`, `]]><!--`, `</style><style>*{display:none}`, "zero\x00byte \x1b[31m \u202eturned\u2066 \ufeff \xff", strings.Repeat("<&", 1<<19)}

// What comes from elsewhere is text and nothing else, and does not fill the
// page.
func TestHostileTexts(t *testing.T) {
	s := settings(2, 8)
	plain := bytesOf(t, s, fake(s))
	for _, text := range hostile {
		entries := fake(s)
		h := header(s)
		h.Command, h.Evaluation = text, map[string]string{text: text}
		for i := range entries {
			e := &entries[i]
			e.Result.Worker, e.Result.Transfer = text, text
			if i > 0 {
				e.Job.Mutations = []string{text, text}
			}
			if i%4 == 3 {
				e.Result.Failed = text
			}
		}
		data, err := render(h, s, entries)
		if err != nil {
			t.Fatal(err)
		}
		page := parse(t, data)
		checkInert(t, page)
		if len(data) > len(plain)+len(entries)*9000+50000 {
			t.Errorf("%.20q makes the page %d bytes long", text, len(data))
		}
		shown := page.all(func(n *node) bool { return n.name == "tr" && n.attr["id"] == "e3" })[0].text()
		if want := strings.TrimSpace(clean(text, 60)); strings.Count(shown, want[:min(len(want), 50)]) < 3 {
			t.Errorf("%.20q is not in %.200q", text, shown)
		}
	}
}

// checkInert requires a page without elements, attributes and addresses that are
// not the report's own.
func checkInert(t *testing.T, page *node) {
	t.Helper()
	known := strings.Fields(`html head meta title style body header h1 h2 h3 p code nav a main section div table thead tbody tr th td strong
		progress dl dt dd ul li svg g path circle text figure figcaption details summary ins del b br em pre script`)
	for _, n := range page.all(every) {
		if !slices.Contains(known, n.name) {
			t.Errorf("an element %s", n.name)
		}
		for name, value := range n.attr {
			if strings.HasPrefix(name, "on") || name == "src" || name == "href" && !strings.HasPrefix(value, "#") {
				t.Errorf("%s %s=%q", n.name, name, value)
			}
		}
	}
	for _, name := range []string{"script", "style"} {
		if found := page.named(name); len(found) != 1 || regexp.MustCompile(`alert|url\(|@import|http`).MatchString(found[0].text()) {
			t.Errorf("%d elements %s", len(found), name)
		}
	}
	text := page.text()
	if i := strings.IndexFunc(text, func(r rune) bool {
		return r < ' ' && r != '\n' || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}); i >= 0 {
		t.Errorf("a control character in %q", text[i:min(i+20, len(text))])
	}
}

// Whatever numbers there are, those that can be drawn are inside the drawing and
// the others left out.
func TestExtremeNumbers(t *testing.T) {
	s := settings(2, 16)
	s.StopFactor = 1.5
	losses := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, 5e-324, 1e-9, 1, 1e9, 1e99, 1e101, math.MaxFloat64}
	counts := []int64{math.MinInt64, -1, 0, 1, 5e6, math.MaxInt64}
	for shift := range len(losses) * len(counts) {
		entries := fake(s)
		for i := range entries {
			r := &entries[i].Result
			if shift%5 > 0 && i%7 > shift%5 { // among ordinary ones
				continue
			}
			r.Loss = losses[(i+shift)%len(losses)]
			r.Losses = []float64{losses[(i+2*shift)%len(losses)], losses[(i*shift)%len(losses)], r.Loss}
			r.Parameters, r.MultiplyAdds = counts[(i+shift)%len(counts)], counts[(i*shift)%len(counts)]
			r.Latency, r.Seconds = losses[(i+5*shift)%len(losses)], losses[(i+7*shift)%len(losses)]
		}
		checkNumbers(t, bytesOf(t, s, entries))
	}
}

// notNumbers are how Go and JavaScript write them; the page's script has one of
// its own.
var notNumbers = regexp.MustCompile(`NaN|Inf\b|Infinity|[0-9]e\+`)

func checkNumbers(t *testing.T, data []byte) {
	t.Helper()
	page := parse(t, data)
	for _, svg := range page.named("svg") {
		box := strings.Fields(svg.attr["viewBox"])
		width, _ := strconv.ParseFloat(box[2], 64)
		height, _ := strconv.ParseFloat(box[3], 64)
		for _, n := range svg.all(every) {
			if found := notNumbers.FindString(n.attr["d"] + n.attr["cx"] + n.attr["cy"] + n.attr["x"] + n.attr["y"]); found != "" {
				t.Fatalf("%v has %s", n.attr, found)
			}
			if n.name == "circle" && !(number64(n.attr["cx"]) >= 0 && number64(n.attr["cx"]) <= width && number64(n.attr["cy"]) >= 0 && number64(n.attr["cy"]) <= height) {
				t.Fatalf("%v is outside of %v", n.attr, box)
			}
		}
	}
	for _, n := range page.named("td") {
		if found := regexp.MustCompile(`NaN|Inf\b`).FindString(n.text()); found != "" {
			t.Fatalf("a cell with %q", n.text())
		}
	}
}

func number64(text string) float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

// A journal whose IDs were edited makes no endless drawing.
func TestFarIDs(t *testing.T) {
	s := settings(2, 4)
	for _, id := range []int{1e9, math.MaxInt64} {
		entries := fake(s)
		entries[8].Job.ID, entries[8].Result.ID = id, id
		if data := bytesOf(t, s, entries); len(data) > 100_000 {
			t.Errorf("ID %d makes %d bytes", id, len(data))
		}
	}
}
