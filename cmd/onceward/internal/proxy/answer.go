package proxy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"
)

// inspect looks at an answer before it is passed back. An error means that it is none: the request counts as unanswered,
// and the connection is closed.
func (p *Proxy) inspect(res *http.Response) error {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return switched(res)
	}
	if res.StatusCode < 200 || res.StatusCode > 999 {
		return plain(fmt.Sprintf("the service answered with status %d", res.StatusCode))
	}
	pass := passageOf(res.Request.Context())
	if pass.attempt != nil && !pass.sent() {
		return errUnasked
	}
	delete(res.Trailer, headerControl) // where it is announced
	res.Body = &watched{ReadCloser: res.Body, proxy: p, pass: pass, res: res}
	if pass.attempt == nil {
		res.Header.Del(headerControl) // where we guard, it is read and removed
		return nil
	}
	p.strange.warn(p.log, pass, res.Header)
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	pass.stream = kind == "text/event-stream"
	pass.status, pass.location, pass.since = res.StatusCode, res.Header.Get("Location"), time.Now()
	if res.ContentLength < 0 {
		// ReverseProxy flushes each write of an answer whose length it does not know. Nothing else reads this field.
		res.ContentLength = 0
	}
	return nil
}

// switched refuses a protocol that the request did not ask for, as no guarded one does. ReverseProxy would too, and leave
// the connection open.
func switched(res *http.Response) error {
	asked := res.Request.Header.Get("Upgrade")
	if asked == "" || !strings.EqualFold(asked, res.Header.Get("Upgrade")) {
		return plain("the service switched to a protocol that it was not asked for")
	}
	res.Header.Del(headerControl)
	return nil
}

// words are those that the service said in Idempotency-Control and nobody understands. Each is told of once.
type words struct {
	mu   sync.Mutex
	told map[string]bool
}

// mostWords bounds what a service that makes them up can do to the log and the memory.
const mostWords = 16

// warn looks at the word where the guard does: at the first value.
func (s *words) warn(log *slog.Logger, pass *passage, header http.Header) {
	values := header[headerControl]
	if len(values) == 0 {
		return
	}
	word := strings.ToLower(strings.TrimSpace(values[0]))
	switch word {
	case "final", "retry", "in-doubt", "no-store":
		return
	}
	word = fmt.Sprintf("%.40s", word)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told[word] || len(s.told) == mostWords {
		return
	}
	if s.told == nil {
		s.told = map[string]bool{}
	}
	s.told[word] = true
	log.Warn("the service said something in "+headerControl+" that is not one of final, retry, in-doubt, no-store: it is ignored",
		"word", word, "operation", pass.operation)
}

// watched is an answer's body that notes when it breaks off.
type watched struct {
	io.ReadCloser

	proxy *Proxy
	pass  *passage
	res   *http.Response
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		delete(b.res.Trailer, headerControl) // also where it was not announced
	case err != nil:
		b.pass.broken = err
		if ctx := b.res.Request.Context(); b.pass.attempt != nil || ctx.Err() == nil {
			b.proxy.warn(ctx, b.pass, "upstream-broke-off: the rest of the answer is missing", err)
		}
	}
	return n, err
}

// wayBack is what an answer is written to. A flush would send a guarded one before it is stored, so it takes place only for
// events, and for answers that take longer than flushAfter.
type wayBack struct {
	http.ResponseWriter

	pass *passage
}

// WriteHeader is called with the final status, and before that with those that say that there will be one.
func (b *wayBack) WriteHeader(status int) {
	if status < 200 {
		if status == http.StatusSwitchingProtocols {
			return // over HTTP/2 it has no meaning, and for a client it would be the last status
		}
		delete(b.Header(), headerControl)
	}
	b.ResponseWriter.WriteHeader(status)
}

func (b *wayBack) FlushError() error {
	if b.pass.attempt != nil && !b.pass.stream && time.Since(b.pass.since) < flushAfter {
		return nil
	}
	return http.NewResponseController(b.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (b *wayBack) Unwrap() http.ResponseWriter { return b.ResponseWriter }
