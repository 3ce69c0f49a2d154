// Package metrics counts what a guard does, for Prometheus, and says over HTTP how the process is.
//
// No label holds anything that a client chooses: not a key, an id, an operation, a route, a host or a scope. Each label
// has a short list of values, and what is not on the list is counted as "other".
package metrics

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
)

// Metrics counts in a registry of its own. Its methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	transitions    children
	refusals       children
	replays        children
	outcomes       children
	storedBytes    prometheus.Counter
	replayedBytes  prometheus.Counter
	doubts         prometheus.Counter
	running        running
	durations      map[string]prometheus.Observer
	waiting        prometheus.Gauge
	waits          prometheus.Histogram
	calls          map[string]storeVerb
	breakerOpen    prometheus.Gauge
	sweeps         children
	sweptRecords   prometheus.Counter
	records        records
	recordsCounted children
}

// steps are those of [onceward.Trace] that have no metric of their own.
var steps = []string{
	"acquired", "taken-over", "replayed", "refused", "unprotected",
	"extended", "given-up", "lease-lost", "overrun",
	"completed", "released",
	"completed-pending", "released-pending", "given-up-pending", "abandoned",
	"begin-undone", "resolved", "breaker-open", "breaker-closed", "sweep-stopped",
}

// endings are the steps after which an attempt does not hold its key any more.
var endings = []string{"completed", "released", "given-up", "lease-lost", "abandoned"}

// New makes metrics with the collectors of the Go runtime and of the process.
func New() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&m.records)
	in := promauto.With(m.registry)
	m.transitions = newChildren(in, "onceward_transitions_total",
		"What happened to keys and to the guard, by step.", "step", steps...)
	m.refusals = newRefusals(in)
	m.replays = newChildren(in, "onceward_replays_total",
		"Callers that got a stored outcome, by its kind.", "kind", kinds...)
	m.outcomes = newChildren(in, "onceward_outcomes_total", "Outcomes that were stored, by kind.", "kind", kinds...)
	m.storedBytes = in.NewCounter(prometheus.CounterOpts{
		Name: "onceward_outcome_stored_bytes_total", Help: "Bytes of the outcomes that were stored."})
	m.replayedBytes = in.NewCounter(prometheus.CounterOpts{
		Name: "onceward_outcome_replayed_bytes_total", Help: "Bytes of the outcomes that were replayed."})
	m.doubts = in.NewCounter(prometheus.CounterOpts{Name: "onceward_doubts_total",
		Help: "Attempts under hold that gave their key up, or whose end was given up as not stored."})
	in.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "onceward_attempts_running", Help: "Attempts of this process that hold a key now."}, m.running.count)
	m.durations = newDurations(in)
	m.waiting = in.NewGauge(prometheus.GaugeOpts{
		Name: "onceward_duplicates_waiting", Help: "Duplicates that wait for an outcome now."})
	m.waits = in.NewHistogram(prometheus.HistogramOpts{Name: "onceward_duplicate_wait_seconds",
		Help: "How long duplicates waited.", Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}})
	m.calls = newStoreVerbs(in)
	m.breakerOpen = in.NewGauge(prometheus.GaugeOpts{Name: "onceward_breaker_open",
		Help: "1 while the store failed so often that it is not asked, 0 otherwise."})
	m.sweeps = newChildren(in, "onceward_sweeps_total", "Calls that sweep the store, by result.", "result", "ok", "failed")
	m.sweptRecords = in.NewCounter(prometheus.CounterOpts{
		Name: "onceward_swept_records_total", Help: "Expired records that were removed."})
	m.recordsCounted = newChildren(in, "onceward_records_counts_total",
		"Counts of the store's records, by result.", "result", "ok", "failed")
	return m
}

// Trace counts t. It is a hook for [onceward.Options], and keeps nothing of t but numbers.
func (m *Metrics) Trace(ctx context.Context, t onceward.Trace) {
	switch t.Step {
	case "store-call":
		m.call(t.Verb, t.Took, t.Err)
		return
	case "waiting":
		m.waiting.Inc()
		return
	case "waited":
		m.waiting.Dec()
		m.waits.Observe(t.Took.Seconds())
		return
	case "swept":
		m.sweeps.inc(okOrFailed(t.Err))
		m.sweptRecords.Add(float64(t.Count))
		return
	}
	m.transitions.inc(t.Step)
	switch t.Step {
	case "acquired", "taken-over":
		m.running.begin(t.ID, t.Fence)
	case "completed":
		m.outcomes.inc(t.Kind.String())
		m.storedBytes.Add(float64(t.Size))
		m.ended(ctx, t.Step, t.ID, t.Fence, t.Err)
	case "released", "given-up", "lease-lost", "abandoned":
		m.ended(ctx, t.Step, t.ID, t.Fence, t.Err)
	case "replayed":
		m.replays.inc(t.Kind.String())
		m.replayedBytes.Add(float64(t.Size))
	case "refused":
		m.refusals.inc(t.Reason)
	case "breaker-open":
		m.breakerOpen.Set(1)
	case "breaker-closed":
		m.breakerOpen.Set(0)
	}
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

var kinds = []string{driver.Answer.String(), driver.Tombstone.String()}

func okOrFailed(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}
