package cli

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward/cmd/onceward/internal/proxy"
)

// flag is a flag whose text is read by parse, so that a wrong one is refused with the flag's name, the text and what is
// accepted.
type flag[T any] struct {
	value      *T
	text, kind string
	parse      func(string) (T, error)
}

func (f *flag[T]) String() string { return f.text }
func (f *flag[T]) Type() string   { return f.kind }

func (f *flag[T]) Set(text string) error {
	v, err := f.parse(text)
	if err != nil {
		return err
	}
	*f.value, f.text = v, text
	return nil
}

// add adds a flag. Preset is the text of its default; without one the flag is unset.
func add[T any](cmd *cobra.Command, value *T, name, preset, kind, usage string, parse func(string) (T, error)) {
	f := &flag[T]{value: value, kind: kind, parse: parse}
	if preset != "" {
		if err := f.Set(preset); err != nil {
			panic(fmt.Sprintf("--%s does not take its own default: %v", name, err))
		}
	}
	cmd.Flags().Var(f, name, usage)
}

// oneOf reads one of names, as the value at the same place.
func oneOf[T any](names []string, values ...T) func(string) (T, error) {
	return func(text string) (T, error) {
		if i := slices.Index(names, text); i >= 0 {
			return values[i], nil
		}
		var zero T
		last := len(names) - 1
		return zero, fmt.Errorf("want %s or %s", strings.Join(names[:last], ", "), names[last])
	}
}

// atLeast reads a duration.
func atLeast(least time.Duration) func(string) (time.Duration, error) {
	return func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err != nil || d < least {
			return 0, fmt.Errorf("want a duration of at least %v, such as 500ms, 30s, 10m or 24h", least)
		}
		return d, nil
	}
}

// size reads a number of bytes.
func size(text string) (int64, error) {
	digits := strings.TrimRight(text, "BKMGi")
	shift, known := map[string]uint{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30}[text[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n < 1 || n<<shift>>shift != n {
		return 0, errors.New("want a number of bytes of at least 1, such as 4096, 64KiB, 16MiB or 1GiB")
	}
	return n << shift, nil
}

// guardable reads a list of methods.
func guardable(text string) ([]string, error) {
	methods := strings.Split(text, ",")
	for _, method := range methods {
		outside := strings.ContainsFunc(method, func(c rune) bool { return c < 'A' || c > 'Z' })
		if method == "" || outside || proxy.Safe(method) || method == "CONNECT" {
			return nil, errors.New("want methods that change something, in capitals, such as POST,PATCH,PUT,DELETE")
		}
	}
	return methods, nil
}

// address reads where to listen.
func address(text string) (string, error) {
	if _, _, err := net.SplitHostPort(text); err != nil {
		return "", errors.New("want HOST:PORT, such as 127.0.0.1:8080, or 127.0.0.1:0 for any free port")
	}
	return text, nil
}

// upstream reads where to pass requests on to.
func upstream(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("want http://HOST[:PORT][/PATH] or https://…, without a user, query and fragment")
	}
	return u, nil
}
