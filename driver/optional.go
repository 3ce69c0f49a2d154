package driver

import "context"

// Sweeper is a store whose expired records have to be removed. Expired records are absent whether swept or not.
type Sweeper interface {
	// Sweep removes at most limit expired records of this store's namespace and nothing else, with the condition
	// re-checked in the delete. It returns how many it removed; fewer than limit means that it is done for now.
	Sweep(ctx context.Context, limit int) (removed int, err error)
}

// Lister is a store whose records can be listed, for people. The order is the store's own and stable.
type Lister interface {
	// List returns records for which q holds, and the cursor of the next page, empty at the end. Records come without
	// their outcome's bytes. A record that changes while pages are read may be missed or seen twice.
	List(ctx context.Context, q Query) (page []Record, next string, err error)
}

// Query selects records. Zero fields select all.
type Query struct {
	State     string   // running, in-doubt or done
	KeyTag    *[8]byte // records of one key
	Operation string
	Cursor    string // where the last page ended
	Limit     int    // Defaults to 100.
}

// Matches reports whether a list has r: it is there, and is what the query asks for. Cursor and Limit are the store's.
func (q *Query) Matches(r *Record) bool {
	return r.Phase != PhaseAbsent &&
		(q.State == "" || q.State == r.State()) &&
		(q.KeyTag == nil || *q.KeyTag == r.Labels.KeyTag) &&
		(q.Operation == "" || q.Operation == r.Labels.Operation)
}

// Historian is a store with an audit trail: an entry for each step of a key, with the [Note] that came with it, written in
// the same atomic step as the transition, so that a crash keeps both or neither.
//
// A call that changes nothing leaves no entry: one that is lost or refused, an Acquire with another verdict than
// [Acquired], the Release of nothing, and what is repeated because its reply was lost, which includes giving a lease up
// again with the same note. That a record expired is no step either. The entries live for a retention of their own,
// whatever becomes of the record.
type Historian interface {
	// History returns entries for which q holds, oldest first, and the cursor of the next page, empty at the end. The
	// entries of one id are in the order in which they happened. One that is written while pages are read may be missed.
	//
	// A store need not be able to select by anything but ID. It returns an error that is [errors.ErrUnsupported] for what
	// it cannot, and for everything when it keeps no trail; the error says what it can. An entry that cannot be read is
	// an error that is [ErrUndecodable], never left out.
	History(ctx context.Context, q HistoryQuery) (page []Entry, next string, err error)
}

// Waiter is a store that can tell when a record may have changed.
type Waiter interface {
	// Wait returns nil when the record may have changed since the call, and an error when ctx ends or the store cannot
	// tell. It is a hint: the caller reads the record anyway, and polls when there is none.
	Wait(ctx context.Context, id ID) error
}

// As finds an optional interface in s or, for a wrapper with Unwrap() Store, in what it wraps.
func As[T any](s Store) (T, bool) {
	for s != nil {
		if t, ok := s.(T); ok {
			return t, true
		}
		w, ok := s.(interface{ Unwrap() Store })
		if !ok {
			break
		}
		s = w.Unwrap()
	}
	var none T
	return none, false
}
