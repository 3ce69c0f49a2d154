package main

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/onceward/onceward/internal/check"
)

func TestReport(t *testing.T) {
	const passed = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:4: quiet\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- PASS: TestA (0.00s)\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.002s\n"}
{"Action":"pass","Package":"p"}
`
	for _, c := range []struct {
		name, in, want string
		clean          bool
	}{
		{name: "nothing", clean: true},
		{name: "passed", in: passed, want: "ok  \tp\t0.002s\n", clean: true},
		{
			name: "no test files",
			in: `{"Action":"output","Package":"p","Output":"?   \tp\t[no test files]\n"}
{"Action":"skip","Package":"p"}`,
			want:  "?   \tp\t[no test files]\n",
			clean: true,
		},
		{
			name: "skipped",
			in: `{"Action":"output","Package":"q","Test":"TestB","Output":"    b_test.go:5: no server\n"}
{"Action":"skip","Package":"q","Test":"TestB"}
` + passed,
			want: "    b_test.go:5: no server\nok  \tp\t0.002s\nSKIPPED\tq TestB\n",
		},
		{
			name: "failed",
			in: `{"Action":"output","Package":"q","Test":"TestB/sub","Output":"    b_test.go:6: bad\n"}
{"Action":"output","Package":"q","Test":"TestB/sub","Output":"--- FAIL: TestB/sub (0.00s)\n"}
{"Action":"fail","Package":"q","Test":"TestB/sub"}
{"Action":"output","Package":"q","Test":"TestB","Output":"--- FAIL: TestB (0.00s)\n"}
{"Action":"fail","Package":"q","Test":"TestB"}
{"Action":"output","Package":"q","Output":"FAIL\tq\t0.002s\n"}
{"Action":"fail","Package":"q"}
`,
			want: "    b_test.go:6: bad\n--- FAIL: TestB/sub (0.00s)\n--- FAIL: TestB (0.00s)\nFAIL\tq\t0.002s\n",
		},
		{
			name: "died in the middle",
			in: `{"Action":"output","Package":"q","Test":"TestB","Output":"fatal error: all goroutines are asleep\n"}
{"Action":"output","Package":"q","Output":"FAIL\tq\t0.002s\n"}
{"Action":"fail","Package":"q"}
`,
			want: "FAIL\tq\t0.002s\nfatal error: all goroutines are asleep\n",
		},
		{
			name: "does not build",
			in: `{"ImportPath":"q","Action":"build-output","Output":"q.go:3:27: undefined: x\n"}
{"ImportPath":"q","Action":"build-fail"}`,
			want: "q.go:3:27: undefined: x\n",
		},
		{name: "plain text", in: "go: no such tool\n", want: "go: no such tool\n", clean: true},
	} {
		var out strings.Builder
		clean, err := report(strings.NewReader(c.in), &out)
		check.NoError(t, err, "%s", c.name)
		check.Equal(t, out.String(), c.want, "printed: %s", c.name)
		check.Equal(t, clean, c.clean, "clean: %s", c.name)
	}
}

func TestReadError(t *testing.T) {
	torn := errors.New("pipe torn")
	clean, err := report(iotest.ErrReader(torn), &strings.Builder{})
	check.ErrorIs(t, err, torn, "the input's error")
	check.True(t, !clean, "a stream that was not read to its end is not clean")
}
