package ort

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// source is one way to get the library.
type source struct {
	name string
	pin  pin
	// fetch downloads the archive into dir and returns its path. What it
	// writes into dir, and to out, shows that it is alive.
	fetch func(ctx context.Context, p pin, dir string, out io.Writer) (string, error)
}

// sources returns those that have a build for a platform such as
// "linux/amd64", in order.
func sources(platform string, build build) (list []source) {
	add := func(name string, pins map[string]pin, fetch func(context.Context, pin, string, io.Writer) (string, error)) {
		if p, ok := pins[platform]; ok {
			list = append(list, source{name, p, fetch})
		}
	}
	if build == cudaBuild {
		add("pip", pipCUDAPins, fetchPip("onnxruntime-gpu"))
		return list
	}
	add("pip", pipPins, fetchPip("onnxruntime"))
	add("npm", npmPins, fetchNpm)
	add("release", releasePins, fetchRelease)
	return list
}

// fetchPip returns a function that downloads a package's wheel.
func fetchPip(name string) func(context.Context, pin, string, io.Writer) (string, error) {
	return func(ctx context.Context, p pin, dir string, out io.Writer) (string, error) {
		return downloadWheel(ctx, name, p.tag, dir, out)
	}
}

// downloadWheel downloads a wheel by whichever pip is there. It names the
// wheel's own tags, so any Python will do.
func downloadWheel(ctx context.Context, name, tag, dir string, out io.Writer) (string, error) {
	pip, err := findPip(ctx, dir)
	if err != nil {
		return "", err
	}
	args := append(pip[1:], "download", name+"=="+Version, "--no-deps", "--only-binary=:all:",
		"--implementation", "cp", "--python-version", "3.11", "--platform", tag, "--dest", dir,
		"--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--retries", "1", "--timeout", "10")
	if err := run(ctx, dir, out, pip[0], args...); err != nil {
		return "", err
	}
	return one(dir, "*.whl")
}

// findPip returns the first pip command that runs.
func findPip(ctx context.Context, dir string) ([]string, error) {
	candidates := [][]string{{"python3", "-m", "pip"}, {"python", "-m", "pip"}, {"pip3"}, {"pip"}}
	if runtime.GOOS == "windows" {
		candidates = append(candidates, []string{"py", "-m", "pip"})
	}
	for _, c := range candidates {
		if run(ctx, dir, io.Discard, c[0], append(c[1:len(c):len(c)], "--version")...) == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, errors.New("there is no pip: neither python3 -m pip nor pip runs")
}

// fetchNpm downloads the tarball by npm. npm's cache goes into dir, so that
// progress shows and 100 MB do not stay behind.
func fetchNpm(ctx context.Context, _ pin, dir string, out io.Writer) (string, error) {
	if _, err := exec.LookPath("npm"); err != nil {
		return "", errors.New("there is no npm")
	}
	err := run(ctx, dir, out, "npm", "pack", "onnxruntime-node@"+Version, "--pack-destination", dir,
		"--cache", filepath.Join(dir, "cache"), "--ignore-scripts", "--loglevel=error",
		"--fetch-retries=1", "--fetch-timeout=20000")
	if err != nil {
		return "", err
	}
	return one(dir, "*.tgz")
}

// fetchRelease downloads the official release archive.
func fetchRelease(ctx context.Context, p pin, dir string, _ io.Writer) (string, error) {
	folder, _, _ := strings.Cut(p.members[0].path, "/")
	name := folder + ".tgz"
	if strings.Contains(folder, "-win-") {
		name = folder + ".zip"
	}
	return download(ctx, releaseURL+name, filepath.Join(dir, name))
}

// download writes what url answers to path.
func download(ctx context.Context, url, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, resp.Body)
	return path, errors.Join(err, f.Close())
}

// one returns the only file of a pattern in dir.
func one(dir, pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("it delivered %d files %s, want one", len(found), pattern)
	}
	return found[0], nil
}

// run runs a command in dir, with temporary files there too, and ends it and
// its children when the context does.
func run(ctx context.Context, dir string, out io.Writer, name string, args ...string) error {
	temp := filepath.Join(dir, "tmp")
	if err := os.MkdirAll(temp, 0o755); err != nil {
		return err
	}
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "TMPDIR="+temp, "TMP="+temp, "TEMP="+temp)
	c.Stdout, c.Stderr = out, out
	c.WaitDelay = 2 * time.Second
	killChildren(c)
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(append([]string{name}, args...), " "), err)
	}
	return nil
}
