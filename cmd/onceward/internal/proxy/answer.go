package proxy

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"time"
)

// inspect looks at an answer before it is passed back.
func inspect(res *http.Response) error {
	pass := passageOf(res.Request.Context())
	if pass.attempt == nil {
		res.Header.Del(headerControl) // where we guard, it is read and removed
		return nil
	}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	pass.stream = kind == "text/event-stream"
	pass.status, pass.location, pass.since = res.StatusCode, res.Header.Get("Location"), time.Now()
	res.Body = &watched{ReadCloser: res.Body, pass: pass}
	if res.ContentLength < 0 {
		// ReverseProxy flushes each write of an answer whose length it does not know. Nothing else reads this field.
		res.ContentLength = 0
	}
	return nil
}

// watched is an answer's body that notes when it breaks off.
type watched struct {
	io.ReadCloser

	pass *passage
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.pass.broken = err
	}
	return n, err
}

// held is the way back of a guarded answer. A flush would send it before it is stored, so it takes place only for events,
// and for answers that take longer than flushAfter.
type held struct {
	http.ResponseWriter

	pass *passage
}

func (h *held) FlushError() error {
	if !h.pass.stream && time.Since(h.pass.since) < flushAfter {
		return nil
	}
	return http.NewResponseController(h.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (h *held) Unwrap() http.ResponseWriter { return h.ResponseWriter }
