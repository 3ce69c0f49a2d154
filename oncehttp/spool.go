package oncehttp

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// spool holds a request body: in memory, and beyond a bound in a file. It is read before anything else happens, so that
// its fingerprint is known, and a slow or cut-off body costs no key.
type spool struct {
	size int64
	sum  [sha256.Size]byte

	c     *config
	taken int64 // of the budget
	mem   *[]byte
	hash  hash.Hash // of what is in the file
	body  bodyReader

	// A handler's goroutine may read on after the handler returned, when mem is another request's already.
	mu     sync.Mutex
	file   *os.File
	closed bool
	broken error // reading the file failed
}

var bodies = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// fill reads the body of r and takes the sum. The error is a [Problem].
func (s *spool) fill(w http.ResponseWriter, r *http.Request, c *config) error {
	s.c = c
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		s.sum = sha256.Sum256(nil)
		return nil
	}
	if r.ContentLength > c.MaxBody {
		return problemBodyTooLarge
	}
	s.mem = bodies.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	control := http.NewResponseController(w)
	// A server that knows no deadlines has to bound its clients itself.
	_ = control.SetReadDeadline(time.Now().Add(c.BodyTimeout))
	if err := s.read(r.Body); err != nil {
		return err
	}
	_ = control.SetReadDeadline(time.Time{})
	return nil
}

func (s *spool) read(body io.Reader) error {
	for {
		if err := s.makeRoom(); err != nil {
			return problemBusy
		}
		mem := *s.mem
		n, err := body.Read(mem[len(mem):cap(mem)])
		*s.mem = mem[:len(mem)+n]
		s.size += int64(n)
		s.taken += int64(n)
		full := s.c.spooled.Add(int64(n)) > s.c.SpoolTotal
		switch {
		case s.size > s.c.MaxBody:
			return problemBodyTooLarge
		case full:
			return problemBusy
		case errors.Is(err, io.EOF):
			return s.seal()
		case err != nil:
			return bodyProblem(err)
		}
	}
}

func bodyProblem(err error) error {
	var limit *http.MaxBytesError // of a reader around ours
	switch {
	case errors.As(err, &limit):
		return problemBodyTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problemBodyTimeout
	default:
		return problemBodyCutOff
	}
}

// makeRoom lets mem grow up to the bound; from then on mem is the buffer through which the rest goes to the file.
func (s *spool) makeRoom() error {
	switch mem := *s.mem; {
	case len(mem) < cap(mem):
		return nil
	case cap(mem) < s.c.SpoolMemory:
		*s.mem = slices.Grow(mem, min(cap(mem), s.c.SpoolMemory-cap(mem)))
		return nil
	case s.file == nil:
		file, err := os.CreateTemp("", "onceward-")
		if err != nil {
			return err
		}
		_ = os.Remove(file.Name()) // where that works, not even a crash leaves the body behind
		s.file, s.hash = file, sha256.New()
	}
	return s.drain()
}

func (s *spool) drain() error {
	_, _ = s.hash.Write(*s.mem) // never fails
	_, err := s.file.Write(*s.mem)
	*s.mem = (*s.mem)[:0]
	return err
}

func (s *spool) seal() error {
	if s.file == nil {
		s.sum = sha256.Sum256(*s.mem)
		return nil
	}
	if err := s.drain(); err != nil {
		return problemBusy
	}
	s.hash.Sum(s.sum[:0])
	return nil
}

// ReadAt reads what is spooled.
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return 0, http.ErrBodyReadAfterClose
	case off >= s.size:
		return 0, io.EOF
	case s.file == nil:
		n := copy(p, (*s.mem)[off:])
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	n, err := s.file.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		s.broken = problemBusy
	}
	return n, err
}

func (s *spool) close() {
	if s.mem == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.c.spooled.Add(-s.taken)
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name()) // for systems that do not remove open files
	}
	if cap(*s.mem) <= defaultSpoolMemory {
		*s.mem = (*s.mem)[:0]
		bodies.Put(s.mem)
	}
}

// reader is the body that the handler gets.
func (s *spool) reader() io.ReadCloser {
	if s.size == 0 {
		return http.NoBody
	}
	s.body.spool = s
	return &s.body
}

type bodyReader struct {
	spool  *spool
	off    int64
	closed atomic.Bool
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.spool.ReadAt(p, b.off)
	b.off += int64(n)
	return n, err
}

func (b *bodyReader) Close() error {
	b.closed.Store(true)
	return nil
}
