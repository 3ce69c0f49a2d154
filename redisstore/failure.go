package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/rueidis"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/redisstore/internal/packed"
)

// advice is what to do about errors that Redis answers, by their first word.
var advice = map[string]string{
	"BUSY":        "a script of somebody else runs for too long; end it with SCRIPT KILL",
	"CLUSTERDOWN": "wait until all slots are served",
	"LOADING":     "wait until it has read its data",
	"MASTERDOWN":  "this is a replica; connect to the primary",
	"MISCONF":     "it cannot save; look at its log and its disk",
	"MOVED":       "this is a cluster; connect to it as one, with redis+cluster://",
	"NOAUTH":      "give a user and a password",
	"NOPERM":      "give the user the rights that the package documentation lists",
	"NOREPLICAS":  "too few replicas follow it, see min-replicas-to-write",
	"OOM":         "it is at its maxmemory; raise it, or keep outcomes for less long",
	"READONLY":    "this is a replica; connect to the primary",
	"TRYAGAIN":    "wait until the slot of the key has moved to the other node",
	"WRONGPASS":   "check user and password",
}

// failure is what an error of a call means to the caller.
//
// What Redis answers with an error it did not do: the scripts ask for the rights first, and write the record as the last
// thing. When no connection was made, nothing was sent. All else may have happened. With Eval that is everything, because
// an earlier try may have succeeded and lost its reply.
func (s *Store) failure(err error) error {
	_, answered := rueidis.IsRedisErr(err)
	word, _, _ := strings.Cut(err.Error(), " ")
	switch {
	case word == "WRONGTYPE":
		return fmt.Errorf("%w: redisstore: it is no string, so another application wrote it; give the store a namespace of its own: %w",
			driver.ErrUndecodable, err)
	case s.repeats:
		return fmt.Errorf("redisstore: outcome unknown: %w", err)
	case errors.Is(err, rueidis.ErrNoCache):
		return fmt.Errorf("%w: redisstore: no connection: Redis 6 or later and the right to CLIENT TRACKING are needed for "+
			"Options.CacheCompleted, or DisableCache in the options of the client: %w", driver.ErrUnavailable, err)
	case unconnected(err):
		return fmt.Errorf("%w: redisstore: no connection: %w", driver.ErrUnavailable, err)
	case !answered:
		return fmt.Errorf("redisstore: outcome unknown: %w", err)
	case isFull(err):
		return fmt.Errorf("%w: redisstore: %s: %w", driver.ErrFull, advice["OOM"], err)
	case strings.Contains(err.Error(), "The user executing the script can't"): // NOPERM inside of one
		word = "NOPERM"
	}
	hint, ok := advice[word]
	if !ok {
		hint = "Redis refused the command"
	}
	return fmt.Errorf("%w: redisstore: %s: %w", driver.ErrUnavailable, hint, err)
}

// unconnected reports whether an error is from before anything could be sent. An alert of TLS may come later, too.
func unconnected(err error) bool {
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &certificate) || errors.As(err, &noTLS)
}

// isFull reports whether Redis refused a command for want of memory. Before Redis 7 a script wraps what it was told.
func isFull(err error) bool {
	return err != nil && strings.Contains(err.Error(), "OOM command not allowed")
}

var errFull = fmt.Errorf("%w: redisstore: Redis takes no new keys: %s", driver.ErrFull, advice["OOM"])

// fits refuses, as the given error, what a record cannot hold, and what Redis would not read: it ends the connection of
// who sends that, and with it the calls of others.
func (s *Store) fits(a *call, outcome int, as error) error {
	size := len(a.buf)
	for _, more := range a.more {
		size += len(more)
	}
	switch texts := size - outcome; {
	case texts > packed.LongestTexts:
		return fmt.Errorf("%w: redisstore: nothing done: labels, fingerprints and notes take %d bytes, a record holds %d: shorten them",
			as, texts, packed.LongestTexts)
	case size > s.largest:
		return fmt.Errorf("%w: redisstore: nothing done: with the outcome it is %d bytes, and Redis takes %d: "+
			"store a Tombstone instead, or raise proto-max-bulk-len and start again", as, size, s.largest)
	default:
		return nil
	}
}

// refused is the error of a code that is no verdict, nil for codeOK.
func refused(id driver.ID, a *call, code int64) error {
	switch code {
	case codeOK:
		return nil
	case codeLost:
		return driver.ErrLost
	case codeFull:
		return errFull
	case codeUnreadable:
		return unreadable(id, nil)
	case codeNoExpiry:
		return noExpiry(id, a.key())
	default:
		return errStrange
	}
}

// unreadable is a value that a script would not judge, or that does not decode.
func unreadable(id driver.ID, why error) error {
	if why == nil {
		why = fmt.Errorf("%w: a script found another version, or a wrong check", driver.ErrUndecodable)
	}
	return fmt.Errorf("redisstore: the value of id %s: %w; another application or a later version wrote it, or it is damaged",
		id.Short(), why)
}

// noExpiry is a record that has lost its clock, which no call can give back.
func noExpiry(id driver.ID, key string) error {
	return fmt.Errorf("%w: redisstore: the value of id %s has no expiry, because somebody took it away; give it one, such as "+
		"PEXPIRE %s 86400000, or, if the operation did not take effect and cannot any more, make the key free with DEL %[3]s",
		driver.ErrUndecodable, id.Short(), key)
}

func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("redisstore: nothing done: %w", err)
	}
	return nil
}
