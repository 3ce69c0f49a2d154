// Package diskstore keeps records in a directory of one machine, on the embedded database Pebble.
//
// One process uses a directory at a time; a second one is refused at once. Several processes that must share keys need a
// store on a network instead.
//
// # What is promised
//
// Every transition is synced to the disk before its call returns, with the syncs of concurrent calls shared, and no
// answer is given that was read from a write which is not durable yet. So nothing that anybody was told is lost when the
// process is killed or the power fails, as far as the disk keeps what it reported as synced. Only the removal of expired
// records is not synced, because an expired record is absent whether it is still there or not.
//
// # Time
//
// Time is the wall clock as it was when the store was opened, plus what has passed since by the monotonic clock. Setting
// the machine's clock changes nothing while the store is open. Across a restart it counts: after a jump forward, leases
// and records end sooner, so that a key under rerun may be taken over early and one under hold is in doubt early; after a
// jump back they last longer. While the machine is suspended the monotonic clock stands still, and leases last longer.
//
// # A full disk
//
// Below [Options].FreeSpaceFloor new keys are refused with [driver.ErrFull], while replays and the keys that are held go
// on. If others fill the disk all the same, the ballast file is deleted, which makes room to complete what runs; Sweep
// restores it when there is room. When even that is used up, what writes is refused with [driver.ErrUnavailable], calls
// that were writing wait until there is room or their context ends, and the store goes on by itself once there is.
// [Store.Usage] tells how far it is.
//
// The room of expired records comes back some time after they were swept, when the database has rewritten its files.
// That needs free room itself, which the floor keeps.
//
// For a small disk, lower the options: a store with a floor of 1 MiB and a ballast of 256 KiB works on 4 MiB. A quota that
// the file system reports as the size of the disk counts as one. One that it does not report is met like a full disk, so
// that new keys are not refused in time: let the ballast be larger then.
//
// Any other error of a write, and any error of a sync, makes the store unavailable until it is closed and opened again:
// nobody knows then what is on the disk. The call that met it is told that its outcome is unknown. The process goes on,
// but keeps the memory and some goroutines of what has failed, so it should be restarted some time.
//
// # Damage
//
// Records, tables and the log carry checksums. A damaged store does not open, or the keys that the damage touches answer
// [driver.ErrUndecodable]; such a key is never absent, and Sweep leaves it alone. A directory that holds something else,
// or that a later version wrote, is refused and left as it is.
//
// One thing cannot be told: whether the last 32 KiB of the log of a process that was killed are damaged or were never
// written whole. Damage there can take acknowledged transitions along, silently. The log of a store that was closed is
// empty, and a log is emptied each time that the store is opened. Nor does anything find out that a whole file of the log
// was deleted, or that the directory was replaced by an older copy of itself.
//
// # Backups
//
// [Store.Checkpoint] copies a store that is in use. Do not copy the files of an open store in any other way. A restored
// copy does not know the keys that were acquired or completed after it was made: retried, they run again. After restoring,
// either refuse keys that are older than that moment, or settle with the systems behind the operations first.
package diskstore
