package archtest

// rule is what the files of a package may import of ours. Packages are directories, "." is the root, and "x/..." is x
// with all below it. Importing what lies in the same rule's tree is always allowed.
type rule struct {
	pkg string
	may []string

	tests []string // what its test files may import besides
	not   []string // of the standard library, for files that are not tests
}

// Arrows point down only: a package may import what stands in its line, and a package without a line must not exist.
// To change an arrow, change it here first, and say in the commit what it is for.
var policy = []rule{
	// The engine. It talks to a store through driver and to the world through nobody, so that a user of Do links no
	// network code and every test of it can run in a bubble of testing/synctest.
	{
		pkg: ".", may: []string{"driver", "internal/canonjson", "internal/failpoint", "internal/sleep"},
		not: []string{"net", "net/http", "database/sql", "os"},
	},

	// The contract. Authors of stores import this and nothing else.
	{pkg: "driver"},
	{pkg: "memstore", may: []string{"driver"}},
	{pkg: "storetest", may: []string{"driver"}},

	// Doors. They know the root only: an adapter that reads records would decide what a record means a second time.
	{pkg: "oncehttp", may: []string{"."}, tests: []string{"driver"}},
	// A kit for the tests of users, who may have another implementation of idempotency.
	{pkg: "oncetest", tests: []string{".", "oncehttp"}},

	// Leaves.
	{pkg: "internal/archtest"},
	{pkg: "internal/canonjson"},
	{pkg: "internal/check"},
	// Where a test can make a process die. Without its build tag it is empty.
	{pkg: "internal/failpoint"},
	// The versions of tables, which stores in databases have.
	{pkg: "internal/migration"},
	{pkg: "internal/noskip"},
	// The encoding that stores of bytes share.
	{pkg: "internal/record", may: []string{"driver"}},
	{pkg: "internal/sleep"},
	{pkg: "internal/testsvc"},
	// What tests of stores on servers share.
	{pkg: "internal/faults", may: []string{"driver", "storetest", "internal/check", "internal/testsvc"}},
	{pkg: "internal/golden", may: []string{"driver"}},
	{pkg: "internal/mutation", may: []string{"driver", "storetest", "internal/check"}},
	// The question that stores ask for those who wait, whose servers do not tell.
	{pkg: "internal/waiting", may: []string{"driver", "internal/sleep"}},

	// What stores with transactions share: their users' functions run through the root's Do.
	{pkg: "internal/intx", may: []string{".", "driver", "internal/failpoint", "internal/sleep"}, tests: []string{"oncehttp"}},

	// Stores are modules of their own. Those with DoTx know the root, for the attempt.
	{pkg: "diskstore/...", may: []string{"driver", "internal/failpoint", "internal/record"}},
	{pkg: "redisstore/...", may: []string{"driver", "internal/record"}},
	{pkg: "pgstore/...", may: []string{
		".", "driver", "internal/intx", "internal/migration", "internal/waiting",
	}, tests: []string{"oncehttp"}},
	{pkg: "mysqlstore/...", may: []string{
		".", "driver", "internal/intx", "internal/migration", "internal/waiting",
	}, tests: []string{"oncehttp"}},

	// The binary is built from what everybody can import.
	{pkg: "cmd/onceward/...", may: []string{
		".", "driver", "memstore", "oncehttp", "diskstore", "redisstore", "pgstore", "mysqlstore",
	}},

	// Never released.
	{pkg: "bench/...", may: []string{"..."}},
	{pkg: "examples/...", may: []string{"..."}},
	{pkg: "proof/...", may: []string{"..."}},
}

// forTests is what every test file may import besides.
var forTests = []string{
	"internal/check", "internal/faults", "internal/golden", "internal/mutation", "internal/testsvc", "memstore", "storetest", "oncetest",
}

// drawers are names that say nothing about what is inside, so that everything ends up there.
var drawers = []string{"util", "utils", "common", "types", "helpers", "pkg", "middleware"}
