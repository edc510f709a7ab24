package cluster

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lockDirectory waits until no other process runs a cluster in the working
// directory: one that was just killed may still be on its way out.
func lockDirectory() (*os.File, error) {
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the cluster: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock of the cluster: %w", err)
	}
	return f, nil
}
