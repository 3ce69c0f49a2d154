package oncetest

import (
	"fmt"
	"net"
	"net/http/httptest"
	"sync"
	"time"
)

// again is the retry of a client whose answer came and was not understood, or was lost on its way.
func again(x *trial) {
	x.server = httptest.NewServer(x.handler)
	began := time.Now()
	first, err := x.ask()
	if err != nil {
		x.failf("%v", err)
		return
	}
	x.status, x.took = first.status, time.Since(began)
	if first.marked() {
		x.failf("the first answer is marked as a replay: the key was used before, so nothing is tested; see Options.NewKey")
	}
	second, err := x.settle()
	if err != nil {
		x.failf("the retry: %v", err)
		return
	}
	x.replays(first, second)
}

// atOnce is many clients, or one that is impatient.
func atOnce(x *trial) {
	c := newCrowd(x.Concurrent)
	x.server = httptest.NewServer(c.around(x.handler))
	answers := make([]*answer, x.Concurrent)
	errs := make([]error, x.Concurrent)
	var clients sync.WaitGroup
	for i := range answers {
		clients.Go(func() { answers[i], errs[i] = x.settle() })
	}
	clients.Wait()

	unmarked := 0
	for i, a := range answers {
		if errs[i] != nil {
			x.failf("one of %d clients: %v", x.Concurrent, errs[i])
			return
		}
		if !a.marked() {
			unmarked++
		}
	}
	if unmarked == 0 {
		x.failf("all answers are marked as replays: the key was used before, so nothing is tested; see Options.NewKey")
	}
	if unmarked > 1 && !x.UnmarkedReplays {
		x.failf("%d of %d answers lack %q: the operation probably ran %d times", unmarked, x.Concurrent, mark, unmarked)
	}
	x.expect(answers[0])
	for _, a := range answers[1:] {
		before := len(x.problems)
		x.same(answers[0], a)
		if len(x.problems) > before {
			return // the other answers would only say it again
		}
	}
}

// leftEarly is a client that leaves before anything was done: when the handler goes on, its request's context has ended.
func leftEarly(x *trial) {
	v := newVisit()
	v.hold = true
	leave(x, v, func(net.Conn) error { return x.await(v.read) })
}

// leftHalfway leaves in the middle, by the time that the first answer took.
func leftHalfway(x *trial) {
	v := newVisit()
	leave(x, v, func(net.Conn) error {
		err := x.await(v.entered)
		time.Sleep(x.took / 2)
		return err
	})
}

// leftLate leaves when there is something to read, and does not read it.
func leftLate(x *trial) {
	retry := leave(x, newVisit(), func(conn net.Conn) error {
		_, err := conn.Read(make([]byte, 1))
		return err
	})
	if retry != nil && !retry.marked() && !x.UnmarkedReplays {
		x.failf("the retry's answer (%s) lacks %q, although an answer was sent before: the operation probably ran again",
			status(retry), mark)
	}
}

// leave sends a request whose client leaves, and then the retries of that client. It returns the first retry's answer.
func leave(x *trial, v *visit, until func(net.Conn) error) *answer {
	x.server = httptest.NewServer(v.around(x.handler))
	conn, err := x.send()
	if err == nil {
		err = until(conn)
		_ = conn.Close()
	}
	if err != nil {
		x.failf("before the client left: %v", err)
		return nil
	}
	first, err := x.settle()
	if err != nil {
		x.failf("the retry: %v", err)
		return nil
	}
	x.expect(first)
	second, err := x.settle()
	if err != nil {
		x.failf("the second retry: %v", err)
		return nil
	}
	x.replays(first, second)
	return first
}

func (x *trial) await(moment <-chan struct{}) error {
	select {
	case <-moment:
		return nil
	case <-time.After(x.Timeout):
		return fmt.Errorf("the handler neither read the request nor returned within %v", x.Timeout)
	}
}
