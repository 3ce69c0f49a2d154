package onceward_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// pages are the Markdown files of the project.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		texts[path] = string(text)
		return err
	})
	check.NoError(t, err, "reading the pages")
	return texts
}

// The Go code of the README is taken from examples, which are run.
func TestTheCodeOfTheREADMEIsRun(t *testing.T) {
	examples := ""
	for _, path := range []string{"example_test.go", "oncehttp/example_test.go"} {
		text, err := os.ReadFile(path)
		check.NoError(t, err, "%s", path)
		examples += unindented(string(text))
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(pages(t)["README.md"], -1)
	check.True(t, len(blocks) >= 2, "%d blocks of Go in the README", len(blocks))
	for _, block := range blocks {
		check.True(t, strings.Contains(examples, unindented(block[1])), "not taken from an example:\n%s", block[1])
	}
}

func unindented(code string) string {
	return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(code, "")
}

func TestLinksBetweenPagesLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]*)(?:#([^)\s]+))?\)`)
	count := 0
	all := pages(t)
	for path, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target := path
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(path), m[1])
			}
			_, err := os.Stat(target)
			check.NoError(t, err, "%s links to %s", path, m[0])
			if m[2] != "" {
				check.True(t, anchors(all[target])[m[2]], "%s links to %s: there is no such heading", path, m[0])
			}
			count++
		}
	}
	check.True(t, count > 30, "only %d links were found", count)
}

// anchors are the headings as GitHub links to them.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		kept := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(m[1]), "")
		found[strings.ReplaceAll(kept, " ", "-")] = true
	}
	return found
}

// A guarantee names the test that shows it.
func TestTheTestsThatThePagesNameExist(t *testing.T) {
	exists := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			exists[m[1]] = true
		}
		return err
	})
	check.NoError(t, err, "reading the tests")
	count := 0
	for path, text := range pages(t) {
		for _, m := range regexp.MustCompile("`?((?:Test|Fuzz)[A-Z]\\w+)`?").FindAllStringSubmatch(text, -1) {
			check.True(t, exists[m[1]], "%s names %s, which does not exist", path, m[1])
			count++
		}
	}
	check.True(t, count > 40, "only %d tests are named", count)
}
