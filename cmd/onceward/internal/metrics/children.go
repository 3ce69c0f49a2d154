package metrics

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/onceward/onceward"
)

// other is the value of a label for everything that is not on its list.
const other = "other"

// children are the counters of one label by its values, made once: finding them in the vector would cost more each time
// than counting does, and a series that is there from the start shows its first increase.
type children map[string]prometheus.Counter

func newChildren(in promauto.Factory, name, help, label string, values ...string) children {
	vec := in.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	return childrenOf(vec, nil, values)
}

// childrenOf are those of the vector's last label; first are the values of the others.
func childrenOf(vec *prometheus.CounterVec, first, values []string) children {
	c := make(children)
	for _, value := range slices.Concat(values, []string{other}) {
		c[value] = vec.WithLabelValues(slices.Concat(first, []string{value})...)
	}
	return c
}

func (c children) inc(value string) {
	child, ok := c[value]
	if !ok {
		child = c[other]
	}
	child.Inc()
}

// codes are the problems that a door or the proxy refuses with before the guard is asked.
var codes = []string{
	"body-cut-off", "body-timeout", "body-too-large", "busy", "forbidden", "key-expired", "key-invalid", "key-missing",
	"scope-missing", "scope-unstable", "target-invalid", "too-many-keys",
}

// reasons are the guard's, with the codes of their problems.
var reasons = map[string]string{
	onceward.ErrInProgress.Error():  "in-progress",
	onceward.ErrKeyReused.Error():   "key-reused",
	onceward.ErrInDoubt.Error():     "in-doubt",
	onceward.ErrNotStored.Error():   "outcome-not-stored",
	onceward.ErrUnavailable.Error(): "store-unavailable",
}

func newRefusals(in promauto.Factory) children {
	values := slices.AppendSeq(slices.Clone(codes), maps.Values(reasons))
	c := newChildren(in, "onceward_refusals_total", "Callers that were refused, by the code of the problem.", "code", values...)
	for reason, code := range reasons {
		c[reason] = c[code]
	}
	return c
}
