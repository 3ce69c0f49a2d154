package onceward_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// The root is what users learn first, so a name more is a decision: docs/design/0011-the-root-surface.md.
func TestTheRootHasTheseNames(t *testing.T) {
	want := strings.Fields(`
		Guard New Options Key NewKey DeriveKey Fingerprint FingerprintJSON Do Attempt FromContext Policy Hold Rerun
		Final Retryable StoredError RefusedError
		ErrInProgress ErrKeyReused ErrInDoubt ErrNotStored ErrUnavailable ErrLeaseLost Trace`)
	slices.Sort(want)
	check.Equal(t, exported(t), want, "exported names of the root package")
}

func exported(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(".")
	check.NoError(t, err, "the package's directory")
	add := func(id *ast.Ident) {
		if id.IsExported() {
			names = append(names, id.Name)
		}
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.SkipObjectResolution)
		check.NoError(t, err, "%s", e.Name())
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					add(d.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						add(spec.Name)
					case *ast.ValueSpec:
						for _, name := range spec.Names {
							add(name)
						}
					}
				}
			}
		}
	}
	slices.Sort(names)
	return names
}
