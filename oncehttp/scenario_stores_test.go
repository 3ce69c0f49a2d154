package oncehttp_test

import (
	"net/http"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/storetest"
)

var scenariosOfStores = []scenario{
	{
		name: "the store is down", run: storeDown,
		promise: "while the store is down nothing runs and the client is told when to come back; then it runs",
	},
	{
		name: "the store goes down while the handler runs", run: storeGoesDown,
		promise: "an effect whose answer cannot be stored yet is answered, marked, and stored as soon as that is possible",
	},
	{
		name: "a lost reply to the question", run: questionLost,
		promise: "who does not learn that it may run asks again, and runs once",
	},
	{
		name: "no reply to any question", run: questionsLost,
		promise: "who never learns that it may run does not run, and keeps the key from nobody",
	},
	{
		name: "a lost reply to the outcome", run: outcomeLost,
		promise: "a store that took the outcome and did not say so costs nothing",
	},
	{
		name: "no reply to any outcome", run: outcomesLost,
		promise: "an answer of which nobody knows whether it is stored is given, marked, and replayed if it is",
	},
	{
		name: "a damaged answer", run: damaged,
		promise: "what is stored and cannot be read is not nothing: it does not run again",
	},
	{
		name: "the retention ends", run: retentionEnds,
		promise: "an answer is replayed wholly or not at all; after the retention the request is a new one",
	},
}

func storeDown(x *trial) {
	s := x.serve(setup{}, pay)
	s.down(true)
	for range 3 {
		r := s.post()
		s.problem(r, http.StatusServiceUnavailable, "store-unavailable")
		check.Equal(x, r.header.Get("Retry-After"), "1", "Retry-After")
	}
	s.ran(0)
	s.down(false)
	first := s.post()
	check.Equal(x, first.status, http.StatusCreated, "status, when the store is back")
	s.replays(s.post(), first)
	s.ran(1)
}

func storeGoesDown(x *trial) {
	s := x.serve(setup{}, func(s *service, w http.ResponseWriter, r *http.Request, run int) {
		if run == 1 {
			s.down(true)
		}
		pay(s, w, r, run)
	})
	first := s.post()
	meanwhile := s.post()
	s.down(false)
	s.settled(x, storetest.VerbComplete)
	again := s.post()
	s.ran(1)
	check.Equal(x, first.status, http.StatusCreated, "status")
	check.Equal(x, first.header.Get("Idempotency-Stored"), "false", "Idempotency-Stored")
	check.Equal(x, first.header.Get("Idempotency-Expires"), "", "Idempotency-Expires")
	s.problem(meanwhile, http.StatusServiceUnavailable, "store-unavailable")
	s.replays(again, first)
}

func questionLost(x *trial) {
	s := x.serve(setup{}, pay)
	s.lose(storetest.VerbAcquire, false)
	first := s.post()
	check.True(x, first.status == http.StatusCreated, "the answer is %d %q", first.status, first.body)
	s.replays(s.post(), first)
	s.ran(1)
}

func questionsLost(x *trial) {
	s := x.serve(setup{}, pay)
	s.lose(storetest.VerbAcquire, true)
	s.problem(s.post(), http.StatusServiceUnavailable, "store-unavailable")
	s.ran(0)
	s.down(false)
	s.settled(x, storetest.VerbAcquire)
	first := s.post()
	check.True(x, first.status == http.StatusCreated, "the answer is %d %q", first.status, first.body)
	check.Equal(x, first.header.Get("Idempotent-Replayed"), "", "Idempotent-Replayed")
	s.ran(1)
}

func outcomeLost(x *trial) {
	s := x.serve(setup{}, pay)
	s.lose(storetest.VerbComplete, false)
	first := s.post()
	again := s.post()
	s.ran(1)
	check.Equal(x, first.status, http.StatusCreated, "status")
	check.Equal(x, first.header.Get("Idempotency-Stored"), "", "Idempotency-Stored")
	s.replays(again, first)
}

func outcomesLost(x *trial) {
	s := x.serve(setup{}, pay)
	s.lose(storetest.VerbComplete, true)
	first := s.post()
	again := s.post() // the store has it, though the door does not know
	s.ran(1)
	check.Equal(x, first.status, http.StatusCreated, "status")
	check.Equal(x, first.header.Get("Idempotency-Stored"), "false", "Idempotency-Stored")
	s.replays(again, first)
	s.down(false)
	s.settled(x, storetest.VerbComplete)
	s.replays(s.post(), first)
	s.ran(1)
}

func damaged(x *trial) {
	s := x.serve(setup{}, func(s *service, w http.ResponseWriter, r *http.Request, run int) {
		s.damage(r)
		pay(s, w, r, run)
	})
	s.post()
	retry := s.post()
	s.ran(1)
	s.problem(retry, http.StatusServiceUnavailable, "store-unavailable")
}

// retentionEnds holds back what the store says about an answer until that is gone.
func retentionEnds(x *trial) {
	s := x.serve(setup{policy: onceward.Policy{Lease: 20 * time.Millisecond, Retention: 200 * time.Millisecond}}, pay)
	first := s.post()
	arrived, open := s.hold()
	defer open()
	edge := s.start(s.request(http.MethodPost, thePath, theBody))
	x.wait(arrived, "the question")
	s.expire(x, http.MethodPost+" "+thePath)
	open()
	late := s.answered(<-edge)
	if s.ledger.count("run") == 1 {
		s.same(late, first)
	}
	s.expire(x, http.MethodPost+" "+thePath)
	before := s.ledger.count("run")
	anew := s.post()
	check.Equal(x, anew.header.Get("Idempotent-Replayed"), "", "Idempotent-Replayed")
	check.Equal(x, anew.status, http.StatusCreated, "status")
	s.ran(before + 1)
}
