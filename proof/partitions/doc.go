// Package partitions cuts owners off from their store while they run, for less and for more than a lease, and then compares
// what was started, what is stored, and what callers were told on both sides of the cut.
//
// An owner is a process of its own: a service with onceward in front of its handler. A witness, which is not cut off, does the
// same with the same keys. Whatever one of them starts it tells the ledger, by a way that is never cut, and waits there for as
// long as the test wants it to run.
//
// Where the machine allows it (root, with ip, unshare and nsenter), the owner has a network namespace of its own, and half of
// the cuts lose real packets. The others, and all of them elsewhere, are made by the proxy of package testsvc.
//
// Its tests have the build tag torture: how long things take is a part of what they judge, so they run by themselves.
package partitions
