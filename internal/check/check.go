// Package check is the few assertions that this project's tests use.
package check

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
)

// Equal ends the test unless got and want are deeply equal. what names the thing and may hold format verbs for args.
func Equal[T any](t testing.TB, got, want T, what string, args ...any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s\n got: %#v\nwant: %#v", fmt.Sprintf(what, args...), got, want)
	}
}

// True ends the test unless ok.
func True(t testing.TB, ok bool, what string, args ...any) {
	t.Helper()
	if !ok {
		t.Fatalf(what, args...)
	}
}

// NoError ends the test if err is not nil.
func NoError(t testing.TB, err error, what string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: unexpected error: %v", fmt.Sprintf(what, args...), err)
	}
}

// ErrorIs ends the test unless err is target.
func ErrorIs(t testing.TB, err, target error, what string, args ...any) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s\n got error: %v\nwant error: %v", fmt.Sprintf(what, args...), err, target)
	}
}
