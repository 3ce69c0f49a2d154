package demo

import "fmt"

// Step is a command to try, and what it shows.
type Step struct {
	Shows, Command string
}

// Steps are commands for bash, in the order in which they make sense, against an API at base, such as
// http://127.0.0.1:8080.
func Steps(base string) []Step {
	api := base + "/api/payments"
	pay := func(key, amount, more string) string {
		return fmt.Sprintf(`curl -i %s -H 'Idempotency-Key: %s' -H 'Content-Type: application/json'%s -d '{"amount":%s,"to":"bob"}'`,
			api, key, more, amount)
	}
	slow := ` -H 'X-Demo-Delay: 3s'`
	broken := ` -H 'X-Demo-Break: 1'`
	wait := ` -H 'X-Demo-Delay: 1s' -H 'Prefer: wait=10'`
	return []Step{
		{"A first payment: 201", pay("first", "12", "")},
		{"The same again: the same answer, with Idempotent-Replayed: true", pay("first", "12", "")},
		{"The key of one payment on another: 422 key-reused", pay("first", "13", "")},
		{"Two at once that are ready to wait: one payment, two equal answers, one of them replayed",
			pay("twins", "20", wait) + " & " + pay("twins", "20", wait) + " & wait"},
		{"A slow one that is retried meanwhile: 409 in-progress for the retry, then 201 for the first",
			pay("slow", "30", slow) + " & sleep 1; " + pay("slow", "30", slow) + "; wait"},
		{"And retried after its end: the answer, at once", pay("slow", "30", slow)},
		{"One whose connection breaks off after the API has paid: 502 upstream-failed, and nobody can say whether it was made",
			pay("broken", "40", broken)},
		{"And retried: 409 in-doubt, because it could be paid twice", pay("broken", "40", broken)},
		{"The ledger: four payments, the one in doubt among them, once", "curl -i " + api},
	}
}
