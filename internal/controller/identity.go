package controller

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// identity is by what name this process may hold the Lease. A process that
// was killed leaves its Lease behind, and another one waits until that runs
// out; but one that is started again in the same state directory is the same
// holder, and goes on at once.
//
// A lock on the file keeps two processes from being the same holder. It goes
// with the process, whatever happens to it.
type identity struct {
	id   string
	lock *os.File // nil if another process has the name that the directory keeps
}

// claimIdentity takes the name that the state directory keeps for a cluster,
// or a new one for this process alone if another process lives by that name.
func claimIdentity(stateDir, cluster string) (*identity, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name of this host: %w", err)
	}
	sum := sha256.Sum256([]byte(cluster))
	f, err := os.OpenFile(filepath.Join(stateDir, "leader-"+hex.EncodeToString(sum[:6])), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := tryLock(f); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return &identity{id: newIdentity(host)}, nil
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	i := &identity{lock: f}
	if i.id, err = keptIdentity(f, host); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return i, nil
}

// shared tells whether another process lives by the name that the state
// directory keeps.
func (i *identity) shared() bool { return i.lock == nil }

// Close lets another process have the name.
func (i *identity) Close() error {
	if i.lock == nil {
		return nil
	}
	return i.lock.Close()
}

func tryLock(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func newIdentity(host string) string { return host + "_" + strings.ToLower(rand.Text()) }

// keptIdentity reads the name from a file, or writes a new one: the first
// time, after a write that did not end, and if the directory was moved to
// another host, where a lock may not reach.
func keptIdentity(f *os.File, host string) (string, error) {
	const most = 512
	kept, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return "", err
	}
	id, complete := strings.CutSuffix(string(kept), "\n")
	if unique, ours := strings.CutPrefix(id, host+"_"); complete && ours && len(unique) == len(rand.Text()) {
		return id, nil
	}
	id = newIdentity(host)
	if err := f.Truncate(0); err != nil {
		return "", err
	}
	_, err = f.WriteAt([]byte(id+"\n"), 0)
	return id, err
}
