package oncehttp

import "net/http"

// Class says what an answer means for its key.
type Class int

// The classes. The zero value means the rules of [Options].Classify's comment.
const (
	// Final is the end: the answer is stored and replayed.
	Final Class = iota + 1
	// Released means that nothing happened: the next request with the key runs.
	Released
	// InDoubt means that nobody can say how it ended: the first client gets the answer, retries get 409 in-doubt.
	InDoubt
	// NoStore is an end whose answer must not be kept: retries get 409 outcome-not-stored.
	NoStore
)

var controls = map[string]Class{"final": Final, "retry": Released, "in-doubt": InDoubt, "no-store": NoStore}

// classOf asks the handler's word first, then Classify, then the rules.
func (x *exchange) classOf(rec *recorder) Class {
	if class, ok := controls[rec.control]; ok {
		return class
	}
	if x.Classify != nil {
		if class := x.Classify(rec.status, rec.w.Header()); class >= Final && class <= NoStore {
			return class
		}
	}
	switch status := rec.status; status {
	case http.StatusSwitchingProtocols:
		return NoStore
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusRequestTimeout,
		http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusTooManyRequests:
		return Released
	case http.StatusServiceUnavailable:
		// Without the field it proves nothing: http.TimeoutHandler says 503 while the handler goes on.
		if first(rec.head, "Retry-After") != "" {
			return Released
		}
		fallthrough
	default:
		if status >= 500 && x.rerun() {
			return Released
		}
		return Final
	}
}
