// Package resources runs the proxy and the library on machines that run short of file descriptors, of memory and of disk,
// on more duplicates and more keys than anybody sends, and for long.
//
// Whatever runs short, requests may be refused. None may run twice, no answer may be lost or become another one, and what
// was refused has to work when there is room again. Clients remember what they were told, the service counts what it did,
// and the proxy is a process of its own whose limits are set before it starts.
//
// Every run prints its counters and fails if too little happened. Beside the checks stand controls that they refuse, but for
// those of a full disk.
//
// Its tests have the build tag torture: how long things take is a part of what they judge, so they run by themselves.
package resources
