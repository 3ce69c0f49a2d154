package oncehttp_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"time"
)

// The twins are doors as they are found in articles and in services. Each is broken in ways that its table tells.
var (
	bareDoor = twin("no guard", func(_ *trial, next http.Handler, s setup) (http.Handler, levers) {
		return next, storeless{newDatabase(s)}
	})
	plainDoor = twin("look, work, store", openNaive(false))
	lockDoor  = twin("look, lock, work, store", openNaive(true))
)

func twin(name string, open func(*trial, http.Handler, setup) (http.Handler, levers)) *door {
	return &door{name: name, open: open, log: new(journal), patience: 1500 * time.Millisecond, crowd: 20, huge: 96 << 20}
}

func openNaive(lock bool) func(*trial, http.Handler, setup) (http.Handler, levers) {
	return func(x *trial, next http.Handler, s setup) (http.Handler, levers) {
		d := newDatabase(s)
		return &naive{next: next, db: d, log: log.New(x.door.log, "", 0), lock: lock}, d
	}
}

// naive is the algorithm that most articles teach: is the key known? then its result; else work, and store the result. The
// better ones take a lock around the work.
type naive struct {
	next http.Handler
	db   *database
	log  *log.Logger
	lock bool
}

func (n *naive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	first, known, err := n.process(r)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case first != nil:
		first.sendTo(w)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, known)
	}
}

func (n *naive) process(r *http.Request) (first *buffered, known string, err error) {
	defer func() { // "except Exception"
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, "", err
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		key = sortedKey(body)
	}
	n.log.Printf("processing %s", key)
	for {
		done, err := n.db.exists(key)
		if err != nil {
			return nil, "", err
		}
		if done {
			known, err = n.result(key)
			return nil, known, err
		}
		locked, err := n.locked(key)
		if err != nil {
			return nil, "", err
		}
		if locked {
			break
		}
		select {
		case <-time.After(100 * time.Millisecond): // and so on, without a deadline
		case <-r.Context().Done():
			return nil, "", r.Context().Err()
		}
	}
	first, err = n.work(r, key)
	return first, "", err
}

// locked takes the lock. Its value is the same for everybody, and it lasts as long as somebody once thought is enough.
func (n *naive) locked(key string) (bool, error) {
	if !n.lock {
		return true, nil
	}
	return n.db.setIfAbsent("lock:"+key, "1")
}

// work frees the lock afterwards, whoever has it by then.
func (n *naive) work(r *http.Request, key string) (*buffered, error) {
	if n.lock {
		defer func() { _ = n.db.del("lock:" + key) }()
	}
	b := &buffered{header: make(http.Header), status: http.StatusOK}
	n.next.ServeHTTP(b, r)
	if b.status >= http.StatusInternalServerError {
		return nil, errors.New(string(b.body))
	}
	result := string(b.body)
	switch result {
	case "", "0", "false", "null", `""`, "{}", "[]": // json.dumps(result) if result else "processed"
		result = "processed"
	}
	return b, n.db.set(key, result)
}

// result reads in two steps what it knows to be there.
func (n *naive) result(key string) (string, error) {
	value, err := n.db.get(key)
	if err != nil {
		return "", err
	}
	if value == "" {
		return "null", nil
	}
	if value == "processed" || value == "{" {
		return "", fmt.Errorf("json.loads: cannot decode %q", value)
	}
	return value, nil
}

// sortedKey is json.dumps(body, sort_keys=True), hashed: encoding/json sorts as well.
func sortedKey(body []byte) string {
	var v any
	_ = json.Unmarshal(body, &v) // an empty body is null
	sorted, _ := json.Marshal(v) //nolint:errchkjson // it was decoded a line above
	return fmt.Sprintf("%x", sha256.Sum256(sorted))
}

// buffered is a result in memory, however large.
type buffered struct {
	header http.Header
	status int
	body   []byte
}

func (b *buffered) Header() http.Header    { return b.header }
func (b *buffered) WriteHeader(status int) { b.status = status }

func (b *buffered) Write(p []byte) (int, error) {
	b.body = append(b.body, p...)
	return len(p), nil
}

func (b *buffered) sendTo(w http.ResponseWriter) {
	for name, values := range b.header {
		w.Header()[name] = values
	}
	w.WriteHeader(b.status)
	_, _ = w.Write(b.body)
}
