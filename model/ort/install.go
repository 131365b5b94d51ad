package ort

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// stall is how long a source may stay silent: no output and no bytes.
const stall = 20 * time.Second

// install gets the library from the first source that works and puts it into
// the cache. Concurrent installs, also of other processes, wait for the first.
func install(ctx context.Context, o LibraryOptions) (Library, error) {
	cache, err := CacheDir()
	if err != nil {
		return Library{}, err
	}
	variant, sources := "cpu", cpuSources
	if o.Provider == "cuda" {
		variant, sources = "cuda", cudaSources
	}
	i := installer{target: variantDir(cache, variant), sources: sources, progress: o.Progress, stall: stall}
	path, err := i.run(ctx)
	if err != nil {
		return Library{}, err
	}
	version, err := usable(path)
	if err != nil {
		return Library{}, fmt.Errorf("installed %s: %w", path, err)
	}
	return Library{Path: path, Version: version, Source: "installed"}, nil
}

type installer struct {
	target   string // folder that appears, complete, at the end
	sources  []source
	progress io.Writer
	stall    time.Duration
}

// run returns the path of the installed library.
func (i installer) run(ctx context.Context) (string, error) {
	if err := os.MkdirAll(filepath.Dir(i.target), 0o755); err != nil {
		return "", fmt.Errorf("cannot install ONNX Runtime: %w; set %s to a folder that can be written", err, CacheEnv)
	}
	lock := flock.New(i.target + ".lock")
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return "", fmt.Errorf("waiting for another install in %s: %w", i.target, err)
	}
	defer lock.Unlock() //nolint:errcheck // the lock ends with the process anyway
	if path, ok := i.installed(); ok {
		return path, nil
	}
	var failures []error
	for _, s := range i.sources {
		path, err := i.from(ctx, s)
		if err == nil {
			return path, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		fmt.Fprintf(i.progress, "%s: %v\n", s.name, err)
		failures = append(failures, fmt.Errorf("  %s: %w", s.name, err))
	}
	return "", fmt.Errorf("ONNX Runtime could not be installed:\n%w\n%s", errors.Join(failures...), strings.TrimPrefix(advice, "; "))
}

// installed returns the library if a source's files are all there and whole.
// A folder that is not whole is removed.
func (i installer) installed() (string, bool) {
	for _, s := range i.sources {
		p, ok := s.pins[platform()]
		if ok && i.whole(p) {
			return filepath.Join(i.target, p.files[0].name), true
		}
	}
	os.RemoveAll(i.target)
	return "", false
}

func (i installer) whole(p pin) bool {
	for _, f := range p.files {
		if sum, err := fileSum(filepath.Join(i.target, f.name)); err != nil || sum != f.sum {
			return false
		}
	}
	return true
}

// from downloads a source's archive, checks it and moves its files into place
// in one step.
func (i installer) from(ctx context.Context, s source) (string, error) {
	p, ok := s.pins[platform()]
	if !ok {
		return "", fmt.Errorf("has nothing for %s", platform())
	}
	work, err := os.MkdirTemp(filepath.Dir(i.target), ".install-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	archive, err := i.download(ctx, s, p, work)
	if err != nil {
		return "", err
	}
	if sum, err := fileSum(archive); err != nil || sum != p.archive {
		return "", errors.Join(err, fmt.Errorf("%s has SHA-256 %s, pinned is %s; refused", filepath.Base(archive), sum, p.archive))
	}
	ready := filepath.Join(work, "ready")
	if err := extract(archive, ready, p.files); err != nil {
		return "", err
	}
	if err := os.Rename(ready, i.target); err != nil {
		return "", err
	}
	fmt.Fprintf(i.progress, "installed ONNX Runtime %s in %s\n", LibraryVersion, i.target)
	return filepath.Join(i.target, p.files[0].name), nil
}

// download runs the source's client in a folder and returns the one archive
// that it leaves there.
func (i installer) download(ctx context.Context, s source, p pin, work string) (string, error) {
	command, err := client(s.clients)
	if err != nil {
		return "", err
	}
	dest := filepath.Join(work, "archive")
	if err := os.Mkdir(dest, 0o755); err != nil {
		return "", err
	}
	command = append(append(command, s.args...), p.args...)
	if err := i.watch(ctx, s.name, command, work, p.size); err != nil {
		return "", err
	}
	found, err := os.ReadDir(dest)
	if err != nil || len(found) != 1 {
		return "", errors.Join(err, fmt.Errorf("left %d files instead of one archive", len(found)))
	}
	return filepath.Join(dest, found[0].Name()), nil
}

// client returns the first command that exists.
func client(commands [][]string) ([]string, error) {
	var names []string
	for _, c := range commands {
		if path, err := exec.LookPath(c[0]); err == nil {
			return append([]string{path}, c[1:]...), nil
		}
		names = append(names, c[0])
	}
	return nil, fmt.Errorf("not there: %s", strings.Join(names, ", "))
}

// watch runs a command whose downloads land in the folder work, shows their
// growth, and kills it when neither they nor its output have grown for a while.
func (i installer) watch(ctx context.Context, name string, command []string, work string, size int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = filepath.Join(work, "archive")
	temp := filepath.Join(work, "temp")
	if err := os.Mkdir(temp, 0o755); err != nil {
		return err
	}
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, "TMP="+temp, "TEMP="+temp, "npm_config_cache="+temp, "PIP_CACHE_DIR="+temp)
	cmd.WaitDelay = time.Second
	var output tail
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		i.observe(ctx, cancel, name, work, size, &output)
	}()
	err := cmd.Wait()
	cause := context.Cause(ctx)
	cancel(nil)
	<-done
	if cause != nil {
		return cause
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(command[0]), err, output.last())
	}
	return nil
}

// observe reports growth until ctx ends, and ends it when growth stops.
func (i installer) observe(ctx context.Context, cancel context.CancelCauseFunc, name, work string, size int64, output *tail) {
	bar := newProgress(i.progress, "ONNX Runtime "+LibraryVersion+" from "+name, size)
	defer bar.Finish() //nolint:errcheck // only a display
	last, since := int64(-1), time.Now()
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		grown := folderSize(work)
		bar.Set64(min(grown, size)) //nolint:errcheck // only a display
		if now := grown + output.size.Load(); now != last {
			last, since = now, time.Now()
		} else if time.Since(since) > i.stall {
			cancel(fmt.Errorf("did not answer for %v; passed over", i.stall))
			return
		}
	}
}

// newProgress returns a bar on a terminal, and elsewhere prints one line and
// returns a bar that shows nothing.
func newProgress(w io.Writer, what string, size int64) *progressbar.ProgressBar {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return progressbar.NewOptions64(size, progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(w),
			progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish())
	}
	fmt.Fprintf(w, "getting %s (%d MB)\n", what, size/1e6)
	return progressbar.DefaultBytesSilent(size)
}

// tail keeps the end of a command's output.
type tail struct {
	size atomic.Int64
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.size.Add(int64(len(p)))
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-4096):]
	return len(p), nil
}

// last returns the last line that is not empty.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func folderSize(dir string) (total int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error { //nolint:errcheck // files come and go
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}

// extract writes the pinned files of an archive (a zip or a gzipped tar) into
// a new folder, each checked against its sum and synced.
func extract(archive, folder string, files []pinnedFile) error {
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	wanted := map[string]pinnedFile{}
	for _, f := range files {
		wanted[f.member] = f
	}
	each := eachTar
	if !strings.HasSuffix(archive, ".tgz") {
		each = eachZip
	}
	err := each(archive, func(member string, r io.Reader) error {
		f, ok := wanted[member]
		if !ok {
			return nil
		}
		delete(wanted, member)
		return writeChecked(filepath.Join(folder, f.name), f.sum, r)
	})
	if err == nil && len(wanted) > 0 {
		err = fmt.Errorf("%s lacks %d of the files that it should have", filepath.Base(archive), len(wanted))
	}
	return err
}

func eachZip(path string, visit func(string, io.Reader) error) error {
	z, err := zip.OpenReader(path)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return err
		}
		err = visit(f.Name, r)
		r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func eachTar(path string, visit func(string, io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(h.Name, t); err != nil {
			return err
		}
	}
}

func writeChecked(path, sum string, r io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), r)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return fmt.Errorf("%s has SHA-256 %s, pinned is %s; refused", filepath.Base(path), got, sum)
	}
	return nil
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
