package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

const (
	socketName = "control.sock"
	// longestPath is what fits into the address of a unix socket everywhere: 104 bytes with the NUL on BSD and macOS, 108
	// on Linux.
	longestPath = 103
)

// ErrNobody means that no process answers on the socket of a data directory, so that its files can be opened.
var ErrNobody = errors.New("no process holds the data directory")

// listen makes the socket of a data directory. Only the process that has opened the store may call it. The socket is made
// in a directory that nobody else can enter, and moved when it is closed to others, so that it is open to them at no
// moment. The move also replaces one that a process left which was killed.
func listen(dir string) (net.Listener, error) {
	room := filepath.Join(dir, ".control")
	if err := errors.Join(os.RemoveAll(room), os.Mkdir(room, 0o700)); err != nil {
		return nil, err
	}
	defer os.RemoveAll(room)
	path, forget, err := reach(room, "s")
	if err != nil {
		return nil, err
	}
	defer forget()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // what has this path by then is not its socket
	err = os.Chmod(filepath.Join(room, "s"), 0o600)
	if err == nil {
		err = os.Rename(filepath.Join(room, "s"), filepath.Join(dir, socketName))
	}
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

func connect(ctx context.Context, dir string) (net.Conn, error) {
	path, forget, err := reach(dir, socketName)
	if err != nil {
		return nil, err
	}
	defer forget()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED): // never made, or left behind
		return nil, fmt.Errorf("%w %s", ErrNobody, dir)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s is closed to this user: use the one who runs the process that holds it",
			filepath.Join(dir, socketName))
	}
	return conn, err
}

// reach returns a path to a file that fits into the address of a socket: by way of a link if its own does not. Forget
// removes the link.
func reach(dir, name string) (path string, forget func(), err error) {
	if path = filepath.Join(dir, name); len(path) <= longestPath {
		return path, func() {}, nil
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, err
	}
	links, err := os.MkdirTemp("", "onceward-")
	if err != nil {
		return "", nil, err
	}
	forget = func() { _ = os.RemoveAll(links) }
	path = filepath.Join(links, "d", name)
	if len(path) > longestPath {
		err = fmt.Errorf("the path of %s is too long for a socket, and so is that of %s: choose a shorter data directory, or a "+
			"shorter TMPDIR", dir, os.TempDir())
	} else {
		err = os.Symlink(absolute, filepath.Join(links, "d"))
	}
	if err != nil {
		forget()
		return "", nil, err
	}
	return path, forget, nil
}
