package onceward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/onceward/onceward/driver"
)

// handlerFailed is the stored message of an operation that panicked. What it panicked with stays inside.
const handlerFailed = "onceward: handler-failed: the operation panicked"

// Do runs fn once for the key and gives everyone who asks the same result, as JSON keeps it: the first caller, too, gets
// what a replay would decode. Input is what makes two requests the same, compared as JSON by value.
//
// An error of fn is stored and replayed as a [StoredError] under [Hold], and releases the key under [Rerun]; [Final] and
// [Retryable] say otherwise. A context error ends it as [Attempt.Doubt] does, and is returned as ErrInDoubt. A panic is
// stored or released like an error, and goes on. A result that cannot be encoded is returned with an error that is
// ErrNotStored; retries get that error too. A stored result that was made as another type is an error. In none of these
// cases fn runs again by itself. A type of which JSON keeps nothing, because its fields are not exported, is an error
// before fn runs.
//
// Do returns a [RefusedError] when fn did not run and there is no result to replay. If the store does not answer at the
// end, the caller gets its result all the same, and the guard keeps trying to store it. fn may end its attempt itself, and
// Do then returns what fn returns.
//
// fn runs in the caller's goroutine with a context from which [FromContext] finds the attempt; ctx only bounds how long Do
// asks and waits for the key, unless the policy says FollowCaller.
func Do[In, Out any](
	ctx context.Context, g *Guard, key Key, input In, fn func(ctx context.Context) (Out, error),
) (Out, error) {
	var none Out
	switch {
	case g == nil:
		return none, errors.New("onceward: Do needs a guard: make one with New")
	case fn == nil:
		return none, fmt.Errorf("onceward: Do of %q needs a function to run", key.Operation)
	}
	if err := keepable(reflect.TypeFor[Out]()); err != nil {
		return none, fmt.Errorf("onceward: the result of %q could not be replayed: %w", key.Operation, err)
	}
	fingerprint, err := fingerprintOf(key, input)
	if err != nil {
		return none, err
	}
	a, err := g.Begin(ctx, key, nil, fingerprint)
	if err != nil {
		return none, err
	}
	if stored, ok := a.Outcome(); ok {
		return decode[Out](stored, true)
	}
	out, err := run(a, fn)
	switch {
	case a.Ended():
		return out, err
	case err != nil:
		return failed[Out](a, err)
	}
	stored, err := encode(out)
	if err != nil {
		return out, a.notEncoded(err)
	}
	return conclude[Out](a, stored)
}

func fingerprintOf[In any](key Key, input In) (Fingerprint, error) {
	err := keepable(reflect.TypeFor[In]())
	var doc []byte
	if err == nil {
		doc, err = json.Marshal(input)
	}
	if err != nil {
		return Fingerprint{}, fmt.Errorf("onceward: the input of %q cannot be compared with a retry's: %w", key.Operation, err)
	}
	return FingerprintJSON(doc)
}

// ResolveResult ends the doubt about a key of [Do] with a result, which must be of the type that Do returns there and
// not an interface. R.Outcome is made of it; otherwise it is [Guard.Resolve].
func (g *Guard) ResolveResult(ctx context.Context, key Key, result any, r driver.Resolution) error {
	value, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("onceward: the result for %q cannot be encoded: %w", key.Operation, err)
	}
	kept, err := json.Marshal(stored{Type: fmt.Sprintf("%T", result), Value: value})
	if err != nil {
		return err
	}
	r.Outcome = &driver.Outcome{Kind: driver.Answer, Bytes: kept, Retain: g.opts.Policy.Retention}
	return g.Resolve(ctx, key, r)
}

// run calls fn and stores or releases a panic or Goexit, which then goes on by itself.
func run[Out any](a *Attempt, fn func(context.Context) (Out, error)) (out Out, err error) {
	returned := false
	defer a.Cancel()
	defer func() {
		if returned {
			return
		}
		// The guard has traced what went wrong here; the panic is the error that the caller sees.
		if a.policy.OnCrash == Hold {
			_ = a.Complete(encodeError(handlerFailed))
		} else {
			_ = a.Release(handlerFailed)
		}
	}()
	out, err = fn(a.Context())
	returned = true
	return out, err
}

// conclude stores what was encoded and decodes it again, or what is stored in its place.
func conclude[Out any](a *Attempt, stored []byte) (Out, error) {
	err := a.Complete(stored)
	if err == nil || pending(err) {
		return decode[Out](stored, false)
	}
	return overtaken[Out](a, err, err)
}

// failed ends the attempt whose function returned err, and returns what the caller gets.
func failed[Out any](a *Attempt, err error) (none Out, _ error) {
	var word *ending
	said := errors.As(err, &word)
	switch {
	case !said && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return overtaken[Out](a, a.Doubt("the operation ended with: "+err.Error()), &RefusedError{Reason: ErrInDoubt, Cause: err})
	case said && !word.final, !said && a.policy.OnCrash == Rerun:
		return overtaken[Out](a, a.Release("the operation returned an error"), err)
	default:
		return conclude[Out](a, encodeError(err.Error()))
	}
}

// overtaken returns what is stored if the attempt was lost when it ended, and err if it was not.
func overtaken[Out any](a *Attempt, ended, err error) (none Out, _ error) {
	if !errors.Is(ended, ErrLeaseLost) {
		return none, err
	}
	if instead, ok := a.Outcome(); ok {
		return decode[Out](instead, true)
	}
	return none, ended
}

func (a *Attempt) notEncoded(cause error) error {
	cause = fmt.Errorf("the result cannot be encoded: %w", cause)
	if err := a.Tombstone([]byte(cause.Error())); err != nil && !pending(err) {
		return err
	}
	return &RefusedError{Reason: ErrNotStored, Cause: cause}
}

// stored is how Do keeps a result. Type guards against decoding one type as another, which JSON would often allow.
type stored struct {
	Type  string          `json:"type,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
	Error *string         `json:"error,omitempty"`
}

func encode[Out any](out Out) ([]byte, error) {
	value, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	return json.Marshal(stored{Type: reflect.TypeFor[Out]().String(), Value: value})
}

func encodeError(message string) []byte {
	text, _ := json.Marshal(stored{Error: &message}) //nolint:errchkjson // a string always encodes
	return text
}

func decode[Out any](data []byte, replayed bool) (out Out, err error) {
	var s stored
	if err := json.Unmarshal(data, &s); err != nil {
		return out, fmt.Errorf("onceward: the stored outcome is not one of Do's; it was not run again: %w", err)
	}
	if s.Error != nil {
		return out, &StoredError{Message: *s.Error, Replayed: replayed}
	}
	if want := reflect.TypeFor[Out]().String(); s.Type != want {
		return out, fmt.Errorf("onceward: the stored result is a %s and the caller wants a %s; it was not run again: "+
			"read it as the type it was made as, or wait for its retention to end", s.Type, want)
	}
	if err := json.Unmarshal(s.Value, &out); err != nil {
		return out, fmt.Errorf("onceward: the stored result cannot be decoded; it was not run again: %w", err)
	}
	return out, nil
}
