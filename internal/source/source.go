// Package source gives the Snapshots of Repositories: it keeps what was
// fetched, knows which commit a revision stands for, and says so without
// asking Git again until something new has come.
package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/source/git"
)

// Sources holds the Repositories by name. It is safe for concurrent use.
type Sources struct {
	store *git.Store

	mu    sync.Mutex
	repos map[mizzen.Name]*repository
	// news counts the fetches of each mirror that brought something, whichever
	// of the Repositories that share it asked.
	news map[*git.Mirror]uint64
}

// repository is one Repository with what was found at its last fetch.
type repository struct {
	spec   v1alpha1.RepositorySpec
	mirror *git.Mirror

	mu sync.Mutex
	// fetched tells whether there is anything to read yet.
	fetched bool
	// epoch is which of the mirror's news the rest is about.
	epoch    uint64
	resolved map[string]mizzen.Commit
	// snapshots of the commits in resolved, so that all Applications of a
	// commit share one.
	snapshots map[string]mizzen.Snapshot
}

// New returns Sources without Repositories.
func New(store *git.Store) *Sources {
	return &Sources{store: store, repos: map[mizzen.Name]*repository{}, news: map[*git.Mirror]uint64{}}
}

// Set declares a Repository, or changes one. credentials are the data of the
// Secret that it names. The error is of Kind Invalid or Refused.
func (s *Sources) Set(name mizzen.Name, spec v1alpha1.RepositorySpec, credentials map[string][]byte) error {
	identity := ""
	if spec.SecretRef != nil {
		identity = name.Namespace + "/" + spec.SecretRef.Name
	}
	mirror, err := s.store.Open(git.Remote{
		URL: spec.URL, Identity: identity, Timeout: spec.Timeout.Duration, Credentials: credentialsOf(credentials),
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.repos[name]; known != nil && known.mirror == mirror {
		known.mu.Lock()
		known.spec = spec
		known.mu.Unlock()
		return nil
	}
	s.repos[name] = &repository{spec: spec, mirror: mirror}
	return nil
}

// credentialsOf reads the keys that Secrets for Git have in this field.
func credentialsOf(data map[string][]byte) git.Credentials {
	first := func(keys ...string) []byte {
		for _, k := range keys {
			if v := data[k]; len(v) > 0 {
				return v
			}
		}
		return nil
	}
	return git.Credentials{
		Username:   string(first("username")),
		Password:   string(first("password")),
		Token:      string(first("token", "bearerToken")),
		CA:         first("caFile", "ca.crt"),
		PrivateKey: first("identity", "sshPrivateKey", "ssh-privatekey"),
		Passphrase: string(first("passphrase")),
		KnownHosts: first("known_hosts"),
	}
}

// Forget drops a Repository. Its mirror stays until Prune.
func (s *Sources) Forget(name mizzen.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.repos, name)
}

func (s *Sources) get(name mizzen.Name) (*repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[name]
	if r == nil {
		return nil, NotFetchedError{name}
	}
	return r, nil
}

// Fetch brings what is new; Changed says so too if another Repository with the
// same mirror has brought it since this one last looked. The errors are those
// of git.Mirror.Fetch.
func (s *Sources) Fetch(ctx context.Context, name mizzen.Name) (git.Fetched, error) {
	r, err := s.get(name)
	if err != nil {
		return git.Fetched{}, err
	}
	fetched, err := r.mirror.Fetch(ctx)
	if err != nil {
		return fetched, err
	}
	epoch := s.epoch(r.mirror, fetched)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.fetched || r.epoch != epoch {
		fetched.Changed = fetched.Changed || r.fetched
		r.fetched, r.epoch = true, epoch
		r.resolved, r.snapshots = map[string]mizzen.Commit{}, map[string]mizzen.Snapshot{}
	}
	return fetched, nil
}

// epoch counts the news of a mirror, those of this fetch included.
func (s *Sources) epoch(m *git.Mirror, f git.Fetched) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Changed || f.Rebuilt != "" {
		s.news[m]++
	}
	return s.news[m]
}

// Fetched tells whether there is any content of a Repository to read.
func (s *Sources) Fetched(name mizzen.Name) bool {
	r, err := s.get(name)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fetched
}

// NotFetchedError says that a Repository has no content yet.
type NotFetchedError struct{ Repository mizzen.Name }

// Error names the Repository.
func (e NotFetchedError) Error() string {
	return fmt.Sprintf("repository %s is not fetched yet", e.Repository)
}

// Snapshot returns the content at a revision; an empty one is the
// Repository's own. It fails with NotFetchedError before the first fetch, or if
// there is no such Repository, and
// with Kind NotFound if the revision does not exist.
func (s *Sources) Snapshot(ctx context.Context, name mizzen.Name, revision string) (mizzen.Snapshot, error) {
	r, err := s.get(name)
	if err != nil {
		return nil, err
	}
	commit, epoch, err := r.resolve(ctx, name, revision)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if snapshot := r.snapshots[commit.ID]; snapshot != nil {
		return snapshot, nil
	}
	snapshot, err := r.mirror.Snapshot(ctx, commit.ID)
	if err != nil {
		return nil, err
	}
	if r.epoch == epoch {
		r.snapshots[commit.ID] = snapshot
	}
	return snapshot, nil
}

// resolve asks Git once per revision and fetch.
func (r *repository) resolve(ctx context.Context, name mizzen.Name, revision string) (mizzen.Commit, uint64, error) {
	r.mu.Lock()
	if !r.fetched {
		r.mu.Unlock()
		return mizzen.Commit{}, 0, NotFetchedError{name}
	}
	if revision == "" {
		revision = r.spec.Revision
	}
	commit, ok := r.resolved[revision]
	epoch := r.epoch
	r.mu.Unlock()
	if ok {
		return commit, epoch, nil
	}
	commit, err := r.mirror.Resolve(ctx, revision)
	if err != nil {
		return mizzen.Commit{}, epoch, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch == epoch {
		r.resolved[revision] = commit
	}
	return commit, epoch, nil
}

// Keep protects the commits that a holder, such as an Application, still needs
// from being lost to a forced push, in the place of those that it needed before.
func (s *Sources) Keep(ctx context.Context, name mizzen.Name, holder string, commits ...string) error {
	r, err := s.get(name)
	if err != nil {
		return err
	}
	return r.mirror.Keep(ctx, holder, commits...)
}

// Tidy lets go of what nobody needs: commits that no holder named in a Keep
// since the process started, and mirrors of Repositories that are gone. It is
// for when every holder has had its say.
func (s *Sources) Tidy(ctx context.Context) error {
	s.mu.Lock()
	inUse, mirrors := map[string]bool{}, make([]*git.Mirror, 0, len(s.repos))
	for _, r := range s.repos {
		inUse[r.mirror.Key()] = true
		mirrors = append(mirrors, r.mirror)
	}
	maps.DeleteFunc(s.news, func(m *git.Mirror, _ uint64) bool { return !inUse[m.Key()] })
	s.mu.Unlock()
	var errs []error
	for _, m := range mirrors {
		errs = append(errs, m.ReleaseUnclaimed(ctx))
	}
	errs = append(errs, s.store.Prune(ctx, func(key string) bool { return inUse[key] }))
	return errors.Join(errs...)
}

// Rewritten tells whether the history was rewritten between two commits: the
// old one is not among the ancestors of the new one.
func (s *Sources) Rewritten(ctx context.Context, name mizzen.Name, from, to string) (bool, error) {
	if from == "" || from == to {
		return false, nil
	}
	r, err := s.get(name)
	if err != nil {
		return false, err
	}
	ancestor, err := r.mirror.IsAncestor(ctx, from, to)
	return !ancestor && err == nil, err
}
