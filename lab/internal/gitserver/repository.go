package gitserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Root is the directory of all repositories.
type Root string

// Settings are what the lab knows of a repository beyond Git, kept beside its
// objects.
type Settings struct {
	// User and Password, if set, are asked for by HTTP basic authentication.
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	// Hooks are told about each push.
	Hooks []Hook `json:"hooks,omitempty"`
	// Laid is what the lab itself laid down there.
	Laid Laid `json:"laid,omitzero"`
}

// Laid is content of the lab's own making.
type Laid struct {
	// Commit is the last one whose files are all the lab's.
	Commit string `json:"commit"`
	// Version is that of the content.
	Version string `json:"version"`
}

// Hook is a receiver of push events.
type Hook struct {
	// URL gets the events as POST requests.
	URL string `json:"url"`
	// Secret signs them.
	Secret string `json:"secret"`
}

// Branch is the branch of a new repository.
const Branch = "main"

const settingsFile = "lab.json"

// ErrExists says that there is such a repository already.
var ErrExists = errors.New("repository exists")

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]|\.[a-z0-9_-]){0,99}$`)

// path returns the bare repository's directory; name comes without ".git".
func (r Root) path(name string) (string, error) {
	if !validName.MatchString(name) || strings.HasSuffix(name, ".git") {
		return "", fmt.Errorf("%q is no name of a repository: use a-z, 0-9, '-', '_' and single dots", name)
	}
	return filepath.Join(string(r), name+".git"), nil
}

// Exists reports whether there is a repository of that name.
func (r Root) Exists(name string) bool {
	path, err := r.path(name)
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(path, settingsFile))
	return err == nil
}

// Names lists the repositories in alphabetical order.
func (r Root) Names() ([]string, error) {
	entries, err := os.ReadDir(string(r))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("repositories: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".git"); ok && r.Exists(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// Create makes a repository. With a Commit its branch main has that commit,
// else it is empty. The commit is noted as laid down if settings name its
// version. A repository appears complete or not at all; if it exists,
// Create returns ErrExists and changes nothing.
func (r Root) Create(ctx context.Context, name string, settings Settings, first *Commit) error {
	path, err := r.path(name)
	if err != nil {
		return err
	}
	if r.Exists(name) {
		return fmt.Errorf("%s: %w", name, ErrExists)
	}
	if err := os.MkdirAll(string(r), 0o700); err != nil {
		return fmt.Errorf("repositories: %w", err)
	}
	temporary, err := os.MkdirTemp(string(r), ".new-")
	if err != nil {
		return fmt.Errorf("repository: %w", err)
	}
	defer func() { _ = os.RemoveAll(temporary) }() // gone already if all is well
	if err := initialize(ctx, temporary); err != nil {
		return err
	}
	if first != nil {
		if err := begin(ctx, temporary, *first, &settings.Laid); err != nil {
			return err
		}
	}
	if err := writeSettings(temporary, settings); err != nil {
		return err
	}
	// A directory that is not empty stays: of two creations one fails.
	if err := os.Rename(temporary, path); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", name, ErrExists)
	} else if err != nil {
		return fmt.Errorf("repository: %w", err)
	}
	return nil
}

// begin makes a commit the first of the branch, and notes it as laid down if its
// version is known.
func begin(ctx context.Context, dir string, first Commit, laid *Laid) error {
	id, err := first.write(ctx, dir, "")
	if err != nil {
		return err
	}
	if laid.Version != "" {
		laid.Commit = id
	}
	_, err = git(ctx, dir, nil, "update-ref", "refs/heads/"+Branch, id)
	return err
}

func initialize(ctx context.Context, dir string) error {
	if _, err := git(ctx, dir, nil, "init", "--quiet", "--bare", "--initial-branch="+Branch, "."); err != nil {
		return err
	}
	for _, setting := range [][2]string{
		{"http.receivepack", "true"},
		{"http.getanyfile", "false"},
		// As forges do: single commits, and clones without blobs.
		{"uploadpack.allowAnySHA1InWant", "true"},
		{"uploadpack.allowFilter", "true"},
		// No process of ours outlives the request that it serves.
		{"receive.autogc", "false"},
		{"gc.auto", "0"},
		{"core.fsync", "none"},
	} {
		if _, err := git(ctx, dir, nil, "config", setting[0], setting[1]); err != nil {
			return err
		}
	}
	return nil
}

// Settings returns those of a repository.
func (r Root) Settings(name string) (Settings, error) {
	var s Settings
	path, err := r.path(name)
	if err != nil {
		return s, err
	}
	data, err := os.ReadFile(filepath.Join(path, settingsFile))
	if err != nil {
		return s, fmt.Errorf("repository %s: %w", name, err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("settings of repository %s: %w", name, err)
	}
	return s, nil
}

// AddHook makes the repository tell h about each push; an older hook with the
// same URL is replaced.
func (r Root) AddHook(name string, h Hook) error {
	s, err := r.Settings(name)
	if err != nil {
		return err
	}
	hooks := []Hook{h}
	for _, old := range s.Hooks {
		if old.URL != h.URL {
			hooks = append(hooks, old)
		}
	}
	return r.SetHooks(name, hooks...)
}

// SetHooks makes the repository tell exactly these hooks about each push.
func (r Root) SetHooks(name string, hooks ...Hook) error {
	s, err := r.Settings(name)
	if err != nil {
		return err
	}
	s.Hooks = hooks
	path, err := r.path(name)
	if err != nil {
		return err
	}
	return writeSettings(path, s)
}

func writeSettings(dir string, s Settings) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	temporary := filepath.Join(dir, settingsFile+".new")
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, settingsFile)); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return nil
}
