// Package driver is the contract between onceward and a store.
//
// Callers use the root package; this one is for authors of stores, and for tools that read records. A store keeps one
// record per key and moves it through these transitions, each of them one atomic step inside the store:
//
//	          Acquire (absent)                    Complete(owner)
//	ABSENT ───────────────────▶ RUNNING ───────────────────────────▶ DONE (answer | tombstone)
//	  ▲                         │  │  ▲                                 │ retention over
//	  │ Release(owner)          │  │  │ Extend(owner)                   ▼
//	  └─────────────────────────┘  │  └────┘                          ABSENT
//	                               │ lease over, or given up (Extend with lease 0)
//	                               ├─ rerun, attempts left ──▶ RUNNING, higher fence, attempt + 1, new owner
//	                               └─ otherwise            ──▶ IN DOUBT ──Resolve | late Complete──▶ DONE | ABSENT
//
// A record has two clocks. The lease is a field: how long an attempt holds the key without a sign of life. The record
// itself lives for the retention once it is done, and for the doubt retention while it is running. In doubt is derived
// ([Record.InDoubt]); nothing has to run for a record to become doubtful.
//
// Package storetest states what every store must do, as a suite that any store can run.
package driver
