package proxy

import (
	"io"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
)

const (
	headerAttempt = "Idempotency-Attempt"
	headerControl = "Idempotency-Control"
	headerFence   = "Idempotency-Fence"
)

// rewrite makes the upstream's request.
func (p *Proxy) rewrite(pr *httputil.ProxyRequest) {
	pr.SetURL(p.to)
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery // also the parameters that Go cannot parse: somebody else may
	if p.to.Scheme == "http" {
		// A service behind a sidecar sees the host that its clients see. One behind TLS goes by the name in its certificate.
		pr.Out.Host = pr.In.Host
	}
	out := pr.Out.Header
	for _, name := range []string{headerAttempt, headerControl, headerFence} {
		delete(out, name)
	}
	p.forwarded(pr)
	for name := range out {
		if disguised(name) {
			delete(out, name)
		}
	}
	if upgrade := out.Get("Upgrade"); upgrade != "" && (p.h2c || !strings.EqualFold(upgrade, "websocket")) {
		// Others, h2c among them, are tunnels in which whole requests could pass that nobody looks at. HTTP/2 has none.
		delete(out, "Upgrade")
		delete(out, "Connection")
	}
	if attempt := passageOf(pr.In.Context()).attempt; attempt != nil {
		out.Set(headerAttempt, strconv.Itoa(attempt.Number()))
		out.Set(headerFence, strconv.FormatUint(attempt.Fence(), 10))
		// The body is here already, and what is said on an upgraded connection can neither be stored nor replayed.
		for _, name := range []string{"Expect", "Connection", "Upgrade"} {
			delete(out, name)
		}
	}
	p.sendOnce(pr.Out)
}

// forwarded says where the request comes from. What the client says of it is passed on only if it is trusted.
func (p *Proxy) forwarded(pr *httputil.ProxyRequest) {
	out := pr.Out.Header
	for name := range pr.In.Header {
		if aboutOrigin(name) && name != p.scopeHeader {
			delete(out, name)
		}
	}
	if !p.trustForwarded {
		pr.SetXForwarded()
		return
	}
	out["X-Forwarded-For"] = pr.In.Header["X-Forwarded-For"]
	pr.SetXForwarded() // appends to it
	for name, values := range pr.In.Header {
		if aboutOrigin(name) && name != "X-Forwarded-For" {
			out[name] = values
		}
	}
}

// aboutOrigin reports whether the field tells of a request as it was before a proxy.
func aboutOrigin(name string) bool {
	return name == "Forwarded" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-")
}

// sendOnce keeps net/http from sending r a second time by itself when a connection dies. Its HTTP/1 transport takes a
// request with one of these header fields for safe to repeat, but looks for the canonical names only. Its HTTP/2 transport
// repeats whatever has no body, so that the body must be one of which it cannot know that it is empty. With HTTP/1 such a
// body is sent in chunks, which not every service takes; so plain http keeps none. Methods that are safe may be repeated.
func (p *Proxy) sendOnce(r *http.Request) {
	rename(r.Header, "Idempotency-Key", "idempotency-key")
	rename(r.Header, "X-Idempotency-Key", "x-idempotency-key")
	if r.Body == nil && (p.to.Scheme == "https" || p.h2c) && !Safe(r.Method) {
		r.Body = io.NopCloser(strings.NewReader(""))
	}
}

func rename(header http.Header, from, to string) {
	if values, ok := header[from]; ok {
		delete(header, from)
		header[to] = values
	}
}

// Safe reports whether net/http itself repeats requests of the method, whatever they carry. They cannot be guarded.
func Safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	default:
		return false
	}
}
