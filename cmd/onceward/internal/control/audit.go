package control

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/onceward/onceward/driver"
)

// AuditQuery selects entries of the audit trail. Zero fields select all.
type AuditQuery struct {
	ID        string // of a key, or its first digits, at least eight
	KeyTag    string // see [KeyTag]
	Operation string
	Since     time.Time
	Limit     int // at most [MaxLimit]. Defaults to 1000.
}

// Trail is the answer to an audit query, oldest first.
type Trail struct {
	Entries []Entry `json:"entries"` // never nil
	More    bool    `json:"more"`    // there are more than the limit
}

// Entry is a step of a key; see [driver.Entry].
type Entry struct {
	ID        string    `json:"id"`
	Time      time.Time `json:"time"` // by the store's clock
	Step      string    `json:"step"`
	Operation string    `json:"operation"`
	KeyHint   string    `json:"key_hint"`
	KeyTag    string    `json:"key_tag"`
	Attempt   int       `json:"attempt"`
	Fence     uint64    `json:"fence"`
	Outcome   string    `json:"outcome,omitempty"` // that the step stored: answer or tombstone
	Actor     string    `json:"actor,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	TraceID   string    `json:"trace_id,omitempty"`
	Node      string    `json:"node,omitempty"`
}

func entryOf(e *driver.Entry) Entry {
	seen := Entry{
		ID: e.ID.String(), Time: e.Time.UTC(), Step: e.Step.String(), Attempt: e.Attempt, Fence: e.Fence,
		Operation: e.Operation, KeyHint: e.KeyHint, KeyTag: hex.EncodeToString(e.KeyTag[:]),
		Actor: e.Note.Actor, Reason: e.Note.Reason, TraceID: e.Note.TraceID, Node: e.Note.Node,
	}
	if e.Kind != 0 {
		seen.Outcome = e.Kind.String()
	}
	return seen
}

const defaultEntries = 1000

// Audit returns what happened to the keys for which q holds, also to those of which no record is left. It is an error if no
// key has an id that begins with the digits in q. What happened to the guard's own record is told only if it is asked for.
func (d *Desk) Audit(ctx context.Context, q AuditQuery) (Trail, error) {
	selects := driver.HistoryQuery{Operation: q.Operation, Since: q.Since}
	if q.KeyTag != "" {
		tag, err := parseTag(q.KeyTag)
		if err != nil {
			return Trail{}, err
		}
		selects.KeyTag = &tag
	}
	limit := cmp.Or(q.Limit, defaultEntries)
	if limit < 0 || limit > MaxLimit {
		return Trail{}, &Error{Wrong, fmt.Sprintf("a limit of %d: want at least 1 and at most %d", limit, MaxLimit)}
	}
	if q.ID != "" {
		id, err := d.auditedID(ctx, q.ID)
		if err != nil {
			return Trail{}, err
		}
		selects.ID = &id
	}
	trail := Trail{Entries: []Entry{}}
	for entry, err := range d.entries(ctx, selects) {
		if err != nil {
			return Trail{}, err
		}
		if entry.Operation == identityOperation && q.ID == "" && q.Operation == "" {
			continue
		}
		if len(trail.Entries) == limit {
			trail.More = true
			break
		}
		trail.Entries = append(trail.Entries, entryOf(entry))
	}
	return trail, nil
}

// auditedID is the id that begins with these digits: of a record that is there or, else, of one that has been.
func (d *Desk) auditedID(ctx context.Context, text string) (driver.ID, error) {
	id, whole, err := parseID(text)
	if err != nil || whole {
		return id, err
	}
	id, err = d.search(ctx, text)
	if !IsNotFound(err) {
		return id, err
	}
	found := driver.ID{}
	for entry, err := range d.entries(ctx, driver.HistoryQuery{}) {
		switch {
		case err != nil:
			return driver.ID{}, err
		case !begins(entry.ID, text), entry.ID == found:
		case found != driver.ID{}:
			return driver.ID{}, ambiguous(text, found, entry.ID)
		default:
			found = entry.ID
		}
	}
	if found == (driver.ID{}) {
		return found, &Error{NotFound, "the audit trail holds nothing of an id that begins with " + text}
	}
	return found, nil
}

// entries reads page by page. An error is the last that it yields.
func (d *Desk) entries(ctx context.Context, q driver.HistoryQuery) iter.Seq2[*driver.Entry, error] {
	return func(yield func(*driver.Entry, error) bool) {
		historian, ok := driver.As[driver.Historian](d.store)
		if !ok {
			yield(nil, &Error{Unsupported, "this store keeps no audit trail"})
			return
		}
		q.Limit = pageSize
		for {
			page, next, err := historian.History(ctx, q)
			switch {
			case errors.Is(err, errors.ErrUnsupported):
				yield(nil, &Error{Unsupported, err.Error()})
				return
			case err != nil:
				yield(nil, storeError("reading the audit trail", err))
				return
			}
			for i := range page {
				if !yield(&page[i], nil) {
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
