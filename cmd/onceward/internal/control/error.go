package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/onceward/onceward/driver"
)

// Code says what kind of error it is.
type Code string

// The codes.
const (
	Wrong       Code = "wrong"       // the request
	NotFound    Code = "not-found"   // there is no such key
	Ambiguous   Code = "ambiguous"   // there is more than one
	Lost        Code = "lost"        // the key is not what it was when the operator saw it
	Unavailable Code = "unavailable" // the store refused, and did nothing
	Unsupported Code = "unsupported" // the store, or this process, cannot do it
	Unknown     Code = "unknown"     // it may have happened or not
)

// Error is what went wrong, the same from a [Desk] and a [Client]. It is driver.ErrLost or driver.ErrUnavailable for
// errors.Is if its code says so.
type Error struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
}

func (e *Error) Error() string { return e.Text }

// Is is for errors.Is.
func (e *Error) Is(target error) bool {
	switch e.Code {
	case Lost:
		return target == driver.ErrLost
	case Unavailable:
		return target == driver.ErrUnavailable
	default:
		return false
	}
}

// IsNotFound reports whether err says that there is no such key.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == NotFound
}

func (e *Error) status() int {
	switch e.Code {
	case Wrong:
		return http.StatusBadRequest
	case NotFound:
		return http.StatusNotFound
	case Ambiguous, Lost:
		return http.StatusConflict
	case Unavailable:
		return http.StatusServiceUnavailable
	case Unsupported:
		return http.StatusNotImplemented
	default:
		return http.StatusInternalServerError
	}
}

// storeError is what the store said, and of what it said it.
func storeError(doing string, err error) error {
	code := Unknown
	switch {
	case errors.Is(err, driver.ErrUnavailable):
		code = Unavailable
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("it took too long: %w", err)
	}
	return &Error{code, fmt.Sprintf("%s: %v", doing, err)}
}
