package oncehttp_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/oncehttp"
)

var scenariosOfBodies = []scenario{
	{
		name: "a body that hardly arrives", run: slowBody,
		promise: "a body that takes too long costs nobody the key, and the client is told",
	},
	{
		name: "a body that is cut off", run: cutOffBody,
		promise: "a body that is not whole is not carried out, costs nobody the key, and the client is told",
	},
	{
		name: "a body that is too large", run: largeBody,
		promise: "a body over the limit is refused before anything else happens",
	},
}

// half is the payment without the end of its body.
func half() string {
	whole := text(thePath, theKey, "")
	return whole[:len(whole)-len(theBody)/2]
}

// free ends the scenario unless the key is nobody's: any request may have it.
func (s *service) free(asked int) {
	s.x.Helper()
	check.Equal(s.x, s.asked(), asked, "what the store was asked meanwhile")
	s.ran(0)
	other := s.send(s.request(http.MethodPost, thePath, "{}"))
	check.True(s.x, other.status == http.StatusCreated, "the answer is %d %q, want that the key is free", other.status, other.body)
	s.ran(1)
}

// slowBody sends byte after byte, each of them in time, and never the last one.
func slowBody(x *trial) {
	s := x.serve(setup{options: oncehttp.Options{BodyTimeout: 50 * time.Millisecond}}, pay)
	asked := s.asked()
	conn := s.dial(half())
	go func() {
		const pause = 20 * time.Millisecond
		for range len(theBody)/2 - 1 {
			time.Sleep(pause) // this is what a slow client does
			if _, err := io.WriteString(conn, "x"); err != nil {
				return
			}
		}
	}()
	r := s.hear(bufio.NewReader(conn))
	s.problem(r, http.StatusRequestTimeout, "body-timeout")
	s.free(asked)
}

func cutOffBody(x *trial) {
	s := x.serve(setup{}, pay)
	asked := s.asked()
	conn := s.dial(half())
	check.NoError(x, conn.CloseWrite(), "ending the request")
	r := s.hear(bufio.NewReader(conn))
	s.problem(r, http.StatusBadRequest, "body-cut-off")
	s.free(asked)
}

// largeBody says nothing of closing the connection: after that net/http may reset it before the client has read the answer.
func largeBody(x *trial) {
	s := x.serve(setup{options: oncehttp.Options{MaxBody: 1 << 10}}, pay)
	asked := s.asked()
	body := strings.Repeat("x", 2<<10)
	for _, rest := range []string{
		"Content-Length: 2048\r\n\r\n" + body,
		"Transfer-Encoding: chunked\r\n\r\n800\r\n" + body + "\r\n0\r\n\r\n",
	} {
		conn := s.dial("POST " + thePath + " HTTP/1.1\r\nHost: x\r\nIdempotency-Key: " + theKey + "\r\n" + rest)
		s.problem(s.hear(bufio.NewReader(conn)), http.StatusRequestEntityTooLarge, "body-too-large")
	}
	s.free(asked)
}
