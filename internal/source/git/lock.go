package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// acquire takes an exclusive lock on a file, which lasts until the file is
// closed here and in every process that inherited it. Waiting ends with ctx.
//
// A lock file that is merely there locks nothing, so a killed process leaves
// no obstacle; but a git command that outlives a killed Mizzen still has the
// lock, and is waited for.
func acquire(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the mirror: %w", err)
	}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock the mirror: %w", err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("another process has the mirror: %w", context.Cause(ctx))
		case <-again.C:
		}
	}
}
