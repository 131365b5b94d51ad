// Package jobs spreads a search over many machines through NATS JetStream. The
// coordinator is a search.Engine: it queues jobs and gathers their results;
// workers take one job at a time from the queue and answer with a result.
//
// What a search keeps on the broker carries the search's ID, so that several
// share one broker:
//
//   - the stream evopose-ID-jobs, a work queue in which a job lies once, from
//     its submission until its result is stored;
//   - the key-value bucket evopose-ID, with result.JOB and tries.JOB;
//   - the object store evopose-ID, with trained weights by their SHA-256,
//     until the search drops them, and the data sets.
//
// A worker stores the weights, then the result, then takes the job off the
// queue, and only the first result of a job is kept. Whatever dies in between,
// no evaluation is lost and none is counted twice.
package jobs
