package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// TestMain lets the test binary be the server of a row, which the rows start by the name of their own program.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-serve" {
		main()
		return
	}
	batch = stored
	os.Exit(m.Run())
}

// Each row checks what it gets: that fresh keys run and others are replayed.
func TestEveryRowWorks(t *testing.T) {
	for _, table := range []*table{storeTable(1), storeTable(2), engineTable(), httpTable()} {
		_, lines, err := table.measure(config{rounds: 1, length: time.Millisecond})
		check.NoError(t, err, "%s", table.name)
		check.Equal(t, len(lines), len(table.rows), "lines of %s", table.name)
	}
}

func TestMemoryIsMeasured(t *testing.T) {
	const size = 1 << 10
	var blocks [][]byte
	h, err := holding(1000, func() error {
		for range 1000 {
			blocks = append(blocks, make([]byte, size))
		}
		return nil
	}, func() { blocks = nil })
	check.NoError(t, err, "holding")
	check.True(t, h.heap > size && h.heap < 1.2*size, "a block of %d bytes holds %.0f", size, h.heap)
	check.Equal(t, h.goroutines, 0, "goroutines")

	h, err = blockedCallers()
	check.NoError(t, err, "blocked callers")
	check.Equal(t, h.goroutines, 1, "goroutines of a blocked caller")
}

func TestReplayThatRunsIsFound(t *testing.T) {
	_, err := overHTTP("net/http", true)(time.Millisecond, "")
	check.True(t, err != nil, "a server that replays nothing passes for one that does")
}

func TestUnexpectedAnswersAreFound(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"another status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) },
		"chunks": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_ = http.NewResponseController(w).Flush()
		},
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, "%9000d", 1)
		},
	} {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		check.NoError(t, err, "listen")
		server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(listener) }()
		l, err := dial(listener.Addr().String(), false)
		check.NoError(t, err, "dial")
		_, _, err = l.run(time.Minute)
		check.True(t, err != nil, "%s was taken for an answer", name)
		check.NoError(t, l.close(), "closing connections")
		check.NoError(t, server.Close(), "closing the server")
	}
}
