package metrics

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
)

// running are the attempts that hold a key. A number would not do: an attempt may lose its key or give it up, and end
// again when its handler comes back.
type running [32]struct {
	mu    sync.Mutex
	began map[attempt]time.Time
}

type attempt struct {
	id    driver.ID
	fence uint64
}

func (r *running) begin(id driver.ID, fence uint64) {
	part := &r[int(id[0])%len(r)]
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.began == nil {
		part.began = make(map[attempt]time.Time)
	}
	part.began[attempt{id, fence}] = time.Now()
}

// end returns how long the attempt ran, and false if it has ended before.
func (r *running) end(id driver.ID, fence uint64) (time.Duration, bool) {
	part := &r[int(id[0])%len(r)]
	part.mu.Lock()
	defer part.mu.Unlock()
	began, ok := part.began[attempt{id, fence}]
	delete(part.began, attempt{id, fence})
	return time.Since(began), ok
}

func (r *running) count() float64 {
	n := 0
	for i := range r {
		part := &r[i]
		part.mu.Lock()
		n += len(part.began)
		part.mu.Unlock()
	}
	return float64(n)
}

func newDurations(in promauto.Factory) map[string]prometheus.Observer {
	vec := in.NewHistogramVec(prometheus.HistogramOpts{
		Name: "onceward_attempt_duration_seconds", Help: "How long attempts held their key, by the step that ended it.",
		Buckets: []float64{.005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600},
	}, []string{"end"})
	durations := make(map[string]prometheus.Observer, len(endings))
	for _, step := range endings {
		durations[step] = vec.WithLabelValues(step)
	}
	return durations
}

// ended notes that an attempt does not hold its key any more, and whether a doubt arose from it.
func (m *Metrics) ended(ctx context.Context, step string, id driver.ID, fence uint64, err error) {
	took, first := m.running.end(id, fence)
	if !first {
		return
	}
	m.durations[step].Observe(took.Seconds())
	if (step == "given-up" || step == "abandoned") && held(ctx) && !errors.Is(err, driver.ErrLost) {
		m.doubts.Inc()
	}
}

// held reports whether nobody runs the attempt's operation again.
func held(ctx context.Context) bool {
	a, ok := onceward.FromContext(ctx)
	return ok && a.OnCrash() == onceward.Hold
}
