package access

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// writer counts what is answered. Everything that a connection can do is done by the writer inside.
type writer struct {
	http.ResponseWriter

	status int
	sent   int64 // of the body
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the first status that is not informational.
func (w *writer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) begin(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *writer) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}

// WriteString is Write without the copy.
func (w *writer) WriteString(s string) (int, error) {
	w.begin(http.StatusOK)
	n, err := io.WriteString(w.ResponseWriter, s)
	w.sent += int64(n)
	return n, err
}

// ReadFrom lets net/http send a file without reading it.
func (w *writer) ReadFrom(src io.Reader) (int64, error) {
	w.begin(http.StatusOK)
	n, err := io.Copy(w.ResponseWriter, src)
	w.sent += n
	return n, err
}

// FlushError sends the header, if it has not been sent.
func (w *writer) FlushError() error {
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if err == nil {
		w.begin(http.StatusOK)
	}
	return err
}

// Flush is FlushError for those who do not ask.
func (w *writer) Flush() { _ = w.FlushError() }

// Hijack hands the connection over. What is said on it is not seen here.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.begin(http.StatusSwitchingProtocols)
	}
	return conn, buffered, err
}

// answered is the status that the client got, 0 if it got none, and how many bytes of the body went out.
func (w *writer) answered(aborted bool) (status int, sent int64) {
	if w.status == 0 && !aborted {
		return http.StatusOK, 0 // net/http says so for a handler that says nothing
	}
	return w.status, w.sent
}
