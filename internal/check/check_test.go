package check

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// recorder is a test that may fail.
type recorder struct {
	testing.TB

	failures []string
	cleanups []func()
}

func (r *recorder) Helper()                   {}
func (r *recorder) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(f string, a ...any) { r.failures = append(r.failures, fmt.Sprintf(f, a...)) }
func (r *recorder) Fatalf(f string, a ...any) { r.Errorf(f, a...) }

func TestEachAssertionCanFail(t *testing.T) {
	boom := errors.New("boom")
	for name, assert := range map[string]func(testing.TB, bool){
		"Equal": func(t testing.TB, ok bool) { Equal(t, ok, true, "it") },
		"True":  func(t testing.TB, ok bool) { True(t, ok, "it") },
		"NoError": func(t testing.TB, ok bool) {
			NoError(t, map[bool]error{false: boom}[ok], "it")
		},
		"ErrorIs": func(t testing.TB, ok bool) {
			ErrorIs(t, map[bool]error{true: fmt.Errorf("wrapped: %w", boom), false: errors.New("other")}[ok], boom, "it")
		},
	} {
		for _, ok := range []bool{true, false} {
			var r recorder
			assert(&r, ok)
			if failed := len(r.failures) > 0; failed == ok {
				t.Errorf("%s(%v): failed = %v", name, ok, failed)
			}
			if !ok && !strings.Contains(r.failures[0], "it") {
				t.Errorf("%s does not say what is wrong: %q", name, r.failures[0])
			}
		}
	}
}

func TestNoLeaksSeesALeak(t *testing.T) {
	var r recorder
	NoLeaks(&r)
	release := make(chan struct{})
	defer close(release)
	go func() { <-release }()
	for _, f := range r.cleanups {
		f()
	}
	if len(r.failures) == 0 {
		t.Error("a goroutine was left and nothing was said")
	}
}
