package state

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process holds a lock.
var ErrLocked = errors.New("locked by another process")

// LockSupervisor takes the lock that makes its holder the one supervisor of
// the directory, or returns ErrLocked. The lock belongs to the open file: a
// child that inherits the file holds it too.
func (d Dir) LockSupervisor() (*os.File, error) { return d.lock("supervisor.lock", false) }

// Leases is the file whose shared lock keeps a lab with Spec.IdleSeconds
// alive.
func (d Dir) Leases() string { return d.file("leases.lock") }

// LockLeases takes the exclusive lock of Leases, so that nobody uses the lab
// while it is held, or returns ErrLocked if somebody does.
func (d Dir) LockLeases() (*os.File, error) { return d.lock("leases.lock", false) }

// lock takes an exclusive lock that the kernel releases when its last holder
// closes the file or dies.
func (d Dir) lock(name string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(d.file(name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", d.file(name), ErrLocked)
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	return f, nil
}
