package oncehttp_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
)

var scenariosOfDuplicates = []scenario{
	{
		name: "500 at once", http2: true, run: manyAtOnce,
		promise: "of many requests with one key one runs; the others are told at once that it does",
	},
	{
		name: "500 that wait", http2: true, run: manyThatWait,
		promise: "duplicates that prefer to wait get the answer of the one that runs",
	},
	{
		name: "another request", http2: true, run: anotherRequest,
		promise: "a key belongs to one request: another is refused, also while the first runs, and harms nothing",
	},
	{
		name: "asked before the end, told after it", run: toldLate,
		promise: "what a duplicate learned before the first one ended does not let it run afterwards",
	},
	{
		name: "ten leases long", run: outlivesLease(10, pay),
		promise: "a handler may take longer than the lease: nobody runs beside it, and nobody's answer is replaced",
	},
	{
		name: "three leases long, and then a failure", run: outlivesLease(3, fail),
		promise: "a handler that fails late does not let anybody run who asks then",
	},
	{
		name: "no key", run: withoutKey,
		promise: "two requests without a key are two operations, however alike they are",
	},
}

// slow lets the first run wait for the gate.
func slow(g *gate) handler {
	return func(s *service, w http.ResponseWriter, r *http.Request, run int) {
		if run == 1 {
			<-g.opened
		}
		pay(s, w, r, run)
	}
}

func manyAtOnce(x *trial) {
	end := x.gate()
	s := x.serve(setup{}, slow(end))
	first := s.start(s.request(http.MethodPost, thePath, theBody))
	s.ledger.reach(x, "run", 1)
	others := make([]<-chan reply, x.door.crowd-1)
	for i := range others {
		others[i] = s.start(s.request(http.MethodPost, thePath, theBody))
	}
	answers := make([]reply, len(others))
	for i, other := range others {
		answers[i] = s.answered(<-other)
	}
	s.ran(1)
	for _, r := range answers {
		s.problem(r, http.StatusConflict, "in-progress")
		check.Equal(x, r.header.Get("Retry-After"), "1", "Retry-After")
	}
	end.open()
	answer := s.answered(<-first)
	check.Equal(x, answer.status, http.StatusCreated, "status of the one that ran")
	s.replays(s.post(), answer)
	s.ran(1)
}

func manyThatWait(x *trial) {
	end := x.gate()
	s := x.serve(setup{}, slow(end))
	first := s.start(s.request(http.MethodPost, thePath, theBody))
	s.ledger.reach(x, "run", 1)
	others := make([]<-chan reply, x.door.crowd-1)
	for i := range others {
		others[i] = s.start(s.request(http.MethodPost, thePath, theBody, "Prefer", "wait=30"))
	}
	s.waiting(x, len(others))
	end.open()
	answer := s.answered(<-first)
	answers := make([]reply, len(others))
	for i, other := range others {
		answers[i] = s.answered(<-other)
	}
	s.ran(1)
	check.Equal(x, answer.status, http.StatusCreated, "status of the one that ran")
	for _, r := range answers {
		s.replays(r, answer)
	}
}

func anotherRequest(x *trial) {
	end := x.gate()
	s := x.serve(setup{}, slow(end))
	first := s.start(s.request(http.MethodPost, thePath, theBody))
	s.ledger.reach(x, "run", 1)
	others := func() (answers []reply) {
		for _, r := range []*http.Request{
			s.request(http.MethodPost, thePath, `{"amount":13}`),
			s.request(http.MethodPost, thePath, ""),
			s.request(http.MethodPost, thePath+"?amount=13", theBody),
			s.request(http.MethodPost, thePath, theBody, "Content-Type", "text/plain"),
		} {
			answers = append(answers, s.send(r))
		}
		return answers
	}
	meanwhile := others()
	end.open()
	answer := s.answered(<-first)
	for _, r := range append(meanwhile, others()...) {
		s.problem(r, http.StatusUnprocessableEntity, "key-reused")
		check.Equal(x, r.header.Get("Location"), "", "Location of the first one's answer")
	}
	check.Equal(x, answer.status, http.StatusCreated, "status of the first")
	s.replays(s.post(), answer)
	s.ran(1)
}

func toldLate(x *trial) {
	end := x.gate()
	s := x.serve(setup{}, slow(end))
	first := s.start(s.request(http.MethodPost, thePath, theBody))
	s.ledger.reach(x, "run", 1)
	arrived, open := s.hold()
	defer open()
	duplicate := s.start(s.request(http.MethodPost, thePath, theBody))
	x.wait(arrived, "the duplicate's question")
	end.open()
	answer := s.answered(<-first)
	open()
	told := s.answered(<-duplicate)
	s.ran(1)
	s.problem(told, http.StatusConflict, "in-progress")
	s.replays(s.post(), answer)
	s.ran(1)
}

// outlivesLease lets also a second run wait, if there is one: the end of the first must not show a third one the way.
func outlivesLease(leases int, end handler) func(x *trial) {
	return func(x *trial) {
		ends := []*gate{x.gate(), x.gate()}
		s := x.serve(setup{policy: onceward.Policy{Lease: 100 * time.Millisecond}},
			func(s *service, w http.ResponseWriter, r *http.Request, run int) {
				if run <= len(ends) {
					<-ends[run-1].opened
				}
				end(s, w, r, run)
			})
		first := s.start(s.request(http.MethodPost, thePath, theBody))
		s.ledger.reach(x, "run", 1)
		s.outlive(x, leases)
		second := s.start(s.request(http.MethodPost, thePath, theBody))
		told, answered := s.answeredOrRuns(second)
		ends[0].open()
		answer := s.answered(<-first)
		third := s.post()
		ends[1].open()
		if !answered {
			told = s.answered(<-second)
		}
		fourth := s.post()
		s.ran(1)
		s.problem(told, http.StatusConflict, "in-progress")
		s.replays(third, answer)
		s.replays(fourth, answer)
	}
}

// fail takes effect, and fails then.
func fail(_ *service, w http.ResponseWriter, _ *http.Request, run int) {
	http.Error(w, fmt.Sprintf("failure %d", run), http.StatusInternalServerError)
}

// answeredOrRuns waits until the duplicate is answered, or runs too.
func (s *service) answeredOrRuns(duplicate <-chan reply) (r reply, answered bool) {
	for {
		runs, changed := s.ledger.read("run")
		if runs > 1 {
			return r, false
		}
		select {
		case r := <-duplicate:
			return s.answered(r), true
		case <-changed:
		}
	}
}

func withoutKey(x *trial) {
	s := x.serve(setup{}, pay)
	answers := []reply{s.post("Idempotency-Key", ""), s.post("Idempotency-Key", "")}
	s.ran(len(answers))
	for _, r := range answers {
		check.Equal(x, r.status, http.StatusCreated, "status")
		check.Equal(x, r.header.Get("Idempotent-Replayed"), "", "Idempotent-Replayed")
	}
}
