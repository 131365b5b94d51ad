package cmd

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/onnx"
	"github.com/evopose/evopose/model/ort/orttest"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs"
	"github.com/evopose/evopose/search/train"
)

// parseSearch reads flags as evopose search does, up to where it would search.
func parseSearch(t *testing.T, args ...string) (*searchFlags, error) {
	t.Helper()
	c := newSearch()
	c.ResetFlags()
	var f searchFlags
	f.register(c)
	if err := c.ParseFlags(args); err != nil {
		return nil, err
	}
	if err := c.PreRunE(c, nil); err != nil {
		return nil, err
	}
	return &f, f.complete(c)
}

var searchArgs = []string{"--data", "a/train.json", "--images", "a", "--val", "a/val.json", "--val-images", "b", "--out", "runs/x", "--generations", "4"}

func TestSearchFlags(t *testing.T) {
	f, err := parseSearch(t, searchArgs...)
	if err != nil {
		t.Fatal(err)
	}
	size := model.Size{H: 256, W: 192}
	want := search.Settings{Seed: 1, Ancestor: model.GenotypeDefault, Native: size, Size: size, Generations: 4, Children: 64, Parents: 4,
		AncestorEpochs: 30, Epochs: 5, Cost: search.CostParameters, Selection: search.SelectFitness}
	if f.settings != want || f.trainer.Native != size || f.trainer.Latency || f.trainer.Batch != 16 ||
		f.trainer.Data[0] != (train.DataSet{Annotations: "a/train.json", Images: "a"}) || f.trainer.Val[0].Images != "b" {
		t.Errorf("%+v", f)
	}
	t.Setenv("EVOPOSE_NATS_PASSWORD", "secret")
	f, err = parseSearch(t, append(slices.Clone(searchArgs), "--data", "c.json", "--images", "c", "--weight", "2", "--weight", "0.5", "--size", "128x96",
		"--native", "192x160", "--ancestor", "s", "--fitness", "latency", "--select", "pareto", "--steady", "--children", "8", "--parents", "2",
		"--stop-factor", "1.5", "--from-scratch", "--nats", "nats://x:1", "--nats-user", "me", "--workers", "0")...)
	if err != nil {
		t.Fatal(err)
	}
	s := f.settings
	if s.Size != (model.Size{H: 128, W: 96}) || s.Native.W != 160 || s.Ancestor != model.GenotypeS || s.Cost != search.CostLatency || s.Window != 8 ||
		s.StopFactor != 1.5 || !s.FromScratch || !f.trainer.Latency || !slices.Equal(f.trainer.Weights, []float64{2, 0.5}) || f.trainer.Data[1].Weight != 0 ||
		f.broker.URL != "nats://x:1" || f.broker.User != "me" || f.broker.Password != "secret" {
		t.Errorf("%+v", f)
	}
}

func TestSearchUsage(t *testing.T) {
	with := func(more ...string) []string { return append(slices.Clone(searchArgs), more...) }
	dir := t.TempDir()
	bad := "genotype: 7,1,1,1 5,2,1,2 3,1,1,2 5,1,2,2 3,2,1,1 5,1,1,1 3,1,1,1\ninput: 64x64\n"
	for name, text := range map[string]string{"bad.yaml": bad, "no.onnx": "hello"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for want, args := range map[string][]string{
		"--data: missing":                   searchArgs[4:],
		"--val: missing":                    append(slices.Clone(searchArgs[:4]), searchArgs[8:]...),
		"--out: missing":                    append(slices.Clone(searchArgs[:8]), "--generations", "1"),
		"--generations: missing":            searchArgs[:10],
		"in pairs":                          with("--data", "b.json"),
		"--weight is given":                 with("--weight", "1", "--weight", "2"),
		"--size: ":                          with("--size", "128"),
		"multiples of 32":                   with("--size", "144x96"),
		"--native: ":                        with("--native", "x"),
		`--fitness "flops": want param`:     with("--fitness", "flops"),
		`selection "x": want fitness or`:    with("--select", "x"),
		"parents 65: want 1":                with("--parents", "65"),
		"epochs 0: want":                    with("--epochs", "0"),
		"epochs of generation 0 0":          with("--gen0-epochs", "0"),
		"stop factor 0.1":                   with("--stop-factor", "0.1"),
		"--window needs --steady":           with("--window", "3"),
		"--listen is for the broker":        with("--nats", "nats://x:1", "--listen", ":1"),
		"--workers -1":                      with("--workers", "-1"),
		`--provider "tpu"`:                  with("--provider", "tpu"),
		"--name: ":                          with("--name", "a b"),
		`--model "z"`:                       with("--ancestor", "z"),
		"kernel is 7":                       with("--ancestor", "bad.yaml"),
		"--from no.onnx":                    with("--from", "no.onnx"),
		`unknown command "x" for "evopose `: with("x"),
	} {
		if _, err := evopose(t, dir, append([]string{"search"}, args...)...); !isUsage(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("search %v: error %v, want usage %q", args, err, want)
		}
	}
}

// tinySearch is a search of an ancestor and two generations of two children.
var tinySearch = []string{"search", "--data", "data.json", "--images", "images", "--val", "data.json", "--val-images", "images", "--size", "64x64",
	"--native", "64x64", "--batch", "2", "--gen0-epochs", "2", "--epochs", "1", "--children", "2", "--parents", "2", "--threads", "1", "--out", "run"}

func searchWith(more ...string) []string { return append(slices.Clone(tinySearch), more...) }

// The whole command, through the broker: search, go on with more generations,
// refuse another search, and evaluate the winner.
func TestSearchCommand(t *testing.T) {
	orttest.Init(t)
	f := writeEvalFiles(t, nil, 3)
	out, err := evopose(t, f.dir, searchWith("--generations", "1")...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`(?m)^generation 0 of 1: 1 evaluations in .* of work; 1 of 3 in all$`, `(?m)^generation 1 of 1: 2 evaluations`,
		`(?m)^3/3  evaluation \d \(of 0, stage \d .*\): loss [0-9.]+, fitness [0-9.]+, .* 0s left$`, `(?m)^ +\* +0 +- +[0-9.]+ `,
		`(?m)^more workers may join: evopose worker --nats nats://127.0.0.1:\d+ --search search-[0-9a-f]{16}$`,
		`(?m)^\* parents of the next: \d, \d$`, `(?m)^the best of 3 evaluations is \d:$`, `wrote run/winner.onnx`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s does not match\n%s", want, out)
		}
	}
	reportHas(t, filepath.Join(f.dir, "run"), "3 of 3")
	out, err = evopose(t, f.dir, searchWith("--generations", "2", "--workers", "2", "--json")...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var result searched
	if err := json.Unmarshal([]byte(out[strings.Index(out, "\n{"):]), &result); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if result.Evaluations != 5 || len(result.Best) != 2 || !strings.Contains(out, "going on with 3 of 5") || strings.Contains(out, "generation 1 of") {
		t.Errorf("%+v\n%s", result, out)
	}
	checkWinner(t, result.Winner)
	reportHas(t, filepath.Join(f.dir, "run"), "5 of 5")
	if _, err := evopose(t, f.dir, searchWith("--generations", "2", "--seed", "2", "--batch", "3")...); err == nil ||
		!strings.Contains(err.Error(), "run holds another search") || !strings.Contains(err.Error(), "seed: 1 there, 2 here") || !strings.Contains(err.Error(), "batch: 2 there, 3 here") {
		t.Errorf("error %v", err)
	}
	if out, err := evopose(t, f.dir, searchWith("--generations", "2", "--name", "again")...); err != nil || !strings.Contains(out, "wrote run/again.onnx") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := evopose(t, f.dir, "eval", "--data", "data.json", "--images", "images", "--model", "run/winner.onnx", "--provider", "cpu"); err != nil || strings.Contains(out, "not trained") {
		t.Errorf("%v\n%s", err, out)
	}
}

func checkWinner(t *testing.T, e exported) {
	t.Helper()
	data, err := os.ReadFile(e.ONNX)
	if err != nil {
		t.Fatal(err)
	}
	_, card, err := onnx.Weights(data)
	if err != nil {
		t.Fatal(err)
	}
	lineage := strings.Join(card.Lineage, "\n")
	for _, want := range []string{"generation 0, genotype", "validation loss", "the best of 5 evaluations by validation loss and parameters", "seed 1: evopose"} {
		if !strings.Contains(lineage, want) {
			t.Errorf("%q is not in\n%s", want, lineage)
		}
	}
	if card.Name != "winner" || !card.Trained || card.Data != "data" || !strings.Contains(e.YAML, "winner.yaml") {
		t.Errorf("%+v", card)
	}
}

// What is wrong with the work is no usage error and leaves a journal that goes
// on.
func TestSearchFails(t *testing.T) {
	orttest.Init(t)
	f := writeEvalFiles(t, nil, 3)
	for want, args := range map[string][]string{
		"no such file": searchWith("--data", "x.json", "--images", "x"),
		"127.0.0.1:1":  searchWith("--nats", "nats://127.0.0.1:1", "--workers", "0"),
		"batch of 100": searchWith("--batch", "100"),
	} {
		if _, err := evopose(t, f.dir, append(args, "--generations", "1", "--out", want)...); err == nil || isUsage(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestWithoutSecrets(t *testing.T) {
	got := withoutSecrets("evopose search --nats nats://me:secret@a:1,tls://token@b:2 --about me@home")
	if want := "evopose search --nats nats://...@a:1,tls://...@b:2 --about me@home"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// finished is an evaluation for the tables.
func finished(id, parent int, loss float64) search.Entry {
	return search.Entry{Job: search.Job{ID: id, Generation: (id + 1) / 2, Parent: parent, Epochs: 5, Mutations: []string{"stage 3 kernel 5 -> 3"}},
		Result: search.Result{ID: id, Loss: loss, Losses: []float64{loss}, Parameters: 5e6, MultiplyAdds: 1e9, Seconds: 60}}
}

func TestSearchProgressInALog(t *testing.T) {
	var b bytes.Buffer
	s := search.Settings{Generations: 1, Children: 3, Parents: 2, AncestorEpochs: 10, Epochs: 5, Cost: search.CostParameters, Selection: search.SelectFitness}
	p := newSearchProgress(&b, &b, s)
	p.Started(1, 4)
	all := []search.Entry{finished(0, -1, 12), finished(1, 0, 11), finished(2, 0, 13), finished(3, 0, 14)}
	all[0].Job.Genotype, all[0].Job.Epochs = model.GenotypeDefault, 10
	all[2].Result.Failed = "out of memory"
	all[3].Result.Stopped = true
	p.Evaluated(all[0], true)
	p.Generation(0, all[:1])
	p.Proposed([]search.Job{all[1].Job})
	p.epoch(jobs.Progress{Job: 1, Epoch: 2})
	p.began = time.Now().Add(-time.Minute)
	for _, e := range all[1:] {
		p.Evaluated(e, false)
	}
	p.epoch(jobs.Progress{Job: 1, Epoch: 5}) // late
	p.Generation(1, all)
	p.logger().Warn("a worker is lost")
	p.logger().Info("not shown")
	p.close()
	want := `going on with 1 of 4 evaluations done
2/4  evaluation 1 (of 0, stage 3 kernel 5 -> 3): loss 11, fitness 11, 5.00 M, 1.000 G, 60 s  2m0s left
3/4  evaluation 2 (of 0, stage 3 kernel 5 -> 3): failed: out of memory  30s left
4/4  evaluation 3 (of 0, stage 3 kernel 5 -> 3): stopped after epoch 1 with loss 14  0s left

generation 1 of 1: 3 evaluations in 3m0s of work; 4 of 4 in all
     id  of    loss  fitness  parameters  multiply-adds  change
  *   1   0      11       11      5.00 M        1.000 G  stage 3 kernel 5 -> 3
      2   0  failed        -      5.00 M        1.000 G  stage 3 kernel 5 -> 3: out of memory
      3   0      14  stopped      5.00 M        1.000 G  stage 3 kernel 5 -> 3
* parents of the next: 1, 0
`
	log, ok := strings.CutPrefix(b.String(), want)
	if !ok {
		t.Errorf("printed\n%s\nwant\n%s", b.String(), want)
	}
	if !strings.Contains(log, "a worker is lost") || strings.Contains(log, "not shown") {
		t.Errorf("logged %q", log)
	}
}
