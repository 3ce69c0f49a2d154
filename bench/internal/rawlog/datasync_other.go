//go:build !linux

package rawlog

import "os"

func dataSync(f *os.File) error { return f.Sync() }
