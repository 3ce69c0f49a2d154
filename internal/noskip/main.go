// Command noskip reads what go test -json writes, prints it as plain go test would, and fails if a test failed or was
// skipped: whoever reads only the closing lines takes a skipped test for a passed one.
//
// It exits with 1 then, and with 2 if the input cannot be read. A package without test files is no skip.
package main

import (
	"fmt"
	"os"
)

func main() {
	clean, err := report(os.Stdin, os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "noskip:", err)
		os.Exit(2)
	case !clean:
		os.Exit(1)
	}
}
