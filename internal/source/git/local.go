package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"mizzen.dev/mizzen"
)

// Local is a clone on the user's own disk. It is only read. Unlike for a
// Mirror, the user's configuration of Git counts, as for every git command
// that they run there.
type Local struct {
	*objects
	root string
}

// OpenLocal opens the clone that a path is in, from anywhere below its root.
// It fails with Kind NotFound if there is none, and with Kind Refused if Git
// does not trust its owner. The caller closes it.
func OpenLocal(ctx context.Context, path string, options Options) (*Local, error) {
	options = options.withDefaults()
	git, err := exec.LookPath(options.Git)
	if err != nil {
		return nil, &mizzen.Error{Kind: mizzen.NotFound, Object: "git", Err: err, Remedy: "install git 2.36 or later"}
	}
	dir, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the clone: %w", err)
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, &mizzen.Error{Kind: mizzen.NotFound, Object: path, Err: err, Remedy: "name a directory that exists"}
	} else if !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	run := &runner{git: git, dir: dir, discover: true, env: localEnviron(), config: []setting{
		// Looking at a clone must not start what its configuration names.
		{"core.fsmonitor", "false"}, {"core.hooksPath", "/dev/null"},
	}}
	out, err := run.run(ctx, call{args: []string{"rev-parse", "--show-toplevel"}})
	if err != nil {
		return nil, notLocal(path, err)
	}
	root := strings.TrimSuffix(string(out), "\n")
	if root == "" {
		return nil, notLocal(path, errors.New("it is a bare repository"))
	}
	run.dir = root
	return &Local{objects: newObjects(run, newCache(options.CacheBytes), options), root: root}, nil
}

// ErrNoClone is the cause when a path is in no Git working tree.
var ErrNoClone = errors.New("it is not in a Git working tree")

func notLocal(path string, err error) error {
	var bad *commandError
	switch {
	case errors.As(err, &bad) && strings.Contains(bad.stderr, "dubious ownership"):
		return &mizzen.Error{
			Kind: mizzen.Refused, Object: path, Err: errors.New("the clone belongs to somebody else, so Git does not trust it"),
			Remedy: "if you trust it, run: git config --global --add safe.directory " + path,
		}
	case errors.As(err, &bad), !isContext(err):
		return &mizzen.Error{
			Kind: mizzen.NotFound, Object: path, Err: fmt.Errorf("%w (%s)", ErrNoClone, strings.TrimPrefix(err.Error(), "git rev-parse: ")),
			Remedy: "change to a clone of the repository",
		}
	}
	return err
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// localEnviron is the user's environment without what would make Git look at
// another repository or wait for an answer.
func localEnviron() []string {
	env := []string{}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "GIT_") || strings.HasPrefix(name, "GIT_CONFIG_GLOBAL") || name == "GIT_CONFIG_SYSTEM" || name == "GIT_CONFIG_NOSYSTEM" {
			env = append(env, e)
		}
	}
	return append(env, "LC_ALL=C", "LANGUAGE=C", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1")
}

// Close ends the processes that read the clone.
func (l *Local) Close() error {
	l.close()
	return nil
}

// Root is the directory at the top of the working tree.
func (l *Local) Root() string { return l.root }

// OriginURL returns the URL of the remote called origin, without a password;
// "" if there is none.
func (l *Local) OriginURL(ctx context.Context) (string, error) {
	out, err := l.run.run(ctx, call{args: []string{"config", "--get", "remote.origin.url"}})
	var bad *commandError
	if errors.As(err, &bad) && bad.code == 1 {
		return "", nil
	}
	return Redact(strings.TrimSuffix(string(out), "\n")), err
}

// Resolve returns the commit of any revision that Git understands, such as
// HEAD~2, origin/main or a tag. It fails with Kind NotFound.
func (l *Local) Resolve(ctx context.Context, revision string) (mizzen.Commit, error) {
	c, err := l.find(ctx, revision)
	if err != nil {
		return mizzen.Commit{}, err
	}
	return c.Commit, nil
}

// Snapshot returns the committed content of a revision; see Resolve.
func (l *Local) Snapshot(ctx context.Context, revision string) (*Snapshot, error) {
	c, err := l.find(ctx, revision)
	if err != nil {
		return nil, err
	}
	return newSnapshot(l.objects, c), nil
}

// MergeBase returns the commit at which two revisions parted. It fails with
// Kind NotFound if they have nothing in common, as in a shallow clone.
func (l *Local) MergeBase(ctx context.Context, a, b string) (mizzen.Commit, error) {
	one, err := l.find(ctx, a)
	if err != nil {
		return mizzen.Commit{}, err
	}
	two, err := l.find(ctx, b)
	if err != nil {
		return mizzen.Commit{}, err
	}
	out, err := l.run.run(ctx, call{args: []string{"merge-base", one.ID, two.ID}})
	if isContext(err) {
		return mizzen.Commit{}, err
	}
	if err != nil {
		return mizzen.Commit{}, &mizzen.Error{
			Kind: mizzen.NotFound, Object: printable(a+"..."+b, 256), Err: errors.New("the revisions have no commit in common"),
			Remedy: "fetch the whole history: git fetch --unshallow",
		}
	}
	return l.Resolve(ctx, strings.TrimSpace(string(out)))
}

func (l *Local) find(ctx context.Context, revision string) (*commit, error) {
	bad := func(kind mizzen.Kind, err error, remedy string) (*commit, error) {
		return nil, &mizzen.Error{Kind: kind, Object: fmt.Sprintf("revision %q", printable(revision, 256)), Err: err, Remedy: remedy}
	}
	if revision == "" || strings.HasPrefix(revision, "-") || len(revision) > 256 || strings.ContainsAny(revision, "\n\x00") {
		return bad(mizzen.Invalid, errors.New("it is no revision"), "name a branch, a tag or a commit")
	}
	out, err := l.run.run(ctx, call{args: []string{"rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}"}})
	if isContext(err) {
		return nil, err
	}
	if err != nil {
		return bad(mizzen.NotFound, errors.New("the clone has no such commit"), "fetch it first: git fetch origin")
	}
	id, err := parseID(strings.TrimSpace(string(out)))
	if err != nil {
		return nil, err
	}
	c, err := l.commit(id)
	if errors.Is(err, errNoObject) {
		return bad(mizzen.NotFound, err, "fetch it first: git fetch origin")
	}
	return c, l.judge(id, err)
}

// WorkingTree returns what a commit of everything in the working tree would
// hold: changes that are not committed and new files included, ignored files
// not. It is taken once and does not change with the files. Its Commit is HEAD
// if that has the same content, else one without an ID.
//
// Nothing is written to the clone: what is new goes into a directory that
// Close removes.
func (l *Local) WorkingTree(ctx context.Context) (*Snapshot, func(), error) {
	temp, err := os.MkdirTemp("", "mizzen-tree-")
	if err != nil {
		return nil, nil, fmt.Errorf("read the working tree: %w", err)
	}
	remove := func() { _ = os.RemoveAll(temp) }
	id, run, err := l.writeTree(ctx, temp)
	if err != nil {
		remove()
		return nil, nil, &mizzen.Error{Kind: mizzen.Invalid, Object: l.root, Err: err, Remedy: "see what `git add --all --dry-run` says"}
	}
	c := &commit{id: id, tree: id, Commit: mizzen.Commit{Subject: "working tree"}}
	if head, err := l.find(ctx, "HEAD"); err == nil && head.tree == id {
		c = head
	}
	o := newObjects(run, l.cache, Options{MaxFileBytes: l.maxFile, IdleTimeout: time.Minute})
	return newSnapshot(o, c), func() { o.close(); remove() }, nil
}

// writeTree makes a tree of the working tree by a copy of the index, which
// spares Git from reading the files that did not change.
func (l *Local) writeTree(ctx context.Context, temp string) (oid, *runner, error) {
	out, err := l.run.run(ctx, call{args: []string{"rev-parse", "--path-format=absolute", "--git-path", "index", "--git-path", "objects"}})
	if err != nil {
		return "", nil, err
	}
	index, objects, ok := strings.Cut(string(bytes.TrimSpace(out)), "\n")
	if !ok {
		return "", nil, errors.New("git does not say where the index is")
	}
	if err := copyIndex(index, filepath.Join(temp, "index")); err != nil {
		return "", nil, err
	}
	store := filepath.Join(temp, "objects")
	if err := os.Mkdir(store, 0o700); err != nil {
		return "", nil, err
	}
	run := *l.run
	run.env = append(append([]string{}, l.run.env...),
		"GIT_INDEX_FILE="+filepath.Join(temp, "index"), "GIT_OBJECT_DIRECTORY="+store,
		"GIT_ALTERNATE_OBJECT_DIRECTORIES="+quoteAlternate(objects))
	if _, err := run.run(ctx, call{args: []string{"add", "--all", "--", ":/"}}); err != nil {
		return "", nil, err
	}
	if out, err = run.run(ctx, call{args: []string{"write-tree"}}); err != nil {
		return "", nil, err
	}
	id, err := parseID(strings.TrimSpace(string(out)))
	return id, &run, err
}

// copyIndex copies an index, if there is one, with its time: a file that was
// changed as late as the index was written has to be read, and a copy of now
// would have all files look older.
func copyIndex(from, to string) error {
	info, err := os.Stat(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}

// quoteAlternate keeps a path with a colon in it in one piece.
func quoteAlternate(path string) string {
	if !strings.ContainsAny(path, ":\"\\") {
		return path
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
}
