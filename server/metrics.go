package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/evopose/evopose/server/pose"
)

// Metrics are the server's Prometheus metrics, in a registry of their own.
type Metrics struct {
	registry *prometheus.Registry
	duration *prometheus.HistogramVec
	stage    *prometheus.HistogramVec
	batch    *prometheus.HistogramVec
	people   *prometheus.CounterVec
	rejected *prometheus.CounterVec
}

// NewMetrics returns the metrics; OnRun goes into the pool's options.
func NewMetrics() *Metrics {
	seconds := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "evopose_http_request_duration_seconds",
			Help: "Time from a request's header to the end of its answer.", Buckets: seconds}, []string{"route", "code"}),
		stage: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "evopose_stage_duration_seconds",
			Help: "Time of the stages of a pose request.", Buckets: append([]float64{.0001, .00025, .0005}, seconds...)}, []string{"stage", "model"}),
		batch: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "evopose_batch_size",
			Help: "Crops in each run of the network.", Buckets: []float64{1, 2, 4, 8, 12, 16, 24, 32, 64, 128, 256}}, []string{"model"}),
		people:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evopose_people_total", Help: "People in answers."}, []string{"model"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evopose_rejected_total", Help: "Requests that were refused or failed, by reason."}, []string{"reason"}),
	}
	m.registry.MustRegister(m.duration, m.stage, m.batch, m.people, m.rejected,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// OnRun counts a run of a model.
func (m *Metrics) OnRun(model string, size int, _ time.Duration) {
	m.batch.WithLabelValues(model).Observe(float64(size))
}

// poolCollector reads the state of the loaded models when it is asked.
type poolCollector struct{ pool *pose.Pool }

var (
	queueDesc = prometheus.NewDesc("evopose_queue_length", "Crops waiting for a run.", []string{"model"}, nil)
	infoDesc  = prometheus.NewDesc("evopose_model_info", "1 for each loaded model.", []string{"model", "sha256", "provider"}, nil)
)

// Describe implements prometheus.Collector.
func (c poolCollector) Describe(to chan<- *prometheus.Desc) { to <- queueDesc; to <- infoDesc }

// Collect implements prometheus.Collector.
func (c poolCollector) Collect(to chan<- prometheus.Metric) {
	for _, m := range c.pool.Loaded() {
		to <- prometheus.MustNewConstMetric(queueDesc, prometheus.GaugeValue, float64(m.Batcher.Len()), m.Card.Name)
		to <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1, m.Card.Name, m.Card.SHA256, m.Runner.Provider())
	}
}
