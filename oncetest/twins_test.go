package oncetest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/oncetest"
)

// twins are services that are wrong in one way each, as services are found to be, and what Twice must say about them.
var twins = []struct {
	name    string
	breakIt func(*service)
	want    string // in one of the failures
}{
	{"the key is ignored", func(s *service) {
		s.begin = func(string) (*outcome, bool) { return nil, true }
	}, "once and again: Effects has grown by 2"},
	{"the key is looked up, and stored after the work", func(s *service) {
		s.begin = func(key string) (*outcome, bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			o := s.known[key]
			return o, o == nil
		}
	}, "at once: Effects has grown by 8"},
	{"the result is dropped if the client has left", func(s *service) {
		s.finish = func(r *http.Request, key string, o *outcome) {
			if r.Context().Err() != nil {
				s.forget(key)
				return
			}
			s.store(r, key, o)
		}
	}, "the client left when its request was read: Effects has grown by 2"},
	{"the key stays in progress if the client has left", func(s *service) {
		s.finish = func(r *http.Request, key string, o *outcome) {
			if r.Context().Err() == nil {
				s.store(r, key, o)
			}
		}
	}, "still told 409 Conflict"},
	{"the body is made anew", func(s *service) {
		s.replay = func(w http.ResponseWriter, o outcome) {
			o.body += " (again)"
			replayMarked(w, o)
		}
	}, "the body differs"},
	{"the status is not kept", func(s *service) {
		s.replay = func(w http.ResponseWriter, o outcome) {
			o.status = http.StatusOK
			replayMarked(w, o)
		}
	}, "the status was 201 Created and then 200 OK"},
	{"the header is not kept", func(s *service) {
		s.replay = func(w http.ResponseWriter, o outcome) {
			o.header = http.Header{"Trailer": o.header["Trailer"]}
			replayMarked(w, o)
		}
	}, "the header field Location differs"},
	{"the trailer is not kept", func(s *service) {
		s.replay = func(w http.ResponseWriter, o outcome) {
			o.trailer = nil
			replayMarked(w, o)
		}
	}, "the trailer field Checksum differs"},
	{"replays are not marked", func(s *service) {
		s.replay = func(w http.ResponseWriter, o outcome) { o.writeTo(w) }
	}, "lacks \"Idempotent-Replayed: true\""},
	{"everything is marked", func(s *service) {
		pay := s.pay
		s.pay = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Idempotent-Replayed", "true")
			pay(w, r)
		}
	}, "the first answer is marked as a replay"},
	{"nothing is done", func(s *service) {
		s.pay = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "paid") }
	}, "Effects has not grown"},
	{"the handler panics", func(s *service) {
		s.pay = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	}, "the client got no answer"},
	{"the operation can be carried out once", func(s *service) {
		pay := s.pay
		s.pay = func(w http.ResponseWriter, r *http.Request) {
			if s.paid.Load() > 0 {
				w.WriteHeader(http.StatusUnprocessableEntity)
				return
			}
			pay(w, r)
		}
	}, "at once: the answer is 422 Unprocessable Entity, and it was 201 with another key"},
}

func TestTwiceFindsWhatIsWrong(t *testing.T) {
	for _, twin := range twins {
		t.Run(twin.name, func(t *testing.T) {
			s := newService()
			twin.breakIt(s)
			failures := failuresOf(s, payment(), &oncetest.Options{Effects: s.effects, Timeout: time.Second})
			check.True(t, strings.Contains(strings.Join(failures, "\n"), twin.want), "want %q in %q", twin.want, failures)
		})
	}
}

// Each way finds an unguarded handler, even by the answers alone.
func TestEachWayCanFail(t *testing.T) {
	s := newService()
	s.begin = func(string) (*outcome, bool) { return nil, true }
	for _, effects := range []func() int{nil, s.effects} {
		failures := strings.Join(failuresOf(s, payment(), &oncetest.Options{Effects: effects}), "\n")
		for _, way := range []string{
			"once and again", "at once", "the client left when its request was read", "the client left halfway",
			"the client left without reading the answer",
		} {
			check.True(t, strings.Contains(failures, "oncetest: "+way+": "), "nothing found %s: %s", way, failures)
		}
	}
}

// A service that has read the whole request before it looks at the key is only harmed by a client that leaves later.
func TestClientLeavesWhileTheServiceWorks(t *testing.T) {
	s := newService()
	s.finish = func(r *http.Request, key string, o *outcome) {
		select {
		case <-r.Context().Done():
			s.forget(key)
		case <-time.After(100 * time.Millisecond): // the work
			s.store(r, key, o)
		}
	}
	spooled := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Context().Err() != nil {
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		s.ServeHTTP(w, r)
	})
	failures := strings.Join(failuresOf(spooled, payment(), &oncetest.Options{Effects: s.effects}), "\n")
	check.True(t, strings.Contains(failures, "halfway: Effects has grown by 2"), "failures: %s", failures)
	check.True(t, !strings.Contains(failures, "again:"), "the sound ways failed too: %s", failures)
}
