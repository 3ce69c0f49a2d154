package archtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const modulePath = "github.com/onceward/onceward"

// violations checks the files of the tree, nested modules included, against the policy.
func violations(tree fs.FS, policy []rule) ([]string, error) {
	c := checker{tree: tree, policy: policy}
	err := fs.WalkDir(tree, ".", c.visit)
	slices.Sort(c.found)
	return slices.Compact(c.found), err
}

type checker struct {
	tree   fs.FS
	policy []rule
	nested []string // directories of modules below the root
	found  []string
}

func (c *checker) visit(file string, entry fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return err
	case entry.IsDir():
		return c.directory(file)
	case strings.HasSuffix(file, ".go"):
		return c.goFile(file)
	case file == "go.mod":
		return c.rootModule()
	default:
		return nil
	}
}

func (c *checker) directory(dir string) error {
	base := path.Base(dir)
	if dir != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata") {
		return fs.SkipDir // the go command does not look there either
	}
	if slices.Contains(drawers, base) {
		c.reportf("%s: a package is named after what it does", dir)
	}
	if _, err := fs.Stat(c.tree, path.Join(dir, "go.mod")); err == nil && dir != "." {
		c.nested = append(c.nested, dir)
	}
	return nil
}

func (c *checker) rootModule() error {
	text, err := fs.ReadFile(c.tree, "go.mod")
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "require") {
			c.reportf("go.mod: the root module requires nothing, not even for its tests")
		}
	}
	return err
}

func (c *checker) goFile(file string) error {
	src, err := fs.ReadFile(c.tree, file)
	if err != nil {
		return err
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ImportsOnly)
	if err != nil {
		return err
	}
	dir := path.Dir(file)
	at := slices.IndexFunc(c.policy, func(r rule) bool { return covers(r.pkg, dir) })
	if at < 0 {
		c.reportf("%s: the package has no line in the policy", dir)
		return nil
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		c.oneImport(file, imported, c.policy[at])
	}
	return nil
}

func (c *checker) oneImport(file, imported string, r rule) {
	test := strings.HasSuffix(file, "_test.go")
	ours, isOurs := relative(imported)
	switch {
	case isOurs:
		allowed := covers(r.pkg, ours) || anyCovers(r.may, ours) ||
			test && (slices.Contains(forTests, ours) || slices.Contains(r.tests, ours))
		if !allowed {
			c.reportf("%s: must not import our %s", file, ours)
		}
	case isStandard(imported):
		if !test && slices.Contains(r.not, imported) {
			c.reportf("%s: must not import %s", file, imported)
		}
	case !c.inNestedModule(file):
		c.reportf("%s: must not import %s: the root module is standard library only", file, imported)
	}
}

func (c *checker) reportf(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

func (c *checker) inNestedModule(file string) bool {
	return slices.ContainsFunc(c.nested, func(dir string) bool { return strings.HasPrefix(file, dir+"/") })
}

// relative returns the directory of a package of ours.
func relative(imported string) (dir string, ours bool) {
	if imported == modulePath {
		return ".", true
	}
	return strings.CutPrefix(imported, modulePath+"/")
}

// isStandard reports whether an import path is in the standard library: others begin with a domain.
func isStandard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// covers reports whether dir is pattern or, if that ends in "...", below it.
func covers(pattern, dir string) bool {
	if pattern == "..." {
		return true
	}
	tree, isTree := strings.CutSuffix(pattern, "/...")
	return dir == tree || isTree && strings.HasPrefix(dir, tree+"/")
}

func anyCovers(patterns []string, dir string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, dir) })
}
