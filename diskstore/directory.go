package diskstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A directory holds the database in records, the ballast, and a marker. The marker says that it is ours and complete:
// it is called markerNew until the database has been created.
type directory struct {
	fs   *disk
	path string
}

const (
	marker        = "onceward-diskstore"
	markerNew     = marker + ".new"
	markerBegin   = "onceward diskstore, format "
	markerContent = markerBegin + "1\n"
)

// notOurs may lie in an empty directory: what a file system puts there, and the socket that is left when the process that
// ran the store before was killed.
var notOurs = []string{"lost+found", "control.sock"}

func (d *directory) join(name string) string { return d.fs.PathJoin(d.path, name) }
func (d *directory) records() string         { return d.join("records") }

// claim takes the directory for this process, and reports whether the database is still to be created. It changes nothing
// in a directory that is not ours.
func (d *directory) claim() (lock *pebble.Lock, created bool, err error) {
	ready, err := d.inspect()
	if err != nil {
		return nil, false, err
	}
	if !ready {
		if err := d.fs.fits(); err != nil {
			return nil, false, err
		}
		if err := d.begin(); err != nil {
			return nil, false, fmt.Errorf("diskstore: creating %s: %w", d.path, err)
		}
	}
	lock, err = pebble.LockDirectory(d.records(), d.fs)
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, fmt.Errorf("diskstore: %s cannot be opened, its database is gone: restore a backup: %w", d.path, err)
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, false, fmt.Errorf("diskstore: %s belongs to another user: open it as the one who made it: %w", d.path, err)
	}
	if err != nil {
		return nil, false, fmt.Errorf("diskstore: %s is in use, by another process, which may still be ending what runs, or by this "+
			"one: wait until it is closed; in another directory every retry would be a new request: %w", d.path, err)
	}
	// Another process may have created it and gone in the meantime.
	if ready, err = d.inspect(); err != nil {
		return nil, false, errors.Join(err, lock.Close())
	}
	return lock, !ready, nil
}

// inspect reports whether this is a store, and not still to be created.
func (d *directory) inspect() (ready bool, err error) {
	names, err := d.fs.List(d.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("diskstore: %w", err)
	case slices.Contains(names, marker):
		return true, d.checkMarker()
	case slices.Contains(names, markerNew):
		return false, nil
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return slices.Contains(notOurs, name) || strings.HasPrefix(name, marker+".") // of a creation that was cut off
	})
	if len(names) > 0 {
		return false, fmt.Errorf("diskstore: %s is no store, it holds %q and no file %q: choose an empty directory for a new one, "+
			"or restore a backup", d.path, names[0], marker)
	}
	return false, nil
}

func (d *directory) checkMarker() error {
	f, err := d.fs.Open(d.join(marker))
	if err != nil {
		return fmt.Errorf("diskstore: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, 1<<10))
	switch text := string(content); {
	case err != nil:
		return fmt.Errorf("diskstore: reading %s: %w", d.join(marker), err)
	case text == markerContent:
		return nil
	case strings.HasPrefix(text, markerBegin):
		return fmt.Errorf("diskstore: %s has a format that this version does not know (%q): use a newer one",
			d.path, strings.TrimSpace(text))
	default:
		return fmt.Errorf("diskstore: %s is damaged: it does not begin with %q; restore a backup", d.join(marker), markerBegin)
	}
}

func (d *directory) begin() error {
	if err := d.fs.MkdirAll(d.path, 0o700); err != nil {
		return err
	}
	// Several processes may do this at once. The file must not be away for a moment, as it would be while pebble creates one
	// that is there, or another process takes the directory for somebody else's.
	own := marker + "." + rand.Text()
	if err := d.write(own); err != nil {
		return err
	}
	if err := d.fs.Rename(d.join(own), d.join(markerNew)); err != nil {
		return err
	}
	// A power cut must not leave the rest without the marker, or the directory would look like somebody else's.
	if err := d.syncDir(d.path); err != nil {
		return err
	}
	if err := d.fs.MkdirAll(d.records(), 0o700); err != nil {
		return err
	}
	return errors.Join(d.syncDir(d.path), d.syncDir(d.fs.PathDir(d.path)))
}

// wipe removes what a creation that was cut off has left, but for the lock, which is held. The directory is not complete,
// so no record was ever acknowledged.
func (d *directory) wipe() error {
	names, err := d.fs.List(d.records())
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == "LOCK" {
			continue
		}
		if err := d.fs.RemoveAll(d.fs.PathJoin(d.records(), name)); err != nil {
			return err
		}
	}
	return d.syncDir(d.records())
}

// finish declares the directory complete.
func (d *directory) finish() error {
	if err := d.fs.Rename(d.join(markerNew), d.join(marker)); err != nil {
		return err
	}
	return d.syncDir(d.path)
}

// write stores the marker under one of its names.
func (d *directory) write(name string) error {
	f, err := d.fs.Create(d.join(name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(markerContent))
	return errors.Join(err, f.Sync(), f.Close())
}

func (d *directory) syncDir(path string) error {
	f, err := d.fs.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Checkpoint writes a copy of the store into the directory target, which must not exist, while the store is in use. The
// copy holds everything that was acknowledged before the call, and shares its files with the store as hard links where
// the file system allows it, so move it to another disk. A copy that was interrupted does not open.
//
// Records that were made after a checkpoint are not in it: see the package about restoring.
func (s *Store) Checkpoint(target string) error {
	if err := s.enter(context.Background()); err != nil {
		return err
	}
	defer s.leave()
	to := directory{fs: s.disk, path: target}
	if _, err := s.disk.Stat(target); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("diskstore: checkpoint: %s exists: choose a new directory", target)
	}
	if err := s.disk.usable(); err != nil {
		return err
	}
	if err := s.disk.MkdirAll(target, 0o700); err != nil {
		return fmt.Errorf("diskstore: checkpoint: %w", err)
	}
	// The flush leaves next to nothing in the log, whose end is the one part in which damage can stay unnoticed.
	err := errors.Join(s.db.Flush(), s.db.Checkpoint(to.records(), pebble.WithFlushedWAL()))
	if err == nil {
		err = errors.Join(to.write(marker), to.syncDir(target), to.syncDir(s.disk.PathDir(target)))
	}
	if err != nil {
		return fmt.Errorf("diskstore: checkpoint: %w", err)
	}
	return nil
}

// Usage returns how many bytes the store's directory takes, with the ballast, and how many are free on its disk. It also
// answers while the disk is full or the store has failed.
func (s *Store) Usage() (used, free int64, err error) {
	for _, dir := range []string{s.dir.path, s.dir.records()} {
		names, err := s.disk.List(dir)
		if err != nil {
			return 0, 0, fmt.Errorf("diskstore: %w", err)
		}
		for _, name := range names {
			info, err := s.disk.Stat(s.disk.PathJoin(dir, name))
			if errors.Is(err, os.ErrNotExist) {
				continue // pebble has just deleted it
			}
			if err != nil {
				return 0, 0, fmt.Errorf("diskstore: %w", err)
			}
			if !info.IsDir() {
				used += info.Size()
			}
		}
	}
	if free, err = s.disk.free(); err != nil {
		return 0, 0, fmt.Errorf("diskstore: %w", err)
	}
	return used, free, nil
}
