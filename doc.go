// Package onceward makes retries safe: the same request may come twice, ten times, through crashes and timeouts. By
// default its operation takes effect at most once, and everyone who asks gets the same answer or is told why there is
// none.
//
// What is promised:
//
//   - [Hold], the default: an operation starts at most once. If nobody is left who can say how it ended it is in doubt,
//     callers are told so, and it is not run again until somebody resolves it or the doubt retention is over.
//   - [Rerun]: at least once. After the owner's lease the next caller runs it again, with a higher fence.
//   - Exactly once is promised only inside one database transaction, and not by this package alone.
//
// A lease alone protects nothing, and a fence alone does not prevent a duplicate effect: owner 1 may act and die, and
// owner 2 act again with a higher fence.
//
// [Do] guards a function. Package oncehttp guards a net/http handler. Both are built on [Guard.Begin], which asks a store
// for the key once, and on the [Attempt] it returns, which ends in one call. Stores implement package driver; memstore
// is the one to start with.
//
// All of it is safe for concurrent use unless a comment says otherwise.
package onceward
