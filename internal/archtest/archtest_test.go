package archtest

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"testing"
	"testing/fstest"

	"github.com/onceward/onceward/internal/check"
)

func TestTreeFollowsPolicy(t *testing.T) {
	tree := os.DirFS("../..")
	_, err := fs.Stat(tree, "driver/store.go")
	check.NoError(t, err, "this is not the root of the project")

	found, err := violations(tree, policy)
	check.NoError(t, err, "reading the tree")
	for _, v := range found {
		t.Error(v)
	}
}

// The checker finds nothing in this tree, and one violation in each of the twins below.
var sound = map[string]string{
	"go.mod":                         "module github.com/onceward/onceward\n",
	"guard.go":                       `import ("context"; "github.com/onceward/onceward/driver")`,
	"guard_test.go":                  `import ("os"; "github.com/onceward/onceward/memstore")`,
	"driver/store.go":                `import "context"`,
	"memstore/memstore.go":           `import "github.com/onceward/onceward/driver"`,
	"memstore/conformance_test.go":   `import "github.com/onceward/onceward/storetest"`,
	"oncehttp/handler.go":            `import ("net/http"; "github.com/onceward/onceward")`,
	"oncehttp/handler_test.go":       `import "github.com/onceward/onceward/driver"`,
	"oncehttp/testdata/x/x.go":       `import "github.com/onceward/onceward/driver"`,
	"redisstore/go.mod":              "module github.com/onceward/onceward/redisstore\n\nrequire x.example/y v1.0.0\n",
	"redisstore/redisstore.go":       `import ("x.example/y"; "github.com/onceward/onceward/driver")`,
	"cmd/onceward/go.mod":            "module github.com/onceward/onceward/cmd/onceward\n",
	"cmd/onceward/main.go":           `import "github.com/onceward/onceward/cmd/onceward/internal/cli"`,
	"cmd/onceward/internal/cli/a.go": `import "github.com/onceward/onceward/redisstore"`,
	"proof/crash/crash.go":           `import "github.com/onceward/onceward/internal/testsvc"`,
	".cache/x.go":                    `import "x.example/y"`,
}

var twins = []struct {
	file, src, want string
}{
	{
		"guard.go", `import "net/http"`,
		"guard.go: must not import net/http",
	},
	{
		"guard.go", `import "github.com/onceward/onceward/memstore"`,
		"guard.go: must not import our memstore",
	},
	{
		"guard_test.go", `import "x.example/assert"`,
		"guard_test.go: must not import x.example/assert: the root module is standard library only",
	},
	{
		"guard_test.go", `import "github.com/onceward/onceward/redisstore"`,
		"guard_test.go: must not import our redisstore",
	},
	{
		"driver/store.go", `import "github.com/onceward/onceward"`,
		"driver/store.go: must not import our .",
	},
	{
		"memstore/memstore.go", `import "github.com/onceward/onceward/storetest"`,
		"memstore/memstore.go: must not import our storetest",
	},
	{
		"oncehttp/handler.go", `import alias "github.com/onceward/onceward/driver"`,
		"oncehttp/handler.go: must not import our driver",
	},
	{
		"redisstore/redisstore.go", `import _ "github.com/onceward/onceward"`,
		"redisstore/redisstore.go: must not import our .",
	},
	{
		"cmd/onceward/internal/cli/a.go", `import "github.com/onceward/onceward/internal/canonjson"`,
		"cmd/onceward/internal/cli/a.go: must not import our internal/canonjson",
	},
	{
		"drivers/a.go", ``,
		"drivers: the package has no line in the policy",
	},
	{
		"proof/util/a.go", ``,
		"proof/util: a package is named after what it does",
	},
	{
		"go.mod", "module github.com/onceward/onceward\n\nrequire x.example/y v1.0.0\n",
		"go.mod: the root module requires nothing, not even for its tests",
	},
}

func TestCheckerFindsViolations(t *testing.T) {
	found, err := violations(tree(sound), policy)
	check.NoError(t, err, "the sound tree")
	check.Equal(t, len(found), 0, "violations in the sound tree: %q", found)

	for _, twin := range twins {
		files := maps.Clone(sound)
		files[twin.file] = twin.src
		found, err := violations(tree(files), policy)
		check.NoError(t, err, "%s", twin.file)
		check.Equal(t, found, []string{twin.want}, "%s with %s", twin.file, twin.src)
	}
}

func TestUnreadableFileIsAnError(t *testing.T) {
	files := maps.Clone(sound)
	files["broken.go"] = `import "unterminated`
	_, err := violations(tree(files), policy)
	check.True(t, err != nil, "a file that cannot be parsed was passed over")
}

// Only one line may speak for a package: the first would win, and the other be dead.
func TestPolicyIsUnambiguous(t *testing.T) {
	for i, r := range policy {
		for _, other := range policy[i+1:] {
			check.True(t, !covers(r.pkg, other.pkg) && !covers(other.pkg, r.pkg), "%s and %s overlap", r.pkg, other.pkg)
		}
	}
}

func tree(files map[string]string) fs.FS {
	out := fstest.MapFS{}
	for name, src := range files {
		if path.Ext(name) == ".go" {
			src = "package p\n" + src
		}
		out[name] = &fstest.MapFile{Data: []byte(src)}
	}
	return out
}
