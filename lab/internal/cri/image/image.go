// Package image is the table that stands for a registry. In go YAML and the
// directory of its files; out come Images whose files are there, or an error
// that says what to do.
package image

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"
)

// Image is how containers of a name are made.
type Image struct {
	// Files maps paths in the container to files of the node.
	Files      map[string]string `json:"files"`
	Entrypoint []string          `json:"entrypoint"`
	Cmd        []string          `json:"cmd"`
	Env        []string          `json:"env"`
	WorkingDir string            `json:"workingDir"`
	User       int64             `json:"user"`
	Group      *int64            `json:"group"`
	StopSignal string            `json:"stopSignal"`
	// Remedy says how its files are made.
	Remedy string `json:"remedy"`

	// Name is its name in the table.
	Name string `json:"-"`
	// Size is that of its files, in bytes.
	Size uint64 `json:"-"`
}

// GID returns the group of the image's user.
func (i *Image) GID() int64 {
	if i.Group != nil {
		return *i.Group
	}
	return i.User
}

// Missing is the error of an image whose file is not there, Unknown that of a
// name which is not in the table.
var (
	ErrMissing = errors.New("is missing")
	ErrUnknown = errors.New("there is no image")
)

// Store is the table: the lab's own, and the user's beside it, whose names win.
type Store struct {
	bin   string
	own   map[string]*Image
	extra string

	mu    sync.Mutex
	table map[string]*Image
}

// NewStore returns a Store of the table in data. Relative files are below bin;
// extra is a file with a further table, or empty.
func NewStore(data []byte, bin, extra string) (*Store, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	own, err := parse(data, bin)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	s := &Store{bin: bin, own: own, extra: extra}
	return s, s.Reload()
}

// Reload reads the further table again. The old one stays if there is an
// error.
func (s *Store) Reload() error {
	table := maps.Clone(s.own)
	if s.extra != "" {
		data, err := os.ReadFile(s.extra)
		if err != nil {
			return fmt.Errorf("table of images: %w", err)
		}
		more, err := parse(data, s.bin)
		if err != nil {
			return fmt.Errorf("table of images %s: %w", s.extra, err)
		}
		maps.Copy(table, more)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = table
	return nil
}

func parse(data []byte, bin string) (map[string]*Image, error) {
	var table map[string]*Image
	if err := yaml.UnmarshalStrict(data, &table); err != nil {
		return nil, err
	}
	for name, i := range table {
		if i == nil || len(i.Entrypoint)+len(i.Cmd) == 0 {
			return nil, fmt.Errorf("%s has neither entrypoint nor cmd", name)
		}
		if i.StopSignal != "" && unix.SignalNum(i.StopSignal) == 0 {
			return nil, fmt.Errorf("%s: stopSignal %q is no signal such as SIGTERM", name, i.StopSignal)
		}
		i.Name = name
		for path, file := range i.Files {
			if !filepath.IsAbs(path) {
				return nil, fmt.Errorf("%s: the path %q of a file in the container is not absolute", name, path)
			}
			if !filepath.IsAbs(file) {
				i.Files[path] = filepath.Join(bin, file)
			}
		}
	}
	return table, nil
}

// Get returns the image of a name, as it is written in a pod or as the
// kubelet completes it. The error is an ErrUnknown or an ErrMissing and says
// what to do.
func (s *Store) Get(name string) (*Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, prefix := range []string{"", "docker.io/", "docker.io/library/"} {
		if short, ok := strings.CutPrefix(name, prefix); ok && s.table[short] != nil {
			return s.table[short].check()
		}
	}
	where := "start the lab with a table: lab up --live --images FILE"
	if s.extra != "" {
		where = "add it to " + s.extra
	}
	return nil, fmt.Errorf("%w %q in the lab, which pulls from no registry; %s, or use one of: %s",
		ErrUnknown, name, where, strings.Join(slices.Sorted(maps.Keys(s.table)), ", "))
}

// All returns the images whose files are there, by name.
func (s *Store) All() []*Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Image
	for _, name := range slices.Sorted(maps.Keys(s.table)) {
		if i, err := s.table[name].check(); err == nil {
			all = append(all, i)
		}
	}
	return all
}

// check returns the image with its size, if its files are there.
func (i *Image) check() (*Image, error) {
	found := *i
	for _, path := range slices.Sorted(maps.Keys(i.Files)) {
		file := i.Files[path]
		info, err := os.Stat(file)
		if err != nil {
			remedy := i.Remedy
			if remedy == "" {
				remedy = "put it there, or change the table"
			}
			return nil, fmt.Errorf("%s needs %s, which %w (%w): %s", i.Name, file, ErrMissing, err, remedy)
		}
		if !info.IsDir() {
			found.Size += uint64(info.Size())
		}
	}
	return &found, nil
}
