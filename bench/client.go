package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	connections = 64
	keysEach    = 16 // that a connection replays
)

// load is a generator of requests over kept-alive connections. A request is prepared once and only its key is changed,
// and of an answer only the status and the length are read: what the generator costs is what the servers cannot get.
type load struct {
	callers []*caller
	replay  bool
}

type caller struct {
	conn    net.Conn
	number  int
	next    int // the key of the next request
	request []byte
	digits  []byte // of the key, in request
	answer  []byte
}

const requestHead = "POST /payments HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nContent-Type: application/json\r\n" +
	"Content-Length: %d\r\nIdempotency-Key: 00000000-0000-4000-8000-000000000000\r\n\r\n"

const requestBody = `{"amount":1200,"currency":"EUR","to":"DE89370400440532013000","reference":"order 4711"}`

func dial(addr string, replay bool) (*load, error) {
	l := &load{replay: replay}
	for number := range connections {
		conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", addr)
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		c := &caller{conn: conn, number: number, answer: make([]byte, 4<<10)}
		c.request = fmt.Appendf(nil, requestHead+requestBody, len(requestBody))
		c.digits = c.request[bytes.Index(c.request, []byte("-8000-"))+len("-8000-"):][:12]
		l.callers = append(l.callers, c)
	}
	return l, nil
}

func (l *load) close() error {
	var errs []error
	for _, c := range l.callers {
		errs = append(errs, c.conn.Close())
	}
	return errors.Join(errs...)
}

// run sends requests on all connections for that long, and at least one on each.
func (l *load) run(length time.Duration) (requests int, elapsed time.Duration, err error) {
	var over atomic.Bool
	timer := time.AfterFunc(length, func() { over.Store(true) })
	defer timer.Stop()
	return l.each(func(c *caller) (sent int, err error) {
		for sent == 0 || !over.Load() && err == nil {
			err = c.call(l.replay)
			sent++
		}
		return sent, err
	})
}

// prepare sends each key that is to be replayed.
func (l *load) prepare() error {
	_, _, err := l.each(func(c *caller) (int, error) {
		for range keysEach {
			if err := c.call(true); err != nil {
				return 0, err
			}
		}
		return keysEach, nil
	})
	return err
}

func (l *load) each(do func(*caller) (int, error)) (requests int, elapsed time.Duration, err error) {
	counts, errs := make([]int, len(l.callers)), make([]error, len(l.callers))
	begun := time.Now()
	var wg sync.WaitGroup
	for i, c := range l.callers {
		wg.Go(func() { counts[i], errs[i] = do(c) })
	}
	wg.Wait()
	elapsed = time.Since(begun)
	for _, n := range counts {
		requests += n
	}
	return requests, elapsed, errors.Join(errs...)
}

// call sends one request and reads its answer, which must be 201.
func (c *caller) call(replay bool) error {
	key := c.next
	if replay {
		key %= keysEach
	}
	c.next++
	for i, n := len(c.digits)-1, key*connections+c.number; i >= 0; i, n = i-1, n/10 {
		c.digits[i] = byte('0' + n%10)
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	return c.read()
}

var (
	endOfHead     = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")
	created       = []byte("HTTP/1.1 201 ")
)

func (c *caller) read() error {
	for have, whole := 0, len(c.answer); have < whole; {
		n, err := c.conn.Read(c.answer[have:])
		if err != nil {
			return err
		}
		have += n
		head := bytes.Index(c.answer[:have], endOfHead)
		if head < 0 {
			continue
		}
		length, ok := lengthIn(c.answer[:head+2])
		if !ok || !bytes.HasPrefix(c.answer, created) {
			return fmt.Errorf("an answer that was not expected: %q", c.answer[:have])
		}
		whole = head + len(endOfHead) + length
		if whole > len(c.answer) || have > whole {
			return fmt.Errorf("an answer of %d bytes, of which %d are there", whole, have)
		}
	}
	return nil
}

func lengthIn(head []byte) (length int, ok bool) {
	at := bytes.Index(head, contentLength)
	if at < 0 {
		return 0, false
	}
	value, _, _ := bytes.Cut(head[at+len(contentLength):], []byte("\r"))
	length, err := strconv.Atoi(string(value))
	return length, err == nil
}
