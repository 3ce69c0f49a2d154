package partitions

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/onceward/onceward/proof/kills"
)

// verdict says what happened, and what of it should not have.
type verdict struct {
	counts  map[string]int
	slowest time.Duration // to be decided, after the cut had healed
	wrong   map[string]int
	words   []string // about the first few
}

func newVerdict() *verdict {
	return &verdict{counts: map[string]int{}, wrong: map[string]int{}}
}

func (v *verdict) String() string {
	return fmt.Sprintf("%v, slowest %v, wrong %v", v.counts, v.slowest, v.wrong)
}

func (v *verdict) add(other *verdict) {
	for name, n := range other.counts {
		v.counts[name] += n
	}
	for name, n := range other.wrong {
		v.wrong[name] += n
	}
	v.slowest = max(v.slowest, other.slowest)
	v.words = append(v.words, other.words...)
}

func (v *verdict) count(name string, ok bool) {
	if ok {
		v.counts[name]++
	}
}

// complainf is about a key.
func (v *verdict) complainf(s *scene, k *key, what, format string, args ...any) {
	v.wrong[what]++
	if len(v.words) < 10 {
		v.words = append(v.words, fmt.Sprintf("%s: %s: %s, %v, %s", what, s.name, k.name, k.cut, fmt.Sprintf(format, args...)))
	}
}

// judge compares what was told with what was started and with what was committed.
func (s *scene) judge() (*verdict, error) {
	v := newVerdict()
	effects, err := s.effects()
	if err != nil {
		return nil, err
	}
	for _, k := range s.keys {
		entries := s.ledger.of(k.name)
		v.counts["keys"]++
		v.counts["runs"] += len(entries)
		if s.mode == kills.Tx {
			v.counts["rolled back"] += len(entries) - len(effects[k.name])
			s.judgeEffects(v, k, effects[k.name])
		} else {
			s.judgeRuns(v, k, entries)
		}
		s.judgeAnswers(v, k, entries)
		s.judgeTimes(v, k)
		if k.ran {
			s.judgeOwner(v, k, entries)
		} else {
			v.count("hit", slices.ContainsFunc(k.heard, func(h heard) bool { return h.owner && (h.late || h.code == "store-unavailable") }))
		}
	}
	return v, nil
}

func (s *scene) judgeEffects(v *verdict, k *key, effects []string) {
	if len(effects) > 1 {
		v.complainf(s, k, "twice", "%d effects", len(effects))
	}
	for i := range k.heard {
		if h := &k.heard[i]; h.answer != "" && !slices.Contains(effects, h.answer) {
			v.complainf(s, k, "unfounded", "no effect belongs to the answer %s", h.answer)
		}
	}
}

// judgeRuns lets nobody but rerun and an operator start something again, and those in order. The control says that it is hold.
func (s *scene) judgeRuns(v *verdict, k *key, entries []entry) {
	if len(entries) > 1 && s.mode != kills.Rerun && (!k.resolved || len(entries) > 2) {
		v.complainf(s, k, "twice", "%d runs", len(entries))
	}
	for i := 1; i < len(entries); i++ {
		if early := k.held.Sub(entries[i].at); early > 5*time.Millisecond { // stores cut their times to milliseconds
			v.complainf(s, k, "early", "it ran again %v before the lease was over", early)
		}
		if entries[i].Fence <= entries[i-1].Fence {
			v.complainf(s, k, "fences", "%d came after %d", entries[i].Fence, entries[i-1].Fence)
		}
	}
}

// judgeAnswers wants one answer, of somebody who ran, and no other words than the documented ones.
func (s *scene) judgeAnswers(v *verdict, k *key, entries []entry) {
	var answers []string
	for i := range k.heard {
		h := &k.heard[i]
		v.count("late answers", h.late)
		v.count("refused", h.owner && h.code == "store-unavailable")
		v.count("refused by the witness", !h.owner && h.code == "store-unavailable")
		v.count("doubted", h.code == "in-doubt")
		v.count("answers not stored yet", h.unstored)
		if !s.legal(h) {
			v.complainf(s, k, "unexpected", "%+v", *h)
		}
		// An answer that is said not to be stored may be another one in the end, where somebody else may run.
		if h.answer != "" && (!h.unstored || s.mode != kills.Rerun && !k.resolved) {
			answers = append(answers, h.answer)
		}
	}
	slices.Sort(answers)
	answers = slices.Compact(answers)
	if len(answers) > 1 {
		v.complainf(s, k, "differing", "%q", answers)
	}
	for _, answer := range answers {
		if !slices.ContainsFunc(entries, func(e entry) bool { return e.gave(answer) }) {
			v.complainf(s, k, "unfounded", "nobody ran for the answer %s", answer)
		}
	}
}

// legal reports whether a caller may be told that. Under rerun and in a transaction only an owner that cannot look is in doubt.
func (s *scene) legal(h *heard) bool {
	switch h.code {
	case "":
		return h.err == nil && h.status == http.StatusCreated
	case "store-unavailable":
		return h.status == http.StatusServiceUnavailable // by the witness too, when the machine is slow or others hold up a commit
	case "in-progress":
		return h.status == http.StatusConflict
	default:
		return h.code == "in-doubt" && h.status == http.StatusConflict && (h.owner || s.mode == kills.Hold)
	}
}

// judgeTimes wants that both sides know the answer soon.
func (s *scene) judgeTimes(v *verdict, k *key) {
	for _, took := range []time.Duration{k.witness, k.owner} {
		v.slowest = max(v.slowest, took)
		if took > k.cut.settles(s.lease) {
			v.complainf(s, k, "undecided", "it took %v; heard: %+v", took, k.heard)
		}
	}
}

// judgeOwner is about the handler that ran when the cut came, and its caller.
func (s *scene) judgeOwner(v *verdict, k *key, entries []entry) {
	final := k.heard[len(k.heard)-1].answer
	own, again := entries[0].gave(final), len(entries) > 1
	v.count("resolved", k.resolved)
	v.count("taken over", again && !k.resolved && s.mode == kills.Rerun)
	v.count("told while they ran", entries[0].lost)
	v.count("got what is stored instead", !own && k.first.answer == final)
	doubted := slices.ContainsFunc(k.heard, func(h heard) bool { return h.code == "in-doubt" && !h.owner })
	v.count("came back", doubted && own)
	switch {
	case s.mode == kills.Hold && entries[0].lost && !k.resolved:
		v.complainf(s, k, "cancelled", "nobody else could have it")
	case s.mode == kills.Hold && !own && !k.resolved:
		v.complainf(s, k, "refused its owner", "the end is %s", final)
	case s.mode == kills.Rerun && again && !k.cut.Midway && !entries[0].lost && k.healed.Sub(entries[1].at) > s.lease/4:
		v.complainf(s, k, "not told", "another handler has run while the first one did")
	}
}

// gave reports whether the answer is that of the execution.
func (e *entry) gave(answer string) bool { return strings.HasPrefix(answer, e.String()) }

func (e *entry) String() string {
	return fmt.Sprintf("%s by the %s with fence %d:", e.Name, e.Node, e.Fence)
}
