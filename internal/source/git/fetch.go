package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"mizzen.dev/mizzen"
)

// Fetched is what a fetch brought.
type Fetched struct {
	// Changed tells whether a branch or tag is not what this process last saw.
	Changed bool
	// Rebuilt says why the mirror was made anew; empty if it was not.
	Rebuilt string
	// Lost lists commits that were to be kept and that a rebuild could not
	// bring back.
	Lost []string
}

// headRef is where the remote's default branch is noted.
const headRef = "refs/mizzen/head"

var refspecs = []string{"+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"}

// Fetch brings all branches and tags of the remote. Concurrent calls share
// the work. It ends with ctx, if nobody else waits for it, and with the
// remote's timeout.
//
// Errors are of Kind Forbidden (credentials, host key, certificate),
// NotFound, Unreachable, Timeout, TooLarge (disk), Invalid (malformed objects),
// Refused (redirect) or Internal, and the mirror is then as it was before. A
// mirror that is damaged is made anew.
func (m *Mirror) Fetch(ctx context.Context) (Fetched, error) {
	return m.flights.join(ctx, m.fetch)
}

func (m *Mirror) fetch(ctx context.Context) (Fetched, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	if err := os.MkdirAll(m.base, 0o700); err != nil {
		return Fetched{}, m.failed(err)
	}
	lock, err := acquire(ctx, filepath.Join(m.base, lockName))
	if err != nil {
		return Fetched{}, m.failed(err)
	}
	defer lock.Close()
	result, err := m.fetchLocked(ctx, lock)
	if err != nil {
		m.swept.Store(false)
		// At once, since keeping a commit needs no fetch but free refs; the
		// next fetch tries again.
		_ = m.sweep(m.ctx)
		return result, err
	}
	if result.Changed {
		m.maintenance.start(m, result.Rebuilt != "")
	}
	return result, nil
}

// bounded adds the remote's timeout and the end of the store to ctx.
func (m *Mirror) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, m.limit())
	joined, fail := context.WithCancelCause(ctx)
	stop := context.AfterFunc(m.ctx, func() { fail(context.Cause(m.ctx)) })
	return joined, func() { stop(); fail(nil); cancel() }
}

func (m *Mirror) failed(err error) error {
	failure, _ := m.failure(err)
	return failure
}

func (m *Mirror) fetchLocked(ctx context.Context, lock *os.File) (Fetched, error) {
	if err := m.sweep(ctx); err != nil {
		return Fetched{}, m.failed(err)
	}
	why, err := m.unusable(ctx)
	if err != nil {
		return Fetched{}, m.failed(err)
	}
	if why == "" {
		err := m.download(ctx, m.run, lock)
		if err == nil {
			return m.notice(ctx, Fetched{})
		}
		failure, known := m.failure(err)
		if known {
			return Fetched{}, failure
		}
		if why = m.damage(ctx); why == "" {
			return Fetched{}, failure
		}
	}
	return m.rebuild(ctx, lock, why)
}

// notice compares the refs with those that were last seen.
func (m *Mirror) notice(ctx context.Context, result Fetched) (Fetched, error) {
	before := m.refs.Load()
	after, err := m.loadRefs(ctx)
	if err != nil {
		return result, m.failed(err)
	}
	result.Changed = before == nil || !maps.Equal(before.ids, after.ids)
	if result.Changed {
		m.refs.Store(after)
	}
	return result, nil
}

// download runs `git fetch` into the repository of r.
func (m *Mirror) download(ctx context.Context, r *runner, lock *os.File) error {
	// A repository without a usable default branch has no HEAD to ask for,
	// which can only be found out by asking.
	err := m.fetchRefs(ctx, r, lock, append([]string{"+HEAD:" + headRef}, refspecs...))
	var bad *commandError
	if !errors.As(err, &bad) || !strings.Contains(bad.stderr, "couldn't find remote ref HEAD") {
		return err
	}
	// To the git command, a login page is a repository without branches: it
	// would delete all that we have.
	if err := m.speaksGit(ctx, r); err != nil {
		return err
	}
	if err := m.fetchRefs(ctx, r, lock, refspecs); err != nil {
		return err
	}
	_, err = r.run(ctx, call{args: []string{"update-ref", "-d", headRef}})
	return err
}

// protocolSpoken matches the trace of an answer that only a Git server gives.
var protocolSpoken = regexp.MustCompile(`packet: +\S+< (version [12]\b|# service=git-upload-pack|[0-9a-f]{40})`)

// speaksGit makes sure that what answers over http is a Git server.
func (m *Mirror) speaksGit(ctx context.Context, r *runner) error {
	if m.address.scheme != "http" && m.address.scheme != "https" {
		return nil
	}
	credentials, _ := m.access()
	session, err := credentials.open(m.address)
	if err != nil {
		return err
	}
	defer session.close()
	trace, err := r.complaint(ctx, call{
		args:   []string{"ls-remote", "--quiet", "--", m.address.given},
		env:    append(session.env, "GIT_TRACE_PACKET=1"),
		config: session.config,
	})
	if err != nil || protocolSpoken.MatchString(trace) {
		return err
	}
	return &mizzen.Error{
		Kind: mizzen.NotFound, Object: "repository " + m.URL(), Err: errors.New("what answers there is no Git repository"),
		Remedy: "check the URL; a proxy or a login page in between answers like that too",
	}
}

func (m *Mirror) fetchRefs(ctx context.Context, r *runner, lock *os.File, specs []string) error {
	credentials, timeout := m.access()
	session, err := credentials.open(m.address)
	if err != nil {
		return err
	}
	defer session.close()
	ctx, stop := m.watchSize(ctx, r.dir)
	defer stop()
	args := []string{
		"fetch", "--quiet", "--force", "--prune", "--no-tags", "--no-auto-maintenance",
		"--no-write-fetch-head", "--no-recurse-submodules", "--no-show-forced-updates", "--refmap=",
		"--", m.address.given,
	}
	m.log.Debug("fetch", "timeout", timeout)
	_, err = r.run(ctx, call{args: append(args, specs...), env: session.env, config: session.config, hold: lock})
	return err
}

// watchSize ends the context when the repository outgrows its limit: Git
// itself has no such limit for a fetch.
func (m *Mirror) watchSize(ctx context.Context, dir string) (context.Context, func()) {
	limit := m.options.MaxMirrorBytes
	if limit <= 0 {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if size := diskUsage(dir); size > limit {
					cancel(&mizzen.Error{
						Kind: mizzen.TooLarge, Object: "repository " + m.URL(),
						Err:    fmt.Errorf("the mirror grows beyond its limit of %d MiB", limit>>20),
						Remedy: "raise the limit, or move large files out of the repository and its history",
					})
				}
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

func diskUsage(dir string) (total int64) {
	// What disappears while we look is not counted.
	_ = filepath.WalkDir(filepath.Join(dir, "objects"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // see above
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}
