// Package failpoint marks the steps between which a process may die, so that a test can make it die exactly there. Without
// the build tag failpoint nothing of it is left in a program.
//
// With the tag, ONCEWARD_FAILPOINT names a point and the chance that whoever passes it kills the whole process, as kill -9
// does: "after-acquire:0.01". With ":freeze" behind it the process is stopped there instead, until somebody sends it SIGCONT.
// It says so on standard error first, as "failpoint: killed at after-acquire", or "failpoint: frozen at after-acquire".
package failpoint

// Point is a place in the code, named after the step before or after it.
type Point string

// The points of every attempt.
const (
	BeforeAcquire  Point = "before-acquire"  // the key is about to be asked for
	AfterAcquire   Point = "after-acquire"   // the key is granted, and nothing has run
	BeforeComplete Point = "before-complete" // the operation has ended, and the store does not know
	AfterComplete  Point = "after-complete"  // the store has answered, and the caller does not know
	BeforeRelease  Point = "before-release"
	AfterRelease   Point = "after-release"
	BeforeExtend   Point = "before-extend" // a sign of life is due
)

// The points of an attempt in a transaction of a database.
const (
	AfterTake    Point = "after-take" // the transaction is open and holds the key
	BeforeCommit Point = "before-commit"
	AfterCommit  Point = "after-commit"
)

// The points of a store on a disk.
const (
	BeforeSync Point = "before-sync" // what is written may not be durable yet
	AfterSync  Point = "after-sync"  // it is durable, and nobody was told
)
