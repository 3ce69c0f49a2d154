package oncehttp_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"

	"github.com/onceward/onceward/internal/check"
)

var scenariosOfClients = []scenario{
	{
		name: "the client leaves", run: clientLeaves,
		promise: "a request that arrived is carried out though its client left, and the retry gets the answer; one that " +
			"did not arrive leaves nothing",
	},
	{
		name: "the client asks before it sends the body", run: expectContinue,
		promise: "Expect: 100-continue works, and a key that is refused is refused before the body is sent",
	},
	{
		name: "HEAD", run: head,
		promise: "requests with methods that are not guarded pass, and take no key away",
	},
}

const leavings = 100

// clientLeaves closes the socket right after the request, or somewhere inside it.
func clientLeaves(x *trial) {
	const seed = 1
	random := rand.New(rand.NewPCG(seed, 0))
	gone := make(chan context.Context, leavings) // of the server's requests, in the order of their arrival
	var left [leavings]*gate
	for i := range left {
		left[i] = x.gate()
	}
	s := x.serve(setup{outside: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Leaves") != "" {
				gone <- r.Context()
			}
			next.ServeHTTP(w, r)
		})
	}}, func(s *service, w http.ResponseWriter, r *http.Request, run int) {
		var round int
		if _, err := fmt.Sscan(r.Header.Get("X-Leaves"), &round); err == nil {
			body, _ := io.ReadAll(r.Body) // nobody notices before this that the client left
			r.Body = io.NopCloser(bytes.NewReader(body))
			<-left[round].opened
		}
		if r.Context().Err() != nil { // as a query that is cancelled
			http.Error(w, "cancelled", http.StatusInternalServerError)
			return
		}
		pay(s, w, r, run)
	})
	cuts := 0
	for round := range left {
		key := fmt.Sprintf("%s-%d", theKey, round)
		whole := text(thePath, key, "")
		cut := random.IntN(2 * len(whole)) // one half arrives
		if cut < len(whole) {
			cuts++
			_ = s.dial(whole[:cut]).Close()
			r := s.post("Idempotency-Key", key)
			check.True(x, r.status == http.StatusCreated, "seed %d, %d bytes: the retry got %d %q", seed, cut, r.status, r.body)
			check.Equal(x, r.header.Get("Idempotent-Replayed"), "", "seed %d, %d bytes: replayed", seed, cut)
		} else {
			conn := s.dial(text(thePath, key, fmt.Sprintf("X-Leaves: %d\r\n", round)))
			server := <-gone
			s.ledger.reach(x, "run", round+1)
			_ = conn.Close()
			x.wait(server.Done(), "the server notices that the client left")
			left[round].open()
			s.ledger.reach(x, "end", round+1)
			r := s.post("Idempotency-Key", key, "Prefer", "wait=30")
			s.ran(round + 1)
			check.True(x, r.status == http.StatusCreated, "the retry got %d %q", r.status, r.body)
			check.Equal(x, r.header.Get("Idempotent-Replayed"), "true", "Idempotent-Replayed")
		}
		s.ran(round + 1)
	}
	check.True(x, cuts > leavings/4 && cuts < leavings*3/4, "%d of %d requests were cut", cuts, leavings)
	s.server.Close() // waits for whatever the server still makes of what it got
	s.ran(leavings)
}

func expectContinue(x *trial) {
	s := x.serve(setup{}, pay)
	ask := func(key string) (in *bufio.Reader, answer reply, body func()) {
		header, rest, _ := strings.Cut(text(thePath, key, "Expect: 100-continue\r\nConnection: close\r\n"), "\r\n\r\n")
		conn := s.dial(header + "\r\n\r\n")
		in = bufio.NewReader(conn)
		return in, s.hear(in), func() {
			_, err := io.WriteString(conn, rest)
			check.NoError(x, err, "sending the body")
		}
	}
	pays := func() reply {
		in, interim, body := ask(theKey)
		check.Equal(x, interim.status, http.StatusContinue, "status before the body")
		body()
		return s.hear(in)
	}
	first := pays()
	check.Equal(x, first.status, http.StatusCreated, "status")
	again := pays()
	s.ran(1)
	s.replays(again, first)
	_, refused, _ := ask("not a key")
	s.problem(refused, http.StatusBadRequest, "key-invalid")
}

func head(x *trial) {
	s := x.serve(setup{}, pay)
	heads := []reply{s.send(s.request(http.MethodHead, thePath, "")), s.send(s.request(http.MethodHead, thePath, ""))}
	s.ran(len(heads))
	for _, r := range heads {
		check.Equal(x, r.status, http.StatusCreated, "status")
		check.Equal(x, r.body, "", "body")
	}
	check.Equal(x, s.post().status, http.StatusCreated, "a POST with the same key")
	s.ran(3)
	check.Equal(x, s.ledger.count(" POST "+thePath+" "+theKey), 1, "runs of the POST")
}
