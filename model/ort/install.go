package ort

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// installer installs the library into one folder of the user cache.
type installer struct {
	dir     string // a build's folder in CacheDir
	dirErr  error  // why there is no such folder
	sources []source
	stall   time.Duration // a source is given up when it does nothing for so long
	limit   time.Duration // and when it has not ended after so long
	log     *reporter
}

// build is a variant of the library; each has a folder of its own.
type build string

const (
	cpuBuild  build = "cpu"
	cudaBuild build = "cuda"
)

func newInstaller(b build, log *reporter) installer {
	in := installer{log: log, stall: 20 * time.Second, limit: 10 * time.Minute}
	cache, err := CacheDir()
	in.dirErr = err
	in.dir = filepath.Join(cache, Version, runtime.GOOS+"-"+runtime.GOARCH+"-"+string(b))
	in.sources = sources(runtime.GOOS+"/"+runtime.GOARCH, b)
	return in
}

// cached returns the library that is installed already.
func (in *installer) cached() (Library, error) {
	if in.dirErr != nil {
		return Library{}, in.dirErr
	}
	return readCache(in.dir)
}

// install installs the library from the first source that works. One process
// at a time does so; the others wait and then find it installed.
func (in *installer) install(ctx context.Context) (Library, error) {
	if in.dirErr != nil {
		return Library{}, in.dirErr
	}
	if err := os.MkdirAll(in.dir, 0o755); err != nil {
		return Library{}, fmt.Errorf("no folder to install into: %w; set %s", err, CacheEnv)
	}
	unlock, err := in.lock(ctx)
	if err != nil {
		return Library{}, err
	}
	defer unlock()
	if lib, err := readCache(in.dir); err == nil {
		return lib, nil
	}
	in.removeTemporary()
	return in.firstSource(ctx)
}

// lock takes the folder's lock, which ends with the process that holds it.
func (in *installer) lock(ctx context.Context) (unlock func(), err error) {
	lock := flock.New(filepath.Join(in.dir, "install.lock"))
	ok, err := lock.TryLock()
	if err == nil && !ok {
		in.log.line("ONNX Runtime: waiting for another process that installs it")
		_, err = lock.TryLockContext(ctx, 100*time.Millisecond)
	}
	if err != nil {
		return nil, fmt.Errorf("lock of %s: %w", in.dir, err)
	}
	return func() { _ = lock.Unlock() }, nil
}

const temporaryPrefix = ".tmp-"

// removeTemporary removes what installations that were killed left. The lock
// is held, so none of it is in use.
func (in *installer) removeTemporary() {
	left, _ := filepath.Glob(filepath.Join(in.dir, temporaryPrefix+"*"))
	for _, path := range left {
		_ = os.RemoveAll(path)
	}
}

func (in *installer) firstSource(ctx context.Context) (Library, error) {
	if len(in.sources) == 0 {
		return Library{}, fmt.Errorf("no source has this build of ONNX Runtime %s for %s/%s", Version, runtime.GOOS, runtime.GOARCH)
	}
	var why []error
	for _, s := range in.sources {
		start := time.Now()
		lib, err := in.from(ctx, s)
		if err == nil {
			in.log.line("ONNX Runtime %s: installed from %s in %.1f s: %s", lib.Version, s.name, time.Since(start).Seconds(), lib.Path)
			return lib, nil
		}
		if ctx.Err() != nil {
			return Library{}, ctx.Err()
		}
		err = fmt.Errorf("source %s: %w", s.name, err)
		in.log.line("ONNX Runtime: passed over %v", err)
		why = append(why, err)
	}
	return Library{}, errors.Join(why...)
}

// from installs from one source: everything is fetched, compared, extracted
// and tried out in a temporary folder, then moved.
func (in *installer) from(ctx context.Context, s source) (Library, error) {
	temp, err := os.MkdirTemp(in.dir, temporaryPrefix)
	if err != nil {
		return Library{}, err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	archive, err := in.fetch(ctx, s, temp)
	if err != nil {
		return Library{}, err
	}
	if err := compare("the archive", archive, s.pin.archive); err != nil {
		return Library{}, err
	}
	files, err := extractAll(archive, s.pin.members, filepath.Join(temp, "files"))
	if err != nil {
		return Library{}, fmt.Errorf("%s: %w", filepath.Base(archive), err)
	}
	lib, err := check(files[0]) // fails on a system without glibc, for example
	if err != nil {
		return Library{}, fmt.Errorf("its library cannot be used here: %w", err)
	}
	lib.Path, lib.Source = filepath.Join(in.dir, libraryName()), "installed ("+s.name+")"
	return lib, place(files, in.dir, s.name)
}

// fetch runs the source, shows its progress, and stops it when it stalls.
func (in *installer) fetch(ctx context.Context, s source, temp string) (archive string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, in.limit, fmt.Errorf("not finished within %v", in.limit))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out := &tail{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		archive, err = s.fetch(ctx, s.pin, temp, out)
	}()
	in.watch(done, stop, s, temp, out)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return "", fmt.Errorf("%w%s", cause, out.last())
	}
	if err != nil {
		return "", fmt.Errorf("%w%s", err, out.last())
	}
	return archive, nil
}

// watch shows how much is there until done is closed, and calls stop when
// neither bytes nor output have come for a while.
func (in *installer) watch(done <-chan struct{}, stop context.CancelCauseFunc, s source, temp string, out *tail) {
	bar := in.log.start(fmt.Sprintf("ONNX Runtime %s from %s", Version, s.name), s.pin.size)
	defer bar.end()
	ticker := time.NewTicker(min(200*time.Millisecond, in.stall/4))
	defer ticker.Stop()
	last, seen := int64(-1), time.Now()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		size := folderSize(temp)
		bar.set(size)
		if now := size + out.count(); now != last {
			last, seen = now, time.Now()
		} else if time.Since(seen) > in.stall {
			stop(fmt.Errorf("no answer for %v", in.stall))
			seen = time.Now()
		}
	}
}

// folderSize adds up the files in a folder that another process writes.
func folderSize(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // a file that has just gone counts nothing
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

// compare refuses a file whose sum is not the pinned one.
func compare(what, path, want string) error {
	got, _, err := sumFile(path)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("refused: %s %s has SHA-256 %s, pinned is %s", what, filepath.Base(path), got, want)
	}
	return nil
}

// extractAll extracts the members into dir and compares their sums. The first,
// the library, gets its usual name.
func extractAll(archive string, members []member, dir string) (files []string, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	for i, m := range members {
		path := filepath.Join(dir, filepath.Base(m.path))
		if i == 0 {
			path = filepath.Join(dir, libraryName())
		}
		if err := extract(archive, m.path, path); err != nil {
			return nil, err
		}
		if m.sum != "" {
			if err := compare("the library", path, m.sum); err != nil {
				return nil, err
			}
		}
		files = append(files, path)
	}
	return files, nil
}

// extract writes one member of a zip or gzipped tar archive to path, synced.
func extract(archive, member, path string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	open := tarMember
	if magic, _ := bufio.NewReader(f).Peek(2); string(magic) == "PK" {
		open = zipMember
	}
	r, err := open(f, member)
	if err != nil {
		return err
	}
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, r)
	return errors.Join(err, to.Sync(), to.Close())
}

func zipMember(f *os.File, member string) (io.Reader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, err
	}
	return archive.Open(member)
}

func tarMember(f *os.File, member string) (io.Reader, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	archive := tar.NewReader(unzipped)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s is not in it", member)
		}
		if err != nil {
			return nil, err
		}
		if strings.TrimPrefix(header.Name, "./") == member && header.Typeflag == tar.TypeReg {
			return archive, nil
		}
	}
}
