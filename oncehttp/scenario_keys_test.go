package oncehttp_test

import (
	"bufio"
	"errors"
	"net/http"
	"strings"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/storetest"
)

var scenariosOfKeys = []scenario{
	{
		name: "keys that are none", run: wrongKeys,
		promise: "a key that cannot be read is refused before anybody is asked, and the request does not run without it",
	},
	{
		name: "nobody's key", run: nobodysKey,
		promise: "a key is refused if nobody knows whose it is",
	},
	{
		name: "isolation", http2: true, run: isolation,
		promise: "another tenant, method, path or key is another operation, and nobody gets the answer of another",
	},
	{
		name: "a key that looks like the store's own", run: storesOwnKey,
		promise: "whatever a client writes into its key, it names nothing but its own operation",
	},
	{
		name: "nothing secret is logged", run: nothingLogged,
		promise: "no body, no key and no token is in the log",
	},
}

func wrongKeys(x *trial) {
	s := x.serve(setup{}, pay)
	asked := s.asked()
	const field = "Idempotency-Key: "
	for _, c := range []struct {
		name, lines string
		early       bool // net/http itself refuses it
	}{
		{name: "empty", lines: field},
		{name: "blank", lines: field + " \t "},
		{name: "empty, quoted", lines: field + `""`},
		{name: "with a space", lines: field + "a b"},
		{name: "with a tab", lines: field + "a\tb"},
		{name: "with a control character", lines: field + "a\x01b", early: true},
		{name: "with NUL", lines: field + "a\x00b", early: true},
		{name: "with DEL", lines: field + "a\x7fb", early: true},
		{name: "not ASCII", lines: field + "schlüssel"},
		{name: "not ASCII, quoted", lines: field + `"schlüssel"`},
		{name: "not UTF-8", lines: field + "a\xffb"},
		{name: "an open quote", lines: field + `"a`},
		{name: "only a quote", lines: field + `"`},
		{name: "a quote inside", lines: field + `a"b`},
		{name: "text after the quote", lines: field + `"a"b`},
		{name: "a wrong escape", lines: field + `"a\n"`},
		{name: "a broken parameter", lines: field + `"a";`},
		{name: "a bare parameter", lines: field + "a;v=1"},
		{name: "a list", lines: field + "a, b"},
		{name: "a quoted list", lines: field + `"a", "b"`},
		{name: "too long", lines: field + strings.Repeat("k", 256)},
		{name: "too long, quoted", lines: field + `"` + strings.Repeat("k", 256) + `"`},
		{name: "far too long", lines: field + strings.Repeat("k", 900<<10)},
		{name: "repeated", lines: field + "a\r\n" + field + "a"},
		{name: "repeated in another case", lines: field + "a\r\nidempotency-key: b"},
		{name: "one of them empty", lines: field + "\r\n" + field + "a"},
		{name: "hop by hop", lines: field + "a\r\nConnection: Idempotency-Key"},
		{name: "folded", lines: field + "a\r\n b"},
	} {
		conn := s.dial("POST " + thePath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + c.lines + "\r\n\r\n{}")
		r := s.hear(bufio.NewReader(conn))
		check.True(x, r.status == http.StatusBadRequest, "%s: the answer is %d %.100q, want 400", c.name, r.status, r.body)
		if !c.early {
			s.problem(r, http.StatusBadRequest, "key-invalid")
		}
		_ = conn.Close()
	}
	s.ran(0)
	check.Equal(x, s.asked(), asked, "what the store was asked")
}

func nobodysKey(x *trial) {
	for _, err := range []error{nil, errors.New("secret")} {
		s := x.serve(setup{scope: func(*http.Request) (string, error) { return "", err }}, pay)
		asked := s.asked()
		r := s.post()
		s.ran(0)
		s.problem(r, http.StatusBadRequest, "scope-missing")
		check.True(x, !strings.Contains(r.body, "secret"), "internal text: %q", r.body)
		check.Equal(x, s.asked(), asked, "what the store was asked")
	}
}

func isolation(x *trial) {
	s := x.serve(setup{scope: func(r *http.Request) (string, error) { return r.Header.Get("X-Tenant"), nil }}, pay)
	var first [16]reply
	for round := range 2 {
		for i := range first {
			of := func(bit int, names string) string { return strings.Fields(names)[i>>bit&1] }
			r := s.request(of(0, "POST PATCH"), of(1, "/payments /payments/"), theBody,
				"X-Tenant", of(2, "a ab"), "Idempotency-Key", of(3, "k bk"))
			name := operation(r)
			answer := s.send(r)
			check.True(x, strings.Contains(answer.body, `"by":"`+name+`"`), "%s got the answer %q", name, answer.body)
			check.Equal(x, s.ledger.count(name), 1, "runs of %s", name)
			if round == 0 {
				first[i] = answer
				check.Equal(x, answer.header.Get("Idempotent-Replayed"), "", "%s: Idempotent-Replayed", name)
				continue
			}
			s.replays(answer, first[i])
		}
		s.ran(len(first))
	}
}

func storesOwnKey(x *trial) {
	end := x.gate()
	s := x.serve(setup{}, func(s *service, w http.ResponseWriter, r *http.Request, run int) {
		if r.Header.Get("Idempotency-Key") == theKey && run == 1 {
			<-end.opened
		}
		pay(s, w, r, run)
	})
	first := s.start(s.request(http.MethodPost, thePath, theBody))
	s.ledger.reach(x, "run", 1)
	other := s.post("Idempotency-Key", "lock:"+theKey)
	end.open()
	s.answered(<-first)
	check.True(x, other.status == http.StatusCreated, "the answer is %d %q", other.status, other.body)
	s.ran(2)
	check.Equal(x, s.ledger.count(" POST "+thePath+" "+theKey), 1, "runs with the plain key")
}

func nothingLogged(x *trial) {
	s := x.serve(setup{}, pay)
	s.post()
	s.post()
	s.send(s.request(http.MethodPost, thePath, "{}"))
	s.lose(storetest.VerbAcquire, false)
	s.post("Idempotency-Key", theKey+"-2")
	log := x.door.log.String()
	check.True(x, !strings.Contains(log, canary), "a body, a key or a token is in the log")
}
