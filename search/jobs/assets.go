package jobs

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// assets are what a search has on a broker.
type assets struct {
	names
	nc    *nats.Conn
	js    jetstream.JetStream
	kv    jetstream.KeyValue // results and tries
	store store
	log   *zap.Logger
}

// newAssets knows the names, and nothing of the broker yet.
func newAssets(nc *nats.Conn, id string, log *zap.Logger) (assets, error) {
	n, err := newNames(id)
	if err != nil {
		return assets{}, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return assets{}, err
	}
	return assets{names: n, nc: nc, js: js, log: log}, nil
}

// create makes what is not there yet. What is there stays as it is.
func (a *assets) create(ctx context.Context) error {
	return retry(ctx, a.log, "opening the search on the broker", func(ctx context.Context) error {
		var err error
		a.kv, err = a.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: a.bucket(), Storage: jetstream.FileStorage})
		if err != nil {
			return fmt.Errorf("bucket of results: %w", noJetStream(err))
		}
		a.store.log = a.log
		a.store.objects, err = a.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: a.bucket(), Storage: jetstream.FileStorage})
		if err != nil {
			return fmt.Errorf("store of weights: %w", err)
		}
		return nil
	})
}

// createQueue makes the work queue. A job has its own subject, on which only
// one message fits: submitting it twice changes nothing.
func (a *assets) createQueue(ctx context.Context, r record) error {
	return retry(ctx, a.log, "opening the queue of jobs", func(ctx context.Context) error {
		_, err := a.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: a.stream(), Subjects: []string{a.subject("job", "*")}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true,
		})
		if err != nil {
			return fmt.Errorf("queue of jobs: %w", err)
		}
		_, err = a.js.CreateOrUpdateConsumer(ctx, a.stream(), jetstream.ConsumerConfig{
			Durable: a.consumer(), AckPolicy: jetstream.AckExplicitPolicy, AckWait: r.AckWait, MaxAckPending: -1, MaxWaiting: maxWaiting,
		})
		return err
	})
}

// maxWaiting is the most workers that can wait for a job at the same time.
const maxWaiting = 1 << 16

// join finds what is there.
func (a *assets) join(ctx context.Context) error {
	return retry(ctx, a.log, "joining the search", func(ctx context.Context) error {
		var err error
		if a.kv, err = a.js.KeyValue(ctx, a.bucket()); err != nil {
			return err
		}
		a.store.log = a.log
		a.store.objects, err = a.js.ObjectStore(ctx, a.bucket())
		return err
	})
}

// fits reports an error for a message that the broker would not take.
func (a *assets) fits(what string, data []byte) error {
	if most := a.nc.MaxPayload(); int64(len(data)) > most {
		return permanentError{fmt.Errorf("%s has %d bytes, and the broker takes messages of at most %d: raise max_payload there", what, len(data), most)}
	}
	return nil
}
