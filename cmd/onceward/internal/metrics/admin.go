package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// ErrDraining is what the function given to [Admin] returns while the process ends what runs and lets nobody new in.
var ErrDraining = errors.New("draining")

// readyTimeout is how long the question whether the process is ready may take.
const readyTimeout = 2 * time.Second

// Admin serves /healthz, /readyz and /metrics to this machine. Ready returns nil, [ErrDraining], or anything else if the
// store does not answer; it should end with its context, after 2 s. The text of its error is not shown.
//
// A web page may lead its name to a loopback address, and so read what is served there. Its requests carry that name as
// their Host, so every Host but a loopback one is refused.
func Admin(m *Metrics, ready func(context.Context) error) http.Handler {
	metrics := m.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		path := r.URL.Path
		switch {
		case !loopback(r.Host):
			say(w, http.StatusForbidden, "ask by a loopback name, such as 127.0.0.1 or localhost")
		case path != "/healthz" && path != "/readyz" && path != "/metrics":
			say(w, http.StatusNotFound, "there is /healthz, /readyz and /metrics")
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			say(w, http.StatusMethodNotAllowed, "use GET")
		case path == "/healthz":
			say(w, http.StatusOK, "ok")
		case path == "/readyz":
			sayReady(w, r, ready)
		default:
			metrics.ServeHTTP(w, r)
		}
	})
}

func sayReady(w http.ResponseWriter, r *http.Request, ready func(context.Context) error) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	switch err := ready(ctx); {
	case err == nil:
		say(w, http.StatusOK, "ready")
	case errors.Is(err, ErrDraining):
		say(w, http.StatusServiceUnavailable, "draining")
	default:
		say(w, http.StatusServiceUnavailable, "store unavailable")
	}
}

func say(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, line+"\n") // an error means that the client left
}

// loopback reports whether a Host field names this machine, whatever its resolver says.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}
