package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/onceward/onceward/driver"
)

// storeVerb counts the calls of one of the store's verbs.
type storeVerb struct {
	results  children
	duration prometheus.Observer
}

func newStoreVerbs(in promauto.Factory) map[string]storeVerb {
	calls := in.NewCounterVec(prometheus.CounterOpts{
		Name: "onceward_store_calls_total", Help: "Calls of the store, by verb and result.",
	}, []string{"verb", "result"})
	durations := in.NewHistogramVec(prometheus.HistogramOpts{
		Name: "onceward_store_call_duration_seconds", Help: "How long calls of the store took, by verb.",
		Buckets: []float64{.00001, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2},
	}, []string{"verb"})
	verbs := make(map[string]storeVerb)
	for _, verb := range []string{"acquire", "extend", "complete", "release", "resolve", "get", "sweep", other} {
		results := childrenOf(calls, []string{verb}, []string{"ok", "lost", "full", "undecodable", "unavailable", "unknown"})
		verbs[verb] = storeVerb{results, durations.WithLabelValues(verb)}
	}
	return verbs
}

func (m *Metrics) call(verb string, took time.Duration, err error) {
	v, ok := m.calls[verb]
	if !ok {
		v = m.calls[other]
	}
	v.results.inc(result(err))
	v.duration.Observe(took.Seconds())
}

// result names what the store said. A full store and a record that cannot be read are unavailable too, so they come first.
func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, driver.ErrLost):
		return "lost"
	case errors.Is(err, driver.ErrFull):
		return "full"
	case errors.Is(err, driver.ErrUndecodable):
		return "undecodable"
	case errors.Is(err, driver.ErrUnavailable):
		return "unavailable"
	default:
		return "unknown"
	}
}
