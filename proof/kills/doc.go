// Package kills ends workers with kill -9 while clients send, retry and leave, and then compares three accounts of what
// happened: what the clients were told, what is stored, and what was done.
//
// A worker is a process of its own: a service with onceward as a library, see [Work]. Its effects are counted where onceward
// has no hand in it: in a table of the database for the mode tx, in a file that outlives the process for all others. Clients
// note what they send before they send it, and what they are told after they heard it.
//
// Workers die at random, and where a request tells them to; or, built with the tag failpoint, at points inside of onceward.
// The sidecar, built so, dies in front of a service that lives on, also where half of the sidecars are of the version before.
//
// Every run prints its seed and its counters, and fails if too little happened for its result to mean anything.
package kills
