// Package control lets an operator see and resolve the keys of a store, in the process that holds it and from outside.
//
// A [Desk] is what an operator can do with a store. [Serve] offers one on a unix socket in the data directory, and
// [Dial] returns a [Client] of it, with the same methods.
package control

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"slices"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
)

// Desk is what an operator can do with a store. Its methods are safe for concurrent use. What goes wrong is an [Error].
type Desk struct {
	store driver.Store
	opts  Options
}

// Options are what a desk works with besides its store.
type Options struct {
	// Trace is told of keys that were resolved, such as the guard's method. Defaults to nobody.
	Trace func(context.Context, onceward.Trace)
	// Events is what Watch tells of. Defaults to nothing, and Watch is an error.
	Events *Events
}

// NewDesk returns a desk for a store. Options may be nil.
func NewDesk(store driver.Store, opts *Options) *Desk {
	d := &Desk{store: store}
	if opts != nil {
		d.opts = *opts
	}
	return d
}

// Query selects keys. Zero fields select all.
type Query struct {
	State     string // running, in-doubt or done
	Operation string
	KeyTag    string // see [KeyTag]
	Limit     int    // at most [MaxLimit]. Defaults to 100.
}

// Page is the answer to a query: the oldest first, or in the order of the store if more than [MaxLimit] were found.
type Page struct {
	Records []Record `json:"records"` // never nil
	// Found is how many there are, of which the limit may have left some out. Nobody counts further than MaxLimit + 1.
	Found int `json:"found"`
}

// MaxLimit is the largest limit of a query.
const MaxLimit = 10_000

const (
	defaultLimit = 100
	pageSize     = 500 // so that reading everything is neither many calls nor one large answer
)

// List returns the keys for which q holds.
func (d *Desk) List(ctx context.Context, q Query) (Page, error) {
	selects := driver.Query{State: q.State, Operation: q.Operation}
	if q.KeyTag != "" {
		tag, err := parseTag(q.KeyTag)
		if err != nil {
			return Page{}, err
		}
		selects.KeyTag = &tag
	}
	limit := cmp.Or(q.Limit, defaultLimit)
	if limit < 0 || limit > MaxLimit {
		return Page{}, &Error{Wrong, fmt.Sprintf("a limit of %d: want at least 1 and at most %d", limit, MaxLimit)}
	}
	page := Page{Records: []Record{}}
	for record, err := range d.records(ctx, selects) {
		if err != nil {
			return Page{}, err
		}
		if page.Found++; page.Found > MaxLimit {
			break
		}
		page.Records = append(page.Records, recordOf(record))
	}
	if page.Found <= MaxLimit {
		slices.SortStableFunc(page.Records, func(a, b Record) int { return cmp.Compare(b.Age, a.Age) })
	}
	page.Records = page.Records[:min(limit, len(page.Records))]
	return page, nil
}

// identityOperation is the operation of a record of the guard's own, which is not an operator's.
const identityOperation = "onceward.identity"

// records reads page by page. An error is the last that it yields.
func (d *Desk) records(ctx context.Context, q driver.Query) iter.Seq2[*driver.Record, error] {
	return func(yield func(*driver.Record, error) bool) {
		lister, ok := driver.As[driver.Lister](d.store)
		if !ok {
			yield(nil, &Error{Unsupported, "this store cannot list its keys: give the whole id of one"})
			return
		}
		q.Limit = pageSize
		for {
			page, next, err := lister.List(ctx, q)
			if err != nil {
				yield(nil, storeError("listing the keys", err))
				return
			}
			for i := range page {
				if page[i].Labels.Operation != identityOperation && !yield(&page[i], nil) {
					return
				}
			}
			if next == "" {
				return
			}
			q.Cursor = next
		}
	}
}

// Get returns the key with an id, or with the one that begins with these digits, at least eight of them. A key that is
// absent is an error.
func (d *Desk) Get(ctx context.Context, id string) (Record, error) {
	record, err := d.get(ctx, id)
	if err != nil {
		return Record{}, err
	}
	return recordOf(&record), nil
}

func (d *Desk) get(ctx context.Context, text string) (driver.Record, error) {
	id, whole, err := parseID(text)
	if err == nil && !whole {
		id, err = d.search(ctx, text)
	}
	if err != nil {
		return driver.Record{}, err
	}
	record, err := d.store.Get(ctx, id)
	switch {
	case err != nil:
		return driver.Record{}, storeError("reading "+id.Short(), err)
	case record.Phase == driver.PhaseAbsent:
		return driver.Record{}, notFound(text)
	default:
		return record, nil
	}
}

// search reads every record: only the store knows in which order they come.
func (d *Desk) search(ctx context.Context, prefix string) (found driver.ID, err error) {
	for record, err := range d.records(ctx, driver.Query{}) {
		switch {
		case err != nil:
			return driver.ID{}, err
		case !begins(record.ID, prefix), record.ID == found: // a list may show a record twice
		case found != driver.ID{}:
			return driver.ID{}, ambiguous(prefix, found, record.ID)
		default:
			found = record.ID
		}
	}
	if found == (driver.ID{}) {
		return driver.ID{}, notFound(prefix)
	}
	return found, nil
}

func ambiguous(prefix string, one, other driver.ID) error {
	return &Error{Ambiguous, fmt.Sprintf("%s is the beginning of more than one id, such as %s and %s: give more digits", prefix, one, other)}
}

func notFound(id string) error {
	return &Error{NotFound, "there is no key with the id " + id + ": its retention may be over, or it was released; " +
		"onceward keys list shows what there is"}
}

// Stats counts keys.
type Stats struct {
	Running    int `json:"running"`
	InDoubt    int `json:"in_doubt"`
	Done       int `json:"done"`
	Tombstones int `json:"tombstones"` // those of the done ones whose answer was not kept
	// OldestDoubt is when the longest one in doubt began to run, in seconds before now.
	OldestDoubt Seconds `json:"oldest_doubt"`
}

// Stats counts the keys of the store. It reads all of them.
func (d *Desk) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	for record, err := range d.records(ctx, driver.Query{}) {
		if err != nil {
			return Stats{}, err
		}
		switch record.State() {
		case "running":
			s.Running++
		case "in-doubt":
			s.InDoubt++
			s.OldestDoubt = max(s.OldestDoubt, Seconds(record.Age))
		case "done":
			s.Done++
			if record.Outcome.Kind == driver.Tombstone {
				s.Tombstones++
			}
		}
	}
	return s, nil
}

// Sweep removes all expired records, and returns how many, also with an error.
func (d *Desk) Sweep(ctx context.Context) (removed int, err error) {
	sweeper, ok := driver.As[driver.Sweeper](d.store)
	if !ok {
		return 0, &Error{Unsupported, "this store removes expired records by itself"}
	}
	for {
		n, err := sweeper.Sweep(ctx, pageSize)
		removed += n
		if err != nil {
			return removed, storeError(fmt.Sprintf("sweeping, after %d records", removed), err)
		}
		if n < pageSize {
			return removed, nil
		}
	}
}

// Backup copies the store into a directory, an absolute path that must not exist.
func (d *Desk) Backup(_ context.Context, target string) error {
	store, ok := driver.As[interface{ Checkpoint(target string) error }](d.store)
	if !ok {
		return &Error{Unsupported, "this store is backed up with its own tools"}
	}
	if !filepath.IsAbs(target) {
		return &Error{Wrong, fmt.Sprintf("the target %q is not absolute: it would depend on where the process was started", target)}
	}
	if err := store.Checkpoint(target); err != nil {
		return storeError("backup", err)
	}
	return nil
}

// Watch tells of what happens until ctx ends, which is no error, or tell returns an error. The first event says that it has
// begun.
func (d *Desk) Watch(ctx context.Context, tell func(Event) error) error {
	if d.opts.Events == nil {
		return &Error{Unsupported, "no process works with this store now, so there is nothing to watch: start one, such as " +
			"onceward proxy"}
	}
	return d.opts.Events.Watch(ctx, tell)
}
