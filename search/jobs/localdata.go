package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// localData returns the search's data sets on this machine: the worker's own,
// if they are the same files, or what the broker has.
func (m *member) localData(ctx context.Context) (Data, error) {
	if m.record.Manifest == "" {
		return Data{}, nil
	}
	data, err := m.store.get(ctx, "list of the data sets' files", m.record.Manifest)
	if err != nil {
		return Data{}, err
	}
	var want manifest
	if err := json.Unmarshal(data, &want); err != nil {
		return Data{}, fmt.Errorf("list of the data sets' files: %w", err)
	}
	var local Data
	for i, f := range want.Sets {
		s, err := m.localSet(ctx, f)
		if err != nil {
			return Data{}, err
		}
		if i < want.Train {
			local.Train = append(local.Train, s)
		} else {
			local.Val = append(local.Val, s)
		}
	}
	return local, nil
}

func (m *member) localSet(ctx context.Context, f fileSet) (Set, error) {
	own := m.worker.Data.sets()
	if len(own) == 0 {
		return m.cachedSet(ctx, f)
	}
	m.log.Info("comparing a data set with the search's", zap.String("annotations", f.Annotations.Name), zap.Int("pictures", len(f.Images)))
	for _, s := range own {
		have, err := sumFile(filepath.Dir(s.Annotations), filepath.Base(s.Annotations))
		if err != nil {
			return Set{}, fmt.Errorf("a data set of this worker: %w; correct --data or --val, or leave them out so that the broker's are taken", err)
		}
		if have.Sum == f.Annotations.Sum {
			return s, f.compare(ctx, s.Images)
		}
	}
	return Set{}, fmt.Errorf("the search uses the annotations %s; none of this worker's %d sets has them: give the same file with --data or --val, or none at all so that the broker's are taken", f.Annotations.describe(), len(own))
}

// compare names the first picture in a folder that differs from the set's.
func (f fileSet) compare(ctx context.Context, dir string) error {
	for _, want := range f.Images {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		have, err := sumFile(dir, want.Name)
		if err != nil {
			return fmt.Errorf("a picture of the search is not on this worker: %w; copy it here, or run without --data so that the broker's are taken", err)
		}
		if have != want {
			return fmt.Errorf("%s: the search's picture is %s, this worker's has %d bytes, SHA-256 %.12s: copy the data set again", filepath.Join(dir, want.Name), want.describe(), have.Size, have.Sum)
		}
	}
	return nil
}

// cachedSet is a set from the broker, kept in the cache. A set is there as a
// whole or not at all.
func (m *member) cachedSet(ctx context.Context, f fileSet) (Set, error) {
	if !m.record.DataSent {
		return Set{}, fmt.Errorf("the broker has no pictures: give this worker %s and its pictures with --data and --images, or start the search with --send-data", f.Annotations.describe())
	}
	dir := filepath.Join(m.worker.Cache, "datasets", f.sum())
	s := Set{Annotations: filepath.Join(dir, "annotations.json"), Images: filepath.Join(dir, "images")}
	if _, err := os.Stat(dir); err == nil {
		return s, nil
	}
	m.log.Info("fetching a data set", zap.String("annotations", f.Annotations.Name), zap.Int("pictures", len(f.Images)), zap.String("into", dir))
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return s, fmt.Errorf("the cache for data sets: %w: choose another folder with --cache", err)
	}
	var permanent error
	err := retry(ctx, m.log, "fetching a data set", func(context.Context) error {
		var transient bool
		transient, permanent = m.fetchSet(ctx, f, dir)
		if permanent != nil && !transient {
			return permanentError{permanent}
		}
		return permanent
	})
	return s, err
}

// fetchSet unpacks a set into a new folder. What may go better next time is
// transient.
func (m *member) fetchSet(ctx context.Context, f fileSet, dir string) (transient bool, err error) {
	object, err := m.store.objects.Get(ctx, f.archive())
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return false, fmt.Errorf("data set %s: %w", f.Annotations.describe(), errNoFile)
	}
	if err != nil {
		return true, err
	}
	defer object.Close()
	temporary, err := os.MkdirTemp(filepath.Dir(dir), ".incoming-")
	if err != nil {
		return false, fmt.Errorf("the cache for data sets: %w: choose another folder with --cache", err)
	}
	defer os.RemoveAll(temporary)
	if err := readArchive(object, f, temporary); err != nil {
		return object.Error() != nil, fmt.Errorf("data set %s: %w", f.Annotations.describe(), err)
	}
	if err := os.MkdirAll(filepath.Join(temporary, "images"), 0o750); err != nil {
		return false, err
	}
	err = os.Rename(temporary, dir)
	if _, there := os.Stat(dir); err != nil && there == nil {
		return false, nil // another worker on this machine was faster
	}
	return false, err
}
