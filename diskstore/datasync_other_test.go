//go:build !linux

package diskstore

import "os"

func dataSync(f *os.File) error { return f.Sync() }
