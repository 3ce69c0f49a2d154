// Package mutants breaks the guard on purpose, one mistake at a time, and lets its own tests judge: each mistake has a test
// that must fail. A mistake is a change of the source, made while it is compiled; the files stay as they are.
package mutants
