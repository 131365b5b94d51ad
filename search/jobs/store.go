package jobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// store holds files by their SHA-256 in a search's object store. An object is
// sent in pieces that fit into messages.
type store struct {
	objects jetstream.ObjectStore
	log     *zap.Logger
}

// errNoFile is for files that the store does not have.
var errNoFile = errors.New("not in the search's store")

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// transferTime bounds the transfer of so many bytes, at 256 kB/s.
func transferTime(size int) time.Duration {
	return 10*time.Second + time.Duration(size)*time.Second/(256<<10)
}

// put stores a file, unless it is there, and returns its name. It tries until
// it works or the context ends; trouble is told each time it does not.
func (s store) put(ctx context.Context, what string, data []byte, trouble func(error)) (string, error) {
	name := sum(data)
	err := retry(ctx, s.log, "storing "+what, func(context.Context) error {
		attempt, cancel := context.WithTimeout(ctx, transferTime(len(data)))
		defer cancel()
		err := s.putOnce(attempt, name, what, data)
		if err != nil && trouble != nil {
			trouble(fmt.Errorf("storing %s: %w", what, explainStore(err)))
		}
		return err
	})
	return name, err
}

func (s store) putOnce(ctx context.Context, name, what string, data []byte) error {
	if have, err := s.has(ctx, name); err != nil || have {
		return err
	}
	_, err := s.objects.Put(ctx, jetstream.ObjectMeta{Name: name, Description: what}, bytes.NewReader(data))
	return err
}

func (s store) has(ctx context.Context, name string) (bool, error) {
	_, err := s.objects.GetInfo(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return false, nil
	}
	return err == nil, err
}

// get returns a file whose SHA-256 is right. What the store does not have is
// errNoFile.
func (s store) get(ctx context.Context, what, name string) (data []byte, err error) {
	err = retry(ctx, s.log, "fetching "+what, func(context.Context) error {
		data, err = s.getOnce(ctx, name)
		if errors.Is(err, jetstream.ErrObjectNotFound) {
			return permanentError{fmt.Errorf("%s, %.12s: %w", what, name, errNoFile)}
		}
		if err == nil && sum(data) != name {
			err = fmt.Errorf("%s: the SHA-256 of what came is %s, want %s", what, sum(data), name)
		}
		return err
	})
	return data, err
}

func (s store) getOnce(ctx context.Context, name string) ([]byte, error) {
	attempt, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := s.objects.GetInfo(attempt, name)
	if err != nil {
		return nil, err
	}
	transfer, cancel := context.WithTimeout(ctx, transferTime(int(info.Size)))
	defer cancel()
	return s.objects.GetBytes(transfer, name)
}

// list returns the names of all files.
func (s store) list(ctx context.Context) (map[string]bool, error) {
	names := map[string]bool{}
	err := retry(ctx, s.log, "listing what is stored", func(ctx context.Context) error {
		objects, err := s.objects.List(ctx)
		for _, o := range objects {
			names[o.Name] = true
		}
		if errors.Is(err, jetstream.ErrNoObjectsFound) {
			return nil
		}
		return err
	})
	return names, err
}

// remove needs a little room, for a note that the file is gone.
func (s store) remove(ctx context.Context, what, name string) error {
	return retry(ctx, s.log, "removing "+what, func(ctx context.Context) error {
		err := s.objects.Delete(ctx, name)
		if errors.Is(err, jetstream.ErrObjectNotFound) {
			return nil
		}
		return err
	})
}
