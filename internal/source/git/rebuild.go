package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sweep removes what a killed fetch or maintenance left behind: lock files,
// which would stop Git, and half-written packs, which would fill the disk.
// The caller has the lock, so nobody is still using them.
func (m *Mirror) sweep(ctx context.Context) error {
	if m.swept.Load() {
		return nil
	}
	m.maintenance.stop()
	other, err := acquire(ctx, filepath.Join(m.base, maintenanceLock))
	if err != nil {
		return err
	}
	defer other.Close()
	unfinished, err := filepath.Glob(filepath.Join(m.base, "new-*"))
	for _, dir := range unfinished {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err = errors.Join(err, sweepRepository(m.run.dir)); err == nil {
		m.swept.Store(true)
	}
	return err
}

func sweepRepository(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() || !leftover(d.Name()):
			return nil
		}
		return os.Remove(path)
	})
}

func leftover(name string) bool {
	return strings.HasSuffix(name, ".lock") || strings.HasPrefix(name, "tmp_") ||
		strings.HasPrefix(name, ".tmp-") || name == "packed-refs.new" || name == "gc.pid"
}

// removeAll removes what nobody uses any more. What cannot be removed now is
// left to the next sweep.
func removeAll(dir string) { _ = os.RemoveAll(dir) }

// unusable says why the mirror cannot be fetched into, as far as that is known
// without a fetch; "" if nothing is. It makes a mirror where there is none.
func (m *Mirror) unusable(ctx context.Context) (string, error) {
	_, err := os.Stat(m.run.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", m.create(ctx, m.run.dir)
	}
	return m.damaged(), err
}

// create makes an empty repository. It appears as a whole or not at all.
func (m *Mirror) create(ctx context.Context, dir string) error {
	temp, err := os.MkdirTemp(m.base, "new-")
	if err != nil {
		return err
	}
	defer removeAll(temp)
	fresh := filepath.Join(temp, repoName)
	r := *m.run
	r.dir = fresh
	if _, err := r.run(ctx, call{args: []string{"init", "--quiet", "--bare", "--template=", "--initial-branch=main", fresh}}); err != nil {
		return err
	}
	return os.Rename(fresh, dir)
}

// damage checks the mirror and says what is wrong with it, "" if nothing is.
// It reads every object, so it is only asked when there is a suspicion.
func (m *Mirror) damage(ctx context.Context) string {
	_, err := m.run.run(ctx, call{args: []string{"fsck", "--connectivity-only", "--no-dangling", "--no-progress", "--no-reflogs"}})
	var bad *commandError
	if errors.As(err, &bad) {
		return bad.Error()
	}
	return ""
}

// rebuild fetches everything into a new repository and puts it in the place of
// the old one, which is used until then for what it is still good for.
func (m *Mirror) rebuild(ctx context.Context, lock *os.File, why string) (Fetched, error) {
	m.log.Warn("the mirror is damaged and is made anew", "damage", why)
	m.maintenance.stop()
	kept := m.salvageable(ctx)
	temp, err := os.MkdirTemp(m.base, "new-")
	if err != nil {
		return Fetched{}, m.failed(err)
	}
	defer removeAll(temp)
	fresh := *m.run
	fresh.dir = filepath.Join(temp, repoName)
	if err := m.create(ctx, fresh.dir); err != nil {
		return Fetched{}, m.failed(err)
	}
	if err := m.download(ctx, &fresh, lock); err != nil {
		return Fetched{}, m.failed(err)
	}
	result := Fetched{Rebuilt: why}
	for _, id := range kept {
		if !m.salvage(ctx, &fresh, lock, id) {
			result.Lost = append(result.Lost, id)
		}
	}
	if err := m.swap(fresh.dir, temp); err != nil {
		return Fetched{}, m.failed(err)
	}
	m.keeper.forget()
	return m.notice(ctx, result)
}

// swap puts the repository at dir in the place of ours.
func (m *Mirror) swap(dir, temp string) error {
	return m.replace(func() error {
		if err := os.Rename(m.run.dir, filepath.Join(temp, "old")); err != nil {
			return fmt.Errorf("set the damaged mirror aside: %w", err)
		}
		if err := os.Rename(dir, m.run.dir); err != nil {
			return fmt.Errorf("put the new mirror in place: %w", err)
		}
		return nil
	})
}

// salvageable returns the commits that are to be kept, as far as they can
// still be read from a damaged mirror.
func (m *Mirror) salvageable(ctx context.Context) []string {
	ids := m.keeper.all()
	if refs, err := m.run.run(ctx, call{args: []string{"for-each-ref", "--format=%(refname)", keepPrefix}}); err == nil {
		for line := range strings.Lines(string(refs)) {
			ids = append(ids, strings.TrimPrefix(strings.TrimSpace(line), keepPrefix))
		}
	}
	slices.Sort(ids)
	return slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return !fullID(id) })
}

// salvage keeps a commit in the fresh repository: it may be there already,
// many servers still hand out what no branch has any more, and the damage may
// be elsewhere in the old one.
func (m *Mirror) salvage(ctx context.Context, fresh *runner, lock *os.File, id string) bool {
	ref := keepPrefix + id
	if _, err := fresh.run(ctx, call{args: []string{"update-ref", ref, id}}); err == nil {
		return true
	}
	if err := m.fetchRefs(ctx, fresh, lock, []string{"+" + id + ":" + ref}); err == nil {
		return true
	}
	_, err := fresh.run(ctx, call{
		args:   []string{"fetch", "--quiet", "--no-tags", "--no-auto-maintenance", "--no-write-fetch-head", "--", m.run.dir, "+" + id + ":" + ref},
		config: []setting{{"protocol.file.allow", "always"}, {"uploadpack.allowAnySHA1InWant", "true"}},
		hold:   lock,
	})
	return err == nil
}
