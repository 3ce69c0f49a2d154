package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/onceward/onceward/oncehttp"
)

// unfit returns what is wrong with a request that must not be passed on, if anything is.
func unfit(r *http.Request, to *url.URL) *oncehttp.Problem {
	switch name := removed(r.Header); {
	case r.URL.Opaque != "" || r.RequestURI == "*" && r.Method != http.MethodOptions:
		// It would be written to the upstream as it is, with the client's choice of host and without the path of --to.
		return &oncehttp.Problem{Status: 400, Code: "target-invalid", Title: "The request's target has no path",
			Detail: "Send a path, such as /payments.", SafeNewKey: true}
	case strings.Trim(to.Path, "/") != "" && climbs(r.URL.Path):
		return &oncehttp.Problem{Status: 400, Code: "target-invalid", Title: "The request's target leads out of the service's path",
			Detail: "Send a path without the segment \"..\".", SafeNewKey: true}
	case name != "":
		return &oncehttp.Problem{Status: 400, Code: "connection-invalid", Title: "The Connection field names a field of the request",
			Detail: "The service would not get " + name + ". Leave it out of Connection."}
	default:
		return nil
	}
}

// climbs reports whether a service may find "..", a segment that leads upwards, in a path that was unescaped. Some take a
// backslash for a slash, or drop what follows a semicolon first.
func climbs(path string) bool {
	for segment := range strings.FieldsFuncSeq(path, func(c rune) bool { return c == '/' || c == '\\' }) {
		if name, _, _ := strings.Cut(segment, ";"); name == ".." {
			return true
		}
	}
	return false
}

// ofConnection may be named in a Connection field: they end here anyway.
var ofConnection = map[string]bool{
	"Close": true, "Connection": true, "Http2-Settings": true, "Keep-Alive": true, "Proxy-Connection": true, "Te": true,
	"Trailer": true, "Trailers": true, "Transfer-Encoding": true, "Upgrade": true,
}

// removed is a field that Connection would make a proxy remove although it is the request's own, such as Authorization: we
// would look at a field that the service does not see.
func removed(header http.Header) string {
	for _, value := range header["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if _, there := header[name]; there && !ofConnection[name] {
				return name
			}
		}
	}
	return ""
}

// disguised reports whether services that read fields as CGI does would take name for one that only we may send.
func disguised(name string) bool {
	if !strings.Contains(name, "_") {
		return false
	}
	name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	return strings.HasPrefix(name, "Idempotency-") || aboutOrigin(name)
}
