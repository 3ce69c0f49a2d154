package oncehttp

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

const (
	aTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	aParent = "00f067aa0ba902b7"
)

func TestTraceIDs(t *testing.T) {
	right := "00-" + aTrace + "-" + aParent + "-01"
	for _, field := range []string{right, "01" + right[2:], "01" + right[2:] + "-more", "fe" + right[2:]} {
		check.Equal(t, traceID([]string{field}), aTrace, "%q", field)
	}
	zeros := strings.Repeat("0", 32)
	for _, fields := range [][]string{
		nil, {""}, {right, right}, {right[:54]}, {strings.ToUpper(right)},
		{right + "-more"}, {right + "0"}, {"01" + right[2:] + "0"}, {"ff" + right[2:]}, {"0x" + right[2:]}, {right[:53] + "0g"},
		{strings.Replace(right, aTrace, zeros, 1)}, {strings.Replace(right, aParent, zeros[:16], 1)},
		{right[:2] + "_" + right[3:]}, {right[:35] + "_" + right[36:]}, {right[:52] + "_" + right[53:]},
		{strings.Replace(right, "4bf9", "4bf\x00", 1)}, {strings.Replace(right, aParent, "g"+aParent[1:], 1)},
	} {
		check.Equal(t, traceID(fields), "", "%q", fields)
	}
}

// Whoever reads the trail finds the request in other systems.
func TestTrailHoldsTheTraceID(t *testing.T) {
	store := memstore.New(&memstore.Options{Audit: driver.AuditTransitions})
	guard, err := onceward.New(store, &onceward.Options{Node: "a"})
	check.NoError(t, err, "New")
	t.Cleanup(func() { check.NoError(t, guard.Close(context.Background()), "Close") })
	answers := map[string]func(w http.ResponseWriter){
		"done":     func(w http.ResponseWriter) { w.WriteHeader(http.StatusCreated) },
		"released": func(w http.ResponseWriter) { w.Header().Set("Idempotency-Control", "retry") },
		"doubt":    func(w http.ResponseWriter) { w.Header().Set("Idempotency-Control", "in-doubt") },
	}
	for key, answer := range answers {
		r := httptest.NewRequest(http.MethodPost, "/"+key, nil)
		r.Header.Set("Idempotency-Key", key)
		r.Header.Set("Traceparent", "00-"+aTrace+"-"+aParent+"-01")
		next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) })
		New(guard, SingleTenant, nil)(next).ServeHTTP(httptest.NewRecorder(), r)
		trail, _, err := store.History(t.Context(), driver.HistoryQuery{Operation: "POST /" + key})
		check.NoError(t, err, "History")
		check.Equal(t, len(trail), 2, "entries of %s", key)
		for _, e := range trail {
			check.True(t, e.Note.TraceID == aTrace && e.Note.Node == "a", "%s, %v: the note is %+v", key, e.Step, e.Note)
		}
	}
}
