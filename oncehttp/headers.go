package oncehttp

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Headers of ours. A request's are removed before the handler sees it, and a handler's before the client does.
const (
	headerAttempt  = "Idempotency-Attempt"
	headerControl  = "Idempotency-Control"
	headerDerived  = "Idempotency-Key-Derived"
	headerExpires  = "Idempotency-Expires"
	headerFence    = "Idempotency-Fence"
	headerReplayed = "Idempotent-Replayed"
	headerStored   = "Idempotency-Stored"
)

var (
	ours = []string{
		headerAttempt, headerControl, headerDerived, headerExpires, headerFence, headerReplayed, headerStored,
	}
	// kept are stored besides everything that begins with Content-. They describe the answer; what describes the
	// connection, the moment or the session is not replayed.
	kept = set("Accept-Ranges", "Access-Control-Allow-Credentials", "Access-Control-Allow-Origin",
		"Access-Control-Expose-Headers", "Allow", "Cache-Control", "Deprecation", "Etag", "Expires", "Last-Modified", "Link",
		"Location", "Sunset", "Vary", "X-Content-Type-Options")
	// never are not stored whatever the options say: they are secrets, or would be wrong a moment later.
	never = set("Authentication-Info", "Authorization", "Connection", "Date", "Keep-Alive", "Proxy-Authenticate",
		"Proxy-Authentication-Info", "Proxy-Connection", "Retry-After", "Set-Cookie", "Set-Cookie2", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Www-Authenticate", headerAttempt, headerControl, headerDerived, headerExpires,
		headerFence, headerReplayed, headerStored)

	// Shared, so that marking an answer allocates nothing. Their capacity is one: an Add copies them.
	yes     = []string{"true"}
	noStore = []string{"no-store"}
	exposed = strings.Join([]string{
		headerExpires, headerDerived, headerReplayed, headerStored, "Preference-Applied", "Retry-After",
	}, ", ")
)

func set(names ...string) map[string]bool {
	s := make(map[string]bool, len(names))
	for _, name := range names {
		s[name] = true
	}
	return s
}

// stores reports whether the answer's header field is kept for replays.
func (c *config) stores(name string) bool {
	name = http.CanonicalHeaderKey(name)
	return describes(name) || c.stored[name] && !never[name]
}

// describes reports whether the field speaks of the answer itself.
func describes(name string) bool {
	name = http.CanonicalHeaderKey(name)
	return (strings.HasPrefix(name, "Content-") || kept[name]) && !never[name]
}

// mark adds our header fields to a guarded answer, the first one or a replay, and one more if name is not empty.
func (x *exchange) mark(header http.Header, name, value string) {
	for _, our := range ours {
		delete(header, our)
	}
	if x.derived {
		header[headerDerived] = yes
	} else {
		header[x.Header] = x.r.Header[x.Header]
	}
	if _, ok := header["Cache-Control"]; !ok {
		header["Cache-Control"] = noStore
	}
	if x.wait > 0 {
		header["Preference-Applied"] = []string{"wait=" + seconds(x.wait)}
	}
	if name != "" {
		x.value[0] = value
		header[name] = x.value[:]
	}
	x.expose(header)
}

// expose lets scripts of other origins read our header fields where they may read the answer at all (Fetch, CORS).
func (c *config) expose(header http.Header) {
	if len(header["Access-Control-Allow-Origin"]) == 0 {
		return
	}
	header.Add("Access-Control-Expose-Headers", c.Header+", "+exposed)
}

// withoutOurs is header without what only we may say. The caller's map is not changed.
func withoutOurs(header http.Header) http.Header {
	cloned := false
	for _, name := range ours {
		if _, ok := header[name]; !ok {
			continue
		}
		if !cloned {
			header, cloned = maps.Clone(header), true
		}
		delete(header, name)
	}
	return header
}

// unmarked is r without what only we may say.
func unmarked(r *http.Request) *http.Request {
	header := withoutOurs(r.Header)
	if len(header) == len(r.Header) {
		return r
	}
	r = r.WithContext(r.Context())
	r.Header = header
	return r
}

// snapshot appends the fields of header to fields, in the order of their names.
func snapshot(fields []field, header http.Header) []field {
	for name, values := range header {
		fields = append(fields, field{name, values})
	}
	slices.SortFunc(fields, byName)
	return fields
}

func byName(a, b field) int { return strings.Compare(a.name, b.name) }

// restore makes header what it was at the snapshot.
func restore(header http.Header, fields []field) {
	clear(header)
	for _, f := range fields {
		header[f.name] = f.values
	}
}

// first is the first value of a field, "" if there is none.
func first(fields []field, name string) string {
	if values := lookup(fields, name); len(values) > 0 {
		return values[0]
	}
	return ""
}

func lookup(fields []field, name string) []string {
	for _, f := range fields {
		if f.name == name {
			return f.values
		}
	}
	return nil
}
