package oncehttp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"

	"github.com/onceward/onceward/internal/check"
)

var scenariosOfStreams = []scenario{
	{
		name: "events", http2: true, run: events,
		promise: "what the handler flushes reaches the client before the handler goes on, and a retry gets the same bytes",
	},
	{
		name: "a huge answer", run: hugeAnswer,
		promise: "an answer that is too large to be kept passes through in little memory; a retry is told, nothing runs again",
	},
}

// events sends each event only when the client has seen the one before.
func events(x *trial) {
	seen := []*gate{x.gate(), x.gate(), x.gate()}
	s := x.serve(setup{}, func(_ *service, w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i, g := range seen {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			if err := http.NewResponseController(w).Flush(); err != nil {
				_, _ = fmt.Fprintf(w, "data: no flush: %v\n\n", err)
				return
			}
			<-g.opened
		}
	})
	ctx, cancel := context.WithTimeout(x.Context(), x.door.patience)
	defer cancel()
	response, err := s.client.Do(s.request(http.MethodPost, thePath, theBody).WithContext(ctx))
	check.NoError(x, err, "no answer while the handler runs")
	first := reply{status: response.StatusCode, header: response.Header}
	in := bufio.NewReader(response.Body)
	for i, g := range seen {
		var event string
		for range 2 {
			line, err := in.ReadString('\n')
			check.NoError(x, err, "event %d, while the handler runs", i)
			event += line
		}
		check.Equal(x, event, fmt.Sprintf("data: %d\n\n", i), "event")
		check.Equal(x, s.ledger.count("end"), 0, "handlers that have ended before event %d was seen", i)
		first.body += event
		g.open()
	}
	_, err = in.ReadByte()
	check.ErrorIs(x, err, io.EOF, "after the last event")
	check.NoError(x, response.Body.Close(), "closing the stream")
	again := s.post("Prefer", "wait=30") // the stream may end before its handler's door does
	s.ran(1)
	s.replays(again, first)
}

// measuring is held by who measures the heap: the twins are tried at the same time.
var measuring sync.Mutex

func hugeAnswer(x *trial) {
	measuring.Lock()
	x.Cleanup(measuring.Unlock)
	const mib = 1 << 20
	s := x.serve(setup{}, func(_ *service, w http.ResponseWriter, _ *http.Request, _ int) {
		chunk := make([]byte, mib)
		for sent := int64(0); sent < x.door.huge; sent += mib {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	heap := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	runtime.GC()
	before, most := heap(), int64(0)
	response, err := s.client.Do(s.request(http.MethodPost, thePath, theBody))
	check.NoError(x, err, "first")
	defer response.Body.Close()
	chunk, got := make([]byte, mib), int64(0)
	var n int
	for ; err == nil; got += int64(n) {
		if got%(64*mib) == 0 {
			most = max(most, heap()-before)
		}
		n, err = io.ReadFull(response.Body, chunk)
	}
	check.True(x, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), "after %d bytes: %v", got, err)
	check.Equal(x, got, x.door.huge, "bytes of the answer")
	check.True(x, most < 64*mib, "the heap has grown by %d MiB", most/mib)
	retry := s.post("Prefer", "wait=30")
	s.ran(1)
	s.problem(retry, http.StatusConflict, "outcome-not-stored")
}
