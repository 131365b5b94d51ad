package cmd

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/model/ort/orttest"
	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/coco"
	"github.com/evopose/evopose/search/train"
)

// parseTrain reads flags as evopose train does, up to where it would train.
func parseTrain(t *testing.T, args ...string) (*trainFlags, error) {
	t.Helper()
	c := newTrain()
	f := trainFlags{config: train.Config{Augment: coco.RecipeAugment}}
	c.ResetFlags()
	f.register(c)
	if err := c.ParseFlags(args); err != nil {
		return nil, err
	}
	c.PreRun(c, nil)
	return &f, f.complete(c)
}

var trainArgs = []string{"--data", "a/train.json", "--images", "a", "--val", "a/val.json", "--val-images", "b"}

func TestTrainFlags(t *testing.T) {
	f, err := parseTrain(t, trainArgs...)
	if err != nil {
		t.Fatal(err)
	}
	c := f.config
	if c.Name != "evopose2d-s" || c.Size != (model.Size{H: 256, W: 192}) || c.Native != c.Size || f.out != filepath.Join("runs", "s-256x192") ||
		c.Data[0] != (train.DataSet{Annotations: "a/train.json", Images: "a"}) || c.Val[0].Images != "b" ||
		c.Augment != coco.RecipeAugment || c.DropConnect != nil || !strings.HasPrefix(c.Command, "evopose ") {
		t.Errorf("%+v", f)
	}
	f, err = parseTrain(t, append(slices.Clone(trainArgs), "--data", "c.json", "--images", "c", "--weight", "2", "--weight", "0.5",
		"--model", "xs", "--size", "128x96", "--aug-colour", "0.2", "--aug-rotation", "10", "--drop-connect", "0")...)
	if err != nil {
		t.Fatal(err)
	}
	c = f.config
	if len(c.Data) != 2 || c.Data[0].Weight != 2 || c.Data[1].Weight != 0.5 || c.Size != (model.Size{H: 128, W: 96}) || c.Native.H != 256 ||
		c.DropConnect == nil || *c.DropConnect != 0 || c.Augment.Brightness != 0.2 || c.Augment.Contrast != 0.2 || c.Augment.Rotation != 10 || f.out != filepath.Join("runs", "xs-128x96") {
		t.Errorf("%+v", f)
	}
}

// Growing is the default; the paper's transfer is asked for.
func TestTrainGrows(t *testing.T) {
	for want, args := range map[bool][]string{true: trainArgs, false: append(slices.Clone(trainArgs), "--grow=false")} {
		f, err := parseTrain(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		if f.config.Grow != want {
			t.Errorf("%v: grow is %v", args, f.config.Grow)
		}
	}
}

func TestTrainUsage(t *testing.T) {
	with := func(more ...string) []string { return append(slices.Clone(trainArgs), more...) }
	resume := func(more ...string) []string { return append([]string{"--out", "x", "--resume"}, more...) }
	for want, args := range map[string][]string{
		"--data: missing":    trainArgs[4:],
		"--val: missing":     trainArgs[:4],
		"in pairs":           with("--data", "b.json"),
		"--val-images 2":     with("--val-images", "c"),
		"--weight is given":  with("--weight", "1", "--weight", "2"),
		`--weight "0"`:       with("--weight", "0"),
		`--weight "NaN"`:     with("--weight", "NaN"),
		`--weight "x"`:       with("--weight", "x"),
		`--model "z"`:        with("--model", "z"),
		"--size: ":           with("--size", "128"),
		"multiples of 16":    with("--size", "130x96"),
		"epochs 0":           with("--epochs", "0"),
		"batch 1":            with("--batch", "1"),
		"rate 1":             with("--rate", "1"),
		"ema 1":              with("--ema", "1"),
		"balance 1.1":        with("--balance", "1.1"),
		"freeze-bn: initial": with("--freeze-bn"),
		"head 2: must be 0":  with("--aug-head", "2"),
		"drop-connect -1":    with("--drop-connect", "-1"),
		"otation":            with("--aug-rotation", "-1"),
		"--every 1ms":        with("--every", "1ms"),
		`--provider "tpu"`:   with("--provider", "tpu"),
		"--resume needs":     {"--resume"},
		"--epochs: a resume": resume("--epochs", "5"),
		"--data: a resumed":  resume("--data", "x.json"),
		"--aug-colour: a re": resume("--aug-colour", "0"),
		`unknown command "x`: {"x"},
	} {
		if _, err := evopose(t, t.TempDir(), append([]string{"train"}, args...)...); !isUsage(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("train %v: error %v, want usage %q", args, err, want)
		}
	}
	// How a run is carried out may change.
	if _, err := parseTrain(t, resume("--workers", "2", "--threads", "1", "--every", "1m", "--save-memory", "--provider", "cpu")...); err != nil {
		t.Error(err)
	}
}

// The flags that a resumed run refuses are all but those of how it is run.
func TestTrainResumeFlags(t *testing.T) {
	c := newTrain()
	how := []string{"out", "resume", "every", "workers", "threads", "provider", "save-memory", "ort-lib"}
	f := trainFlags{}
	c.ResetFlags()
	f.register(c)
	var free []string
	for _, flag := range flagNames(c) {
		probe := newTrain()
		probe.ResetFlags()
		pf := trainFlags{}
		pf.register(probe)
		probe.Flags().Lookup(flag).Changed = true
		if pf.onlyHow(probe) == nil {
			free = append(free, flag)
		}
	}
	slices.Sort(how)
	if !slices.Equal(free, how) {
		t.Errorf("a resumed run takes %v, want %v", free, how)
	}
}

// What is wrong with the work, not the command line, is no usage error.
func TestTrainFails(t *testing.T) {
	orttest.Init(t)
	dir := t.TempDir()
	for want, args := range map[string][]string{
		"annotation file: open a/train.json": trainArgs,
		"no checkpoint in x":                 {"--out", "x", "--resume"},
	} {
		if _, err := evopose(t, dir, append([]string{"train"}, args...)...); err == nil || isUsage(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "x")); err == nil {
		t.Error("--resume made a folder")
	}
}

// The whole command: train, go on, and evaluate what came of it.
func TestTrainCommand(t *testing.T) {
	orttest.Init(t)
	f := writeEvalFiles(t, nil, 3)
	yaml := "genotype: 3,1,1,1 5,2,1,2 3,1,1,2 5,1,2,2 3,2,1,1 5,1,1,1 3,1,1,1\ninput: 64x64\n"
	if err := os.WriteFile(filepath.Join(f.dir, "tiny.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := evopose(t, f.dir, "train", "--data", "data.json", "--images", "images", "--val", "data.json", "--val-images", "images",
		"--model", "tiny.yaml", "--size", "32x32", "--epochs", "1", "--batch", "2", "--out", "run", "--threads", "1")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`(?m)^tiny at 32x32, batch 2, epochs 1, steps an epoch 3, into run$`,
		`(?m)^epoch 1/1  loss [0-9.]+  val [0-9.]+  data AP .* images/s, waited .* -> run/best.onnx$`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s does not match\n%s", want, out)
		}
	}
	if out, err := evopose(t, f.dir, "train", "--out", "run", "--resume"); err != nil || !strings.Contains(out, "all epochs are done") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := evopose(t, f.dir, "eval", "--data", "data.json", "--images", "images", "--model", "run/best.onnx", "--provider", "cpu"); err != nil || strings.Contains(out, "not trained") {
		t.Errorf("%v\n%s", err, out)
	}
	sameModel(t, f.dir, "run/best.onnx", "run/best.ckpt")
}

// sameModel fails the test unless two files are of one model for eval and export.
func sameModel(t *testing.T, dir, a, b string) {
	t.Helper()
	var tables []string
	var files [][]byte
	for _, name := range []string{a, b} {
		out, err := evopose(t, dir, "eval", "--data", "data.json", "--images", "images", "--model", name, "--provider", "cpu")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		tables = append(tables, out[strings.Index(out, "  AP   AP50"):])
		e := export(t, dir, "--weights", name, "--out", "same.onnx")
		data, err := os.ReadFile(filepath.Join(dir, e.ONNX))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, data)
	}
	if tables[0] != tables[1] {
		t.Errorf("%s measures\n%s\nand %s\n%s", a, tables[0], b, tables[1])
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Errorf("exports of %s and %s differ", a, b)
	}
}

func TestTrainProgressInALog(t *testing.T) {
	var b bytes.Buffer
	p := newTrainProgress(&b, "runs/x")
	c := &train.Config{Name: "evopose2d-s", Size: model.Size{H: 128, W: 96}, Batch: 16, Epochs: 9, From: "a.onnx"}
	p.Started(c, &train.Start{Summary: search.Summary{}}, 2, 7, 100, errors.New("last.ckpt is damaged"))
	step := train.StepReport{Epoch: 3, Step: 8, StepsPerEpoch: 100, Loss: 123.456, ImagesPerSecond: 40.04, Waited: 0.0123, Left: 90 * time.Minute}
	p.Stepped(step)
	p.shown = p.shown.Add(-time.Minute)
	step.Loss = 125.456 // that of one step, not what is shown
	p.Stepped(step)
	p.Stepped(step) // the next minute is not over
	p.Broken(errors.New("picture 7.jpg: torn"))
	p.Measured(train.Point{Epoch: 3, Loss: 120, Val: 130, ImagesPerSecond: 41}, []train.Validation{{Name: "coco/val", Report: coco.Report{AP: 0.5, PCK20: -1}}}, true)
	p.Measured(train.Point{Epoch: 4, Loss: 120, Val: 130, ImagesPerSecond: math.NaN()}, nil, false)
	p.close()
	want := `warning: last.ckpt is damaged; going on from the one before
evopose2d-s from a.onnx: 0 tensors: 0 copied, 0 partial, 0 extended, 0 initial; 0.0 % of the values are the parent's
evopose2d-s at 128x96, batch 16, epochs 9, steps an epoch 100, into runs/x
going on in epoch 3 after step 7
epoch 3/9  step 8/100  loss 124.46  40.0 images/s, waited 1.2 %, 1h30m0s left
warning: picture 7.jpg: torn; left out
epoch 3/9  loss 120.00  val 130.00  coco/val AP 0.500 PCK@0.2 0.000  41.0 images/s, waited 1.2 %, 1h30m0s left  -> runs/x/best.onnx
epoch 4/9  loss 120.00  val 130.00
`
	if b.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", b.String(), want)
	}
}

func TestTrainProgressOfADoneRun(t *testing.T) {
	var b bytes.Buffer
	newTrainProgress(&b, "runs/x").Started(&train.Config{Epochs: 9}, &train.Start{}, 9, 0, 100, nil)
	if !strings.Contains(b.String(), "all epochs are done") || strings.Contains(b.String(), "going on") {
		t.Error(b.String())
	}
}

// flagNames lists the command's flags, from its help.
func flagNames(c *cobra.Command) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z0-9-]+)`).FindAllStringSubmatch(c.Flags().FlagUsages(), -1) {
		names = append(names, m[1])
	}
	return names
}
