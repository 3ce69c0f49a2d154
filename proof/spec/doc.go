// Package spec is the contract of one record as a program that judges: given what clients sent to a store and what they
// were told, it says whether a record could have gone through that.
//
// It shares nothing with the specification inside storetest, which follows one caller at a time and knows the moment of
// each call. Here calls overlap, replies are lost, messages arrive late, and nobody knows more of a call than when it was
// sent and when its answer was heard. Three devices make that checkable:
//
//   - Interval clocks. A store's instant lies between sent and heard. What was taken then is over at the earliest a lease
//     after sent, and at the latest a lease after heard. A step that needs a lease to be over is legal when it may be over; one
//     that needs it to run is legal when it may run; and each tells something about the instants before.
//   - Unknown outcomes. A call without an answer, or with an error that says nothing, happened at any later time or never.
//     A call that was refused as unavailable never happened.
//   - One key at a time. Nothing that is done to a key changes another, so a history is checked key by key.
//
// The search for an order in which the calls could have happened is porcupine's. [Play] makes histories, [Rules.Check]
// judges them, and [Compare] judges what the clients of a guard were told, which needs no search.
package spec
