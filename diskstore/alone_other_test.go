//go:build !linux

package diskstore

import (
	"errors"
	"os/exec"
)

func startAlone(*exec.Cmd) error { return errors.ErrUnsupported }

func mountSmallDisk(string) error { return errors.ErrUnsupported }
