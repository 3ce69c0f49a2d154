package spec

import (
	"fmt"
	"maps"
	"slices"
)

// Word is what a client of a guard was told.
type Word uint8

// The words.
const (
	Answered Word = iota // with the outcome, its own or a replay
	Busy                 // somebody else runs it
	Doubted              // nobody can say how it ended
	Refused              // nothing was run
	Failed               // the operation ended without an answer to this client
)

func (w Word) String() string {
	return [...]string{"answered", "busy", "in doubt", "refused", "failed"}[w]
}

// Reply is what one request for a key came to.
type Reply struct {
	Key     string
	Sent    int64 // its place in the order in which things were sent and heard
	Heard   int64
	Word    Word
	Answer  string
	Pending bool // the client was told that the answer is not stored yet
	Final   bool // it was sent when everything had come to rest
}

// Compare judges what clients were told of keys whose retention is not over, given how often each operation was started.
// Each start must have another answer. It returns what is wrong, nothing if all is well. It needs no search: whoever has
// got an answer has fixed what everybody else gets.
func Compare(replies []Reply, starts map[string]int, atMostOnce bool) (wrong []string) {
	byKey := map[string][]Reply{}
	for _, r := range replies {
		byKey[r.Key] = append(byKey[r.Key], r)
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		for _, what := range compareOne(byKey[key]) {
			wrong = append(wrong, key+": "+what)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(starts)) {
		if starts[key] > 1 && atMostOnce {
			wrong = append(wrong, fmt.Sprintf("%s: it was started %d times", key, starts[key]))
		}
	}
	return wrong
}

func compareOne(replies []Reply) (wrong []string) {
	slices.SortFunc(replies, func(a, b Reply) int { return int(a.Heard - b.Heard) })
	first := slices.IndexFunc(replies, func(r Reply) bool { return r.Word == Answered })
	if first < 0 {
		return nil
	}
	stored := slices.IndexFunc(replies, func(r Reply) bool { return r.Word == Answered && !r.Pending })
	for _, r := range replies {
		switch {
		case r.Word == Answered && r.Answer != replies[first].Answer:
			wrong = append(wrong, fmt.Sprintf("two answers, %q and %q", replies[first].Answer, r.Answer))
		case r.Final && r.Word != Answered:
			wrong = append(wrong, fmt.Sprintf("an answer was given, and in the end it is %v", r.Word))
		case stored >= 0 && r.Sent > replies[stored].Heard && (r.Word == Busy || r.Word == Doubted):
			wrong = append(wrong, fmt.Sprintf("a stored answer was given, and later it is %v", r.Word))
		}
	}
	return wrong
}
