package git

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	lockName = "lock"
	repoName = "repo.git"
)

// Mirror is the local copy of one remote. All its methods may be called
// concurrently, reading while a fetch is under way included.
type Mirror struct {
	*objects
	key     string
	base    string
	address address
	log     *slog.Logger
	options Options
	ctx     context.Context
	cancel  context.CancelCauseFunc

	accessMu    sync.Mutex
	credentials Credentials
	timeout     time.Duration

	flights flights
	refs    atomic.Pointer[refTable]
	loading sync.Mutex
	// swept is false until the leftovers of earlier processes, or of a fetch
	// that failed, are gone. Who changes it has the lock.
	swept atomic.Bool

	keeper      keeper
	maintenance maintenance
}

func newMirror(s *Store, key string, a address) *Mirror {
	base := filepath.Join(s.dir, key)
	run := &runner{git: s.options.Git, dir: filepath.Join(base, repoName), env: isolatedEnviron(), config: isolation()}
	for _, id := range tolerated {
		run.config = append(run.config, setting{"fetch.fsck." + id, "ignore"})
	}
	if a.scheme == "file" {
		run.config = append(run.config, setting{"protocol.file.allow", "always"})
	}
	m := &Mirror{
		objects: newObjects(run, s.cache, s.options),
		key:     key, base: base, address: a, options: s.options,
		log: s.options.Log.With("repository", Redact(a.given)),
	}
	m.ctx, m.cancel = context.WithCancelCause(s.ctx)
	return m
}

// Key names the mirror within its Store; see Store.Prune.
func (m *Mirror) Key() string { return m.key }

// URL returns the remote's URL as it may be shown.
func (m *Mirror) URL() string { return Redact(m.address.given) }

func (m *Mirror) grant(c Credentials, timeout time.Duration) {
	m.accessMu.Lock()
	defer m.accessMu.Unlock()
	m.credentials, m.timeout = c, timeout
}

func (m *Mirror) access() (Credentials, time.Duration) {
	m.accessMu.Lock()
	defer m.accessMu.Unlock()
	return m.credentials, m.timeout
}

func (m *Mirror) limit() time.Duration {
	_, timeout := m.access()
	return timeout
}

// close ends what runs for the mirror. Later calls fail.
func (m *Mirror) close() {
	m.cancel(errClosed)
	m.maintenance.stop()
	m.objects.close()
}
