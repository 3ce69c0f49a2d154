// Package model holds record.pml, a model of one record that spin searches to the end: every order of every step of three
// workers, with deaths, late messages and leases that end at any moment. What it is about stands in its first lines.
//
// Where package spec judges what real stores did, this is about the design: it shows that hold and transactional keep what is
// promised, whatever happens, and that a lease alone or a fence alone do not.
package model
