package cli

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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

// upstream reads where to pass requests on to.
func upstream(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	known := err == nil && slices.Contains([]string{"http", "https", "h2c"}, u.Scheme)
	if !known || u.Hostname() == "" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("want http://HOST[:PORT][/PATH], https://… or h2c://…, without a user, query and fragment")
	}
	if _, err := portNumber(u.Port()); u.Port() != "" && err != nil {
		return nil, errors.New("want a port of at most 65535")
	}
	return u, nil
}

// didYouMean adds the nearest flag to the error about one that does not exist.
func didYouMean(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	name, nearest, least := unknown.GetSpecifiedName(), "", 3
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if d := distance(name, f.Name); d < min(least, len(name)) {
			nearest, least = f.Name, d
		}
	})
	if nearest == "" {
		return err
	}
	return fmt.Errorf("%w; did you mean --%s?", err, nearest)
}

// distance counts the letters that have to be inserted, removed or replaced to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // of the prefixes of b, for the part of a that was read
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
