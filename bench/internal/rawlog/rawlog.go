// Package rawlog is the least that a durable store has to do: append, and share a sync among all who wait for one.
package rawlog

import (
	"os"
	"sync"
)

// Log is a file that only grows, and that nobody reads. It is safe for concurrent use.
type Log struct {
	file *os.File

	mu      sync.Mutex
	synced  sync.Cond
	buf     []byte // what the next sync is for
	spare   []byte
	written int64 // bytes that were given to Append
	durable int64
	syncing bool
	err     error // the first, after which nothing is written
}

// Create makes an empty log.
func Create(path string) (*Log, error) {
	file, err := os.Create(path) //nolint:gosec // whoever measures names it
	if err != nil {
		return nil, err
	}
	l := &Log{file: file}
	l.synced.L = &l.mu
	return l, nil
}

// Close closes the file. Nobody may call Append meanwhile.
func (l *Log) Close() error { return l.file.Close() }

// Append returns when p is durable. Whoever finds no sync under way makes the next one, for all.
func (l *Log) Append(p []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	l.written += int64(len(p))
	for mine := l.written; l.durable < mine && l.err == nil; {
		if l.syncing {
			l.synced.Wait()
			continue
		}
		l.sync()
	}
	return l.err
}

// sync makes what is there durable. It gives up the mutex meanwhile, so that others can append.
func (l *Log) sync() {
	l.syncing = true
	batch, upTo := l.buf, l.written
	l.buf = l.spare[:0]
	l.mu.Unlock()
	_, err := l.file.Write(batch)
	if err == nil {
		err = dataSync(l.file)
	}
	l.mu.Lock()
	l.spare, l.syncing, l.err = batch, false, err
	if err == nil {
		l.durable = upTo
	}
	l.synced.Broadcast()
}
