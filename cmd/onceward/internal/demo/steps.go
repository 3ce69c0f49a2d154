package demo

import (
	"fmt"

	"github.com/onceward/onceward"
)

// Place is where a demo runs.
type Place struct {
	Base    string // of the API, such as http://127.0.0.1:8080
	Scope   string // of all keys
	Command string // that starts the command line, such as onceward
	Store   string // the data directory
}

// Step is a command to try, and what it shows.
type Step struct {
	Shows, Command string
}

// Steps are commands for bash, in the order in which they make sense.
func Steps(at *Place) []Step {
	slow := ` -H 'X-Demo-Delay: 3s'`
	crash := ` -H 'X-Demo-Crash: after'`
	wait := ` -H 'X-Demo-Delay: 1s' -H 'Prefer: wait=10'`
	return []Step{
		{"A first payment: 201", at.pay("first", "12", "")},
		{"The same again: the same answer, with Idempotent-Replayed: true", at.pay("first", "12", "")},
		{"The key of one payment on another: 422 key-reused", at.pay("first", "13", "")},
		{"Two at once that are ready to wait: one payment, two equal answers, one of them replayed",
			at.pay("twins", "20", wait) + " & " + at.pay("twins", "20", wait) + " & wait"},
		{"A slow one that is retried meanwhile: 409 in-progress for the retry, then 201 for the first",
			at.pay("slow", "30", slow) + " & sleep 1; " + at.pay("slow", "30", slow) + "; wait"},
		{"And retried after its end: the answer, at once", at.pay("slow", "30", slow)},
		{"One in which the API dies after it has paid: 502 upstream-failed, and nobody can say whether it was made",
			at.pay("broken", "40", crash)},
		{"And retried: 409 in-doubt, because it could be paid twice", at.pay("broken", "40", "")},
		{"What an operator sees: one key in doubt", at.keys("list", "--state in-doubt")},
		{"The operator asks the API: there are four payments, the one in doubt among them, once",
			"curl -i " + at.Base + "/api/payments"},
		{"And says so, with the answer that the client should have had", fmt.Sprintf(`echo '{"id":"p-4","amount":40,"to":"bob"}' | `+
			at.keys("resolve", `%.12s --done --status 201 --header 'Content-Type: application/json' --body - --reason 'found in the ledger'`),
			at.id("broken"))},
		{"Retried again: 201, the answer that was given, with Idempotent-Replayed: true", at.pay("broken", "40", "")},
		{"A route on which a missing key is derived from the body: 201, with Idempotency-Key-Derived: true", at.keyless("50")},
		{"The same again: the same payment, replayed", at.keyless("50")},
	}
}

func (at *Place) pay(key, amount, more string) string {
	return fmt.Sprintf(`curl -i %s/api/payments -H 'Idempotency-Key: %s' -H 'Content-Type: application/json'%s -d '{"amount":%s,"to":"bob"}'`,
		at.Base, key, more, amount)
}

func (at *Place) keyless(amount string) string {
	return fmt.Sprintf(`curl -i %s%s -H 'Content-Type: application/json' -d '{"amount":%s,"to":"bob"}'`, at.Base, Keyless, amount)
}

func (at *Place) keys(verb, rest string) string {
	return fmt.Sprintf("%s keys %s --store %s %s", at.Command, verb, at.Store, rest)
}

// id is how the store names a payment's key.
func (at *Place) id(key string) string {
	return onceward.Key{Scope: at.Scope, Operation: "POST /api/payments", Value: key}.ID().String()
}
