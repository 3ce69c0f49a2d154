package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Counts is how many records a store has in each state, and the age of the oldest doubt, 0 if there is none.
type Counts struct {
	Running, InDoubt, Done int
	OldestDoubt            time.Duration
}

// WatchRecords calls count at once and then after each pause, until ctx ends, and shows what it returned last. A count
// reads the whole store, so nobody who asks for metrics waits for one. When it fails, the numbers before stand, and the
// time of the last count says how old they are. Every defaults to 1 min.
func (m *Metrics) WatchRecords(ctx context.Context, every time.Duration, count func(context.Context) (Counts, error)) {
	if every <= 0 {
		every = time.Minute
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		counts, err := count(ctx)
		if ctx.Err() != nil {
			return
		}
		m.recordsCounted.inc(okOrFailed(err))
		if err == nil {
			m.records.set(counts, time.Now())
		}
		timer.Reset(every)
	}
}

// records shows the last counts. Before the first one there is nothing to show: a zero would say that there is no doubt.
type records struct {
	mu     sync.Mutex
	counts Counts
	at     time.Time
}

var (
	recordsDesc = prometheus.NewDesc("onceward_records", "Records in the store when they were last counted, by state.",
		[]string{"state"}, nil)
	oldestDoubtDesc = prometheus.NewDesc("onceward_oldest_doubt_age_seconds",
		"Age of the oldest record in doubt when they were last counted, 0 if there was none.", nil, nil)
	countedDesc = prometheus.NewDesc("onceward_records_counted_timestamp_seconds", "When the records were last counted.", nil, nil)
)

func (r *records) set(counts Counts, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts, r.at = counts, at
}

func (r *records) last() (Counts, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts, r.at
}

// Describe implements [prometheus.Collector].
func (r *records) Describe(to chan<- *prometheus.Desc) {
	to <- recordsDesc
	to <- oldestDoubtDesc
	to <- countedDesc
}

// Collect implements [prometheus.Collector].
func (r *records) Collect(to chan<- prometheus.Metric) {
	counts, at := r.last()
	if at.IsZero() {
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(recordsDesc, float64(counts.Running), "running")
	gauge(recordsDesc, float64(counts.InDoubt), "in-doubt")
	gauge(recordsDesc, float64(counts.Done), "done")
	gauge(oldestDoubtDesc, counts.OldestDoubt.Seconds())
	gauge(countedDesc, float64(at.UnixMilli())/1000)
}
