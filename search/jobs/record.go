package jobs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Search is what the broker and the workers are told of a search.
type Search struct {
	// ID names the search: letters, digits, - and _, at most 64.
	ID string
	// Settings is a JSON document for the workers' evaluators.
	Settings json.RawMessage
	// Data are the labelled pictures; its zero value is none.
	Data Data
	// SendData stores the pictures on the broker, for workers without their
	// own.
	SendData bool
	// AckWait is the silence after which a worker is taken for dead and its
	// job given to another; 0 means 30 s.
	AckWait time.Duration
	// Tries is the number of workers that may die of a job, or fail at it,
	// before it is given up and marked as failed; 0 means 3.
	Tries int
	// Hang is the longest time without an epoch's end before a worker is
	// taken to hang; 0 means 6 h.
	Hang time.Duration
}

func (s Search) withDefaults() Search {
	s.AckWait = cmp.Or(s.AckWait, 30*time.Second)
	s.Tries = cmp.Or(s.Tries, 3)
	s.Hang = cmp.Or(s.Hang, 6*time.Hour)
	if s.Settings == nil {
		s.Settings = json.RawMessage("{}")
	}
	return s
}

// record is the document of a search in the bucket of searches.
type record struct {
	ID       string          `json:"id"`
	Started  time.Time       `json:"started"`
	Ended    bool            `json:"ended,omitempty"`
	Settings json.RawMessage `json:"settings"`
	Manifest string          `json:"manifest,omitempty"` // SHA-256 of the manifest's file in the object store
	DataSent bool            `json:"data_sent,omitempty"`
	AckWait  time.Duration   `json:"ack_wait_ns"`
	Tries    int             `json:"tries"`
	Hang     time.Duration   `json:"hang_ns"`
}

func (s Search) record(manifest string) record {
	return record{ID: s.ID, Started: time.Now().UTC(), Settings: s.Settings, Manifest: manifest, DataSent: s.SendData, AckWait: s.AckWait, Tries: s.Tries, Hang: s.Hang}
}

// heartbeat is the time between signs of life of a worker with a job.
func (r record) heartbeat() time.Duration { return r.AckWait / 3 }

// resume is the record of a search that goes on: the old one with the new
// limits, or an error if it is another search.
func (r record) resume(now record) (record, error) {
	var a, b bytes.Buffer
	if err := errors.Join(json.Compact(&a, r.Settings), json.Compact(&b, now.Settings)); err != nil {
		return r, fmt.Errorf("search %s: settings: %w", r.ID, err)
	}
	switch {
	case !bytes.Equal(a.Bytes(), b.Bytes()):
		return r, fmt.Errorf("search %s is on this broker with other settings, %s instead of %s: go on with those or choose another ID", r.ID, a.Bytes(), b.Bytes())
	case r.Manifest != now.Manifest:
		return r, fmt.Errorf("search %s is on this broker with other data sets: go on with the same files or choose another ID", r.ID)
	}
	now.Started, now.DataSent = r.Started, r.DataSent || now.DataSent
	return now, nil
}

// searches is the list of a broker's searches.
type searches struct{ kv jetstream.KeyValue }

func openSearches(ctx context.Context, js jetstream.JetStream) (searches, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: searchesBucket, Description: "the searches on this broker", Storage: jetstream.FileStorage})
	if err != nil {
		return searches{}, fmt.Errorf("list of searches: %w", noJetStream(err))
	}
	return searches{kv}, nil
}

// noJetStream explains that a broker runs without JetStream.
func noJetStream(err error) error {
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return permanentError{fmt.Errorf("%w: start the broker with JetStream (nats-server -js), or enable it for this account", err)}
	}
	return err
}

// get returns the record of a search; false if there is none.
func (s searches) get(ctx context.Context, id string) (record, bool, error) {
	var r record
	e, err := s.kv.Get(ctx, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return r, false, nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value(), &r)
	}
	if err != nil {
		return r, false, fmt.Errorf("record of search %s: %w", id, err)
	}
	return r, true, nil
}

func (s searches) put(ctx context.Context, r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return permanentError{fmt.Errorf("settings of search %s: %w", r.ID, err)}
	}
	_, err = s.kv.Put(ctx, r.ID, data)
	return err
}

// unknown is the error for a search that is not in the list.
func (s searches) unknown(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	keys, err := s.kv.Keys(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
		return err
	}
	there := "none"
	if len(keys) > 0 {
		there = strings.Join(keys, ", ")
	}
	return fmt.Errorf("search %s is not on this broker, which has %s: check the ID, which evopose search shows when it begins, or leave it out to work for any search", id, there)
}

// open returns the newest search that has not ended; false if there is none.
func (s searches) open(ctx context.Context) (record, bool, error) {
	keys, err := s.kv.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return record{}, false, nil
	}
	if err != nil {
		return record{}, false, err
	}
	var all []record
	for _, id := range keys {
		r, ok, err := s.get(ctx, id)
		if err != nil {
			return r, false, err
		}
		if ok && !r.Ended {
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return record{}, false, nil
	}
	return slices.MaxFunc(all, func(a, b record) int { return a.Started.Compare(b.Started) }), true, nil
}
