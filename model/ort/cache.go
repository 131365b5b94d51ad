package ort

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// CacheEnv names the environment variable with the folder that evopose keeps
// downloads in, in place of the user cache's evopose folder.
const CacheEnv = "EVOPOSE_CACHE"

// markerName is the file that completes an installation: it is written last.
const markerName = "installed.json"

// marker says what was installed beside it.
type marker struct {
	Version string       `json:"version"`
	Source  string       `json:"source"`
	Files   []markedFile `json:"files"` // the library first
}

type markedFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// CacheDir returns the folder that libraries are installed into: onnxruntime
// in EVOPOSE_CACHE, or in evopose in the user's cache folder. In it each
// version, system, architecture and build has a folder of its own, for a home
// folder may be shared by machines of different kinds.
func CacheDir() (string, error) {
	base := os.Getenv(CacheEnv)
	if base == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no folder to install ONNX Runtime into: %w; set %s", err, CacheEnv)
		}
		base = filepath.Join(user, "evopose")
	}
	return filepath.Abs(filepath.Join(base, "onnxruntime"))
}

// readCache returns the library installed in dir after comparing it with the
// marker: a file that was cut off or damaged must not be loaded. The error of
// an empty cache is os.ErrNotExist.
func readCache(dir string) (Library, error) {
	text, err := os.ReadFile(filepath.Join(dir, markerName))
	if err != nil {
		return Library{}, err
	}
	var m marker
	if err := json.Unmarshal(text, &m); err != nil || len(m.Files) == 0 {
		return Library{}, fmt.Errorf("the cache %s is damaged: %s is unreadable", dir, markerName)
	}
	for i, f := range m.Files {
		if err := f.check(dir, i == 0); err != nil {
			return Library{}, fmt.Errorf("the cache %s is damaged: %w", dir, err)
		}
	}
	path := filepath.Join(dir, filepath.Base(m.Files[0].Name))
	lib, err := check(path)
	if err != nil {
		return Library{}, fmt.Errorf("%s: %w", path, err)
	}
	lib.Source = "cache (" + m.Source + ")"
	return lib, nil
}

// check compares the size of a file, and if whole is true its sum: the CUDA
// provider has 250 MB, which would be felt at each start.
func (f markedFile) check(dir string, whole bool) error {
	path := filepath.Join(dir, filepath.Base(f.Name))
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s is missing", f.Name) // not os.ErrNotExist: the cache is not empty
	}
	if info.Size() != f.Size {
		return fmt.Errorf("%s has %d bytes, installed were %d", f.Name, info.Size(), f.Size)
	}
	if !whole {
		return nil
	}
	if sum, _, err := sumFile(path); err != nil || sum != f.SHA256 {
		return errors.Join(fmt.Errorf("%s has SHA-256 %s, installed was %s", f.Name, sum, f.SHA256), err)
	}
	return nil
}

// sumFile returns the hex SHA-256 and the size of a file.
func sumFile(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// place moves the files into dir, the library being the first, and then writes
// the marker; whoever reads the cache sees the old state or the new one, or a
// marker that does not fit.
func place(files []string, dir, source string) error {
	m := marker{Version: Version, Source: source}
	for _, path := range files {
		sum, size, err := sumFile(path)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, markedFile{filepath.Base(path), size, sum})
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(files[0]), markerName)
	if err := writeSynced(temp, append(text, '\n')); err != nil {
		return err
	}
	for _, path := range append(files, temp) {
		if err := os.Rename(path, filepath.Join(dir, filepath.Base(path))); err != nil {
			return err
		}
	}
	return nil
}

// writeSynced writes a file and waits until it is on the disk.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
