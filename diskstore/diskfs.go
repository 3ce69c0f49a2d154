package diskstore

import (
	"errors"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The parts of vfs.FS that write, and the files that they open.

func (d *disk) ours(name string) bool { return name == d.path || strings.HasPrefix(name, d.join("")) }

func (d *disk) join(name string) string { return d.path + string(os.PathSeparator) + name }

// Create makes the name of a manifest durable at once. Pebble syncs the directory only when it has created the file that
// points to the manifest, and a power cut in between may keep the pointer and not what it points to.
func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.open(name, func() (vfs.File, error) { return d.FS.Create(name, c) })
	if err == nil && c == "pebble-compaction" && d.ours(name) {
		return &compacted{f, d}, nil
	}
	if err != nil || !strings.HasPrefix(d.PathBase(name), "MANIFEST-") {
		return f, err
	}
	dir, err := d.OpenDir(d.PathDir(name))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d *disk) OpenDir(name string) (vfs.File, error) {
	return d.open(name, func() (vfs.File, error) { return d.FS.OpenDir(name) })
}

func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return d.open(name, func() (vfs.File, error) { return d.FS.OpenReadWrite(name, c, o...) })
}

// ReuseForWrite is two steps, because each is repeated by itself: a file that is renamed and cannot be opened, for want of a
// descriptor, is no longer there to be renamed again.
func (d *disk) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.Rename(old, name); err != nil {
		return nil, err
	}
	return d.OpenReadWrite(name, c)
}

func (d *disk) open(name string, op func() (vfs.File, error)) (f vfs.File, err error) {
	if !d.ours(name) {
		return op()
	}
	err = d.write(func() error {
		f, err = op()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &file{File: f, disk: d}, nil
}

func (d *disk) Rename(old, name string) error {
	return d.guard(name, func() error { return d.FS.Rename(old, name) })
}

func (d *disk) MkdirAll(dir string, perm os.FileMode) error {
	return d.guard(dir, func() error { return d.FS.MkdirAll(dir, perm) })
}

func (d *disk) Remove(name string) error {
	return d.guard(name, func() error { return d.FS.Remove(name) })
}

func (d *disk) RemoveAll(name string) error {
	return d.guard(name, func() error { return d.FS.RemoveAll(name) })
}

func (d *disk) guard(name string, op func() error) error {
	if !d.ours(name) {
		return op()
	}
	return d.write(op)
}

func (d *disk) Unwrap() vfs.FS { return d.FS }

type file struct {
	vfs.File

	disk *disk
}

func (f *file) Write(p []byte) (n int, err error) {
	err = f.disk.write(func() error {
		m, err := f.File.Write(p[n:])
		n += m
		return err
	})
	return n, err
}

func (f *file) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.disk.write(func() error {
		m, err := f.File.WriteAt(p[n:], at+int64(n))
		n += m
		return err
	})
	return n, err
}

func (f *file) Close() error { return f.disk.sync(f.File.Close) }

func (f *file) Sync() error { return f.disk.sync(f.File.Sync) }

func (f *file) SyncData() error { return f.disk.sync(f.File.SyncData) }

func (f *file) SyncTo(length int64) (full bool, err error) {
	err = f.disk.sync(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// A compacted file is a table that a compaction writes.
type compacted struct {
	vfs.File

	disk *disk
}

func (f *compacted) Write(p []byte) (int, error) {
	f.disk.awaitReserve()
	return f.File.Write(p)
}
