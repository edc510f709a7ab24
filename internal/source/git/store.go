package git

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mizzen.dev/mizzen"
)

// Options set the limits of a Store. The zero value is usable.
type Options struct {
	// Git is the path of the git command, 2.36 or later; "git" by default.
	Git string
	// AllowFile permits file:// URLs. They read whatever the process may
	// read, so a controller that serves several tenants leaves it off.
	AllowFile bool
	// MaxFileBytes is the size up to which a file is read; 10 MiB by default.
	MaxFileBytes int64
	// MaxMirrorBytes is the size on disk at which a fetch is stopped; 0 means
	// no limit.
	MaxMirrorBytes int64
	// CacheBytes bounds the parsed trees that are kept in memory for all
	// mirrors together, 64 MiB by default; small files get a 16th of it.
	CacheBytes int64
	// IdleTimeout is how long an unused `git cat-file` process is kept; one
	// minute by default.
	IdleTimeout time.Duration
	// Log hears what an operator may want to know; nothing by default.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Git == "" {
		o.Git = "git"
	}
	if o.MaxFileBytes == 0 {
		o.MaxFileBytes = 10 << 20
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

var errClosed = errors.New("the store of mirrors is closed")

// Store holds the mirrors below one directory. All its methods may be called
// concurrently. Several processes may use the same directory.
type Store struct {
	dir     string
	options Options
	secret  []byte
	cache   *cache
	ctx     context.Context
	cancel  context.CancelCauseFunc

	mu      sync.Mutex
	mirrors map[string]*Mirror
}

// NewStore opens or creates the directory. It fails with Kind NotFound if
// there is no git command, and with Kind Internal if the directory cannot be
// used.
func NewStore(dir string, options Options) (*Store, error) {
	options = options.withDefaults()
	path, err := exec.LookPath(options.Git)
	if err != nil {
		return nil, &mizzen.Error{Kind: mizzen.NotFound, Object: "git", Err: err, Remedy: "install git 2.36 or later"}
	}
	options.Git = path
	unusable := func(err error) (*Store, error) {
		return nil, &mizzen.Error{
			Kind: mizzen.Internal, Object: "directory " + dir, Err: err,
			Remedy: "name a directory that Mizzen may write",
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return unusable(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return unusable(err)
	}
	// A mirror below a symbolic link must be known for what it is when a file
	// URL points at it.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return unusable(err)
	}
	secret, err := storeSecret(filepath.Join(dir, "secret"))
	if err != nil {
		return unusable(err)
	}
	s := &Store{dir: dir, options: options, secret: secret, cache: newCache(options.CacheBytes), mirrors: map[string]*Mirror{}}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s, nil
}

const secretBytes = 32

// storeSecret returns the random bytes that make the names of mirrors
// meaningless to who does not have them; the first caller makes them.
func storeSecret(file string) ([]byte, error) {
	for {
		secret, err := os.ReadFile(file)
		switch {
		case err == nil && len(secret) == secretBytes:
			return secret, nil
		case err == nil:
			// Torn by a crash: nothing depends on it but the mirrors' names.
			err = os.Remove(file)
		case errors.Is(err, fs.ErrNotExist):
			err = writeSecret(file)
		}
		if err != nil {
			return nil, err
		}
	}
}

// writeSecret makes the file, as a whole, unless somebody else was first.
func writeSecret(file string) error {
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // it never fails
	temp, err := os.CreateTemp(filepath.Dir(file), ".secret-")
	if err != nil {
		return err
	}
	_, err = temp.Write(secret)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Link(temp.Name(), file)
	}
	_ = os.Remove(temp.Name())
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Open returns the mirror of a remote without speaking to its server. Remotes
// that only differ in spelling get the same Mirror, and the credentials and
// timeout of the latest call count. It fails with Kind Invalid if the URL or
// the credentials cannot be right, and with Kind Refused for a file URL that
// is not permitted.
func (s *Store) Open(r Remote) (*Mirror, error) {
	a, err := parseAddress(r.URL)
	if err != nil {
		return nil, err
	}
	if err := r.Credentials.validate(a); err != nil {
		return nil, err
	}
	if err := s.permit(a); err != nil {
		return nil, err
	}
	if r.Timeout <= 0 {
		r.Timeout = DefaultTimeout
	}
	key := a.key(r, s.secret)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return nil, errClosed
	}
	m := s.mirrors[key]
	if m == nil {
		m = newMirror(s, key, a)
		s.mirrors[key] = m
	}
	m.grant(r.Credentials, r.Timeout)
	return m, nil
}

// permit keeps file URLs away from where they are not wanted, and always from
// the mirrors of other people.
func (s *Store) permit(a address) error {
	if a.scheme != "file" {
		return nil
	}
	refused := &mizzen.Error{Kind: mizzen.Refused, Object: "repository " + a.given}
	if !s.options.AllowFile {
		refused.Err = errors.New("file URLs are not permitted here")
		refused.Remedy = "use an https or ssh URL"
		return refused
	}
	real, err := filepath.EvalSymlinks(a.path)
	if err != nil {
		return nil //nolint:nilerr // the fetch says what is wrong with the path
	}
	if rel, err := filepath.Rel(s.dir, real); err == nil && filepath.IsLocal(rel) {
		refused.Err = errors.New("the path is inside Mizzen's own state")
		refused.Remedy = "name the repository that you mean"
		return refused
	}
	return nil
}

// Prune deletes the mirrors, on disk too, whose Key is not in use any more.
func (s *Store) Prune(ctx context.Context, inUse func(key string) bool) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("list mirrors: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || len(e.Name()) != 32 || strings.HasPrefix(e.Name(), ".") || inUse(e.Name()) {
			continue
		}
		if err := s.remove(ctx, e.Name()); err != nil {
			return fmt.Errorf("delete a mirror: %w", err)
		}
	}
	return nil
}

func (s *Store) remove(ctx context.Context, key string) error {
	s.mu.Lock()
	m := s.mirrors[key]
	delete(s.mirrors, key)
	s.mu.Unlock()
	if m != nil {
		m.close()
	}
	dir := filepath.Join(s.dir, key)
	lock, err := acquire(ctx, filepath.Join(dir, lockName))
	if err != nil {
		return err
	}
	defer lock.Close()
	return os.RemoveAll(dir)
}

// Close ends all fetches and processes. Mirrors stay on disk.
func (s *Store) Close() error {
	s.cancel(errClosed)
	s.mu.Lock()
	mirrors := s.mirrors
	s.mirrors = map[string]*Mirror{}
	s.mu.Unlock()
	for _, m := range mirrors {
		m.close()
	}
	return nil
}
