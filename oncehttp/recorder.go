package oncehttp

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

var errReturned = errors.New("oncehttp: the handler has returned, its answer is complete")

// recorder is the ResponseWriter of a guarded handler. It holds the answer back until it is stored. Once the handler
// flushes, or the answer is too large to be kept, what is written goes out at once and, as long as it fits, is kept too.
//
// It has no Unwrap: a Flush or Hijack that reached the writer inside would send a status of its own. The deadlines are
// passed on one by one instead.
type recorder struct {
	x *exchange
	w http.ResponseWriter

	// A handler's goroutine may write on after the handler returned, when buf is another answer's already.
	mu       sync.Mutex
	returned bool
	hijacked bool

	status  int    // 0 until the handler has said it
	control string // its Idempotency-Control
	sent    bool   // status and header are on their way
	gone    bool   // the client left: nothing more is sent, recording goes on
	keeping bool   // the buffer holds the whole body
	shared  bool   // the store may still read the buffer
	length  int64  // of the body
	sum     hash.Hash
	*buffers
}

// buffers are what a recorder needs and the next one can use again.
type buffers struct {
	buf     []byte  // room for the answer's prefix, and the body; made when there is an answer
	outer   []field // the header as the handler found it
	head    []field // the header as it was when the handler said its status
	trailer []field
	stored  []field // those of head that are kept
}

var pool = sync.Pool{New: func() any { return new(buffers) }}

func (rec *recorder) open(x *exchange) {
	rec.x, rec.w, rec.keeping = x, x.w, true
	rec.buffers = pool.Get().(*buffers) //nolint:forcetypeassert // the pool holds nothing else
	rec.outer = snapshot(rec.outer, x.w.Header())
}

// close gives the buffers back.
func (rec *recorder) close() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.returned = true
	b := rec.buffers
	rec.buffers = nil
	if rec.shared || cap(b.buf) > defaultSpoolMemory {
		return
	}
	b.buf = b.buf[:min(bodyAt, len(b.buf))]
	for _, fields := range []*[]field{&b.outer, &b.head, &b.trailer, &b.stored} {
		clear(*fields)
		*fields = (*fields)[:0]
	}
	pool.Put(b)
}

// Header is the map of the writer inside: what stands there already may be changed, as without us.
func (rec *recorder) Header() http.Header { return rec.w.Header() }

// WriteHeader notes the status and the header. Informational ones go out at once and are not stored.
func (rec *recorder) WriteHeader(status int) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if !rec.returned && !rec.hijacked {
		rec.writeHeader(status)
	}
}

func (rec *recorder) writeHeader(status int) {
	switch {
	case rec.status != 0: // superfluous, as in net/http
	case status < 100 || status > 999:
		panic(fmt.Sprintf("oncehttp: invalid WriteHeader code %v", status)) // where net/http would
	case status < 200 && status != http.StatusSwitchingProtocols:
		rec.w.WriteHeader(status)
	default:
		header := rec.w.Header()
		if control := header[headerControl]; len(control) > 0 {
			rec.control = strings.ToLower(strings.TrimSpace(control[0]))
		}
		delete(header, headerControl)
		if len(rec.buf) == 0 {
			rec.buf = make([]byte, bodyAt, 1<<10)
		}
		rec.status = status
		rec.head = snapshot(rec.head, header)
	}
}

// Write keeps p, or sends it, or both.
func (rec *recorder) Write(p []byte) (int, error) { return write(rec, p) }

// WriteString is Write without the copy.
func (rec *recorder) WriteString(s string) (int, error) { return write(rec, s) }

func write[T []byte | string](rec *recorder, p T) (int, error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	switch {
	case rec.returned:
		return 0, errReturned
	case rec.hijacked:
		return 0, http.ErrHijacked
	}
	if rec.status == 0 {
		rec.writeHeader(http.StatusOK)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !bodyAllowed(rec.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if rec.keeping && len(rec.buf)-bodyAt+len(p) > rec.x.MaxOutcome {
		rec.outgrow()
	}
	rec.length += int64(len(p))
	if rec.keeping {
		rec.buf = append(rec.buf, p...)
	} else {
		_, _ = rec.sum.Write([]byte(p)) // never fails
	}
	if rec.sent {
		rec.forward([]byte(p))
	}
	return len(p), nil
}

// outgrow gives up keeping the body: what is kept goes out, and only a digest is taken of the rest. In a transaction
// nothing goes out, because it will not be committed.
func (rec *recorder) outgrow() {
	if !rec.sent && rec.x.Transactions == nil {
		rec.sendLocked("", "")
	}
	rec.drop()
}

// drop forgets the body and keeps its digest.
func (rec *recorder) drop() {
	rec.digest()
	rec.keeping = false
	rec.buf = rec.buf[:bodyAt]
}

// digest is the sum of the whole body so far.
func (rec *recorder) digest() hash.Hash {
	if rec.sum == nil {
		rec.sum = sha256.New()
		_, _ = rec.sum.Write(rec.buf[bodyAt:]) // never fails
	}
	return rec.sum
}

func (rec *recorder) forward(p []byte) {
	if rec.gone || len(p) == 0 {
		return
	}
	_, err := rec.w.Write(p)
	if errors.Is(err, http.ErrContentLength) {
		rec.drop() // the client has less than was recorded: nobody is to get more
	}
	if err != nil {
		rec.gone = true
	}
}

// ReadFrom is what io.Copy uses: without it each copy would allocate its buffer.
func (rec *recorder) ReadFrom(src io.Reader) (int64, error) {
	chunk := chunks.Get().(*[32 << 10]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer chunks.Put(chunk)
	return io.CopyBuffer(struct{ io.Writer }{rec}, src, chunk[:])
}

var chunks = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// finish ends the recording: the handler has returned. Afterwards head and trailer are what is stored and sent.
func (rec *recorder) finish() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.returned = true
	if rec.hijacked {
		return
	}
	if rec.status == 0 {
		rec.writeHeader(http.StatusOK)
	}
	if !rec.sent {
		rec.complete()
	}
	rec.takeTrailers()
}

// abandon ends the recording of a handler that did not return, and reports whether anything was sent.
func (rec *recorder) abandon() (sent bool) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.returned = true
	return rec.sent
}

// complete makes head what net/http would send, so that the first answer and its replays are alike: it guesses the
// Content-Type, and drops a Content-Length that is wrong.
func (rec *recorder) complete() {
	body := rec.buf[bodyAt:]
	length := first(rec.head, "Content-Length")
	if length != "" && rec.returned && bodyAllowed(rec.status) && rec.x.r.Method != http.MethodHead &&
		length != strconv.Itoa(len(body)) {
		rec.head = slices.DeleteFunc(rec.head, func(f field) bool { return f.name == "Content-Length" })
	}
	typed := slices.ContainsFunc(rec.head, func(f field) bool { return f.name == "Content-Type" })
	if typed || len(body) == 0 || first(rec.head, "Content-Encoding") != "" || first(rec.head, "Transfer-Encoding") != "" {
		return
	}
	rec.head = append(rec.head, field{"Content-Type", []string{http.DetectContentType(body)}})
}

// takeTrailers finds the trailers, declared ones and others (see http.TrailerPrefix), with the values they have now.
func (rec *recorder) takeTrailers() {
	rec.trailer = rec.trailer[:0]
	header := rec.w.Header()
	for _, declared := range lookup(rec.head, "Trailer") {
		for name := range strings.SplitSeq(declared, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			rec.trailer = append(rec.trailer, field{name, header[name]})
		}
	}
	for name, values := range header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			rec.trailer = append(rec.trailer, field{name, values})
		}
	}
	slices.SortFunc(rec.trailer, byName)
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
