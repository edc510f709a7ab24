package git

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source/symlink"
)

const (
	// maxLinks bounds the symbolic links that count for one ID: a few trees
	// that hold each other many times can pretend to hold any number.
	maxLinks = 10_000
	// maxVisits bounds the directories that are looked into for one answer.
	maxVisits = 1_000_000
)

// ID returns the content address of a file or directory: Git's own id, found
// from the trees above it alone. Only if symbolic links are below a directory
// does it also cover what they lead to.
func (s *Snapshot) ID(name string) (string, error) {
	e, real, err := s.lookup("id", name, true)
	if err != nil {
		return "", err
	}
	if e.mode.kind() != modeDirectory {
		return e.id.hex(), nil
	}
	links, err := s.links(real, e)
	if err != nil {
		return "", err
	}
	if len(links) == 0 {
		return e.id.hex(), nil
	}
	s.mu.Lock()
	id, ok := s.linked[real]
	s.mu.Unlock()
	if ok {
		return id, nil
	}
	if id, err = s.identify(real, e); err != nil {
		return "", err
	}
	s.mu.Lock()
	s.linked[real] = id
	s.mu.Unlock()
	return id, nil
}

// identify hashes a directory with everything that links below it lead to, and
// those below that, and so on.
func (s *Snapshot) identify(real string, e entry) (string, error) {
	lines := []string{fmt.Sprintf("%q %s\n", real, e.id.hex())}
	seen := map[string]bool{real: true}
	for work := []string{real}; len(work) > 0; work = work[1:] {
		dir, _, err := s.descend(work[0])
		if err != nil {
			return "", err
		}
		links, err := s.links(work[0], dir)
		if err != nil {
			return "", err
		}
		for _, link := range links {
			if len(lines) > maxLinks {
				return "", tooManyLinks(real)
			}
			from := path.Join(work[0], link)
			to, id, isDir, err := s.destination(from)
			if err != nil {
				return "", err
			}
			lines = append(lines, fmt.Sprintf("%q -> %q %s\n", from, to, id))
			if isDir && !seen[to] {
				seen[to] = true
				work = append(work, to)
			}
		}
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, line := range lines {
		h.Write([]byte(line))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// destination says where a link leads to. A link to nowhere has its own
// answer, since a later commit may put something there.
func (s *Snapshot) destination(link string) (to, id string, isDir bool, err error) {
	to, err = symlink.Resolve(link, true, s.readLink)
	var e entry
	if err == nil {
		e, _, err = s.descend(to)
	}
	switch {
	case mizzen.KindOf(err) == mizzen.Refused:
		return "", "refused", false, nil
	case errors.Is(err, fs.ErrNotExist):
		return "", "missing", false, nil
	case err != nil:
		return "", "", false, err
	}
	return to, e.id.hex(), e.mode.kind() == modeDirectory, nil
}

// links lists the symbolic links below a directory, by their paths relative to
// it. The answer belongs to the tree, whatever the commit, and is kept.
func (s *Snapshot) links(name string, e entry) ([]string, error) {
	visits := 0
	links, err := s.collect(e.id, &visits)
	if errors.Is(err, errTooBig) {
		return nil, tooManyLinks(name)
	}
	return links, located(name, err)
}

func (s *Snapshot) collect(id oid, visits *int) ([]string, error) {
	key := cacheKey{s.objects, 'l', string(id)}
	if v, ok := s.objects.cache.get(key); ok {
		return v.([]string), nil
	}
	if *visits++; *visits > maxVisits {
		return nil, errTooBig
	}
	t, err := s.tree(id)
	if err != nil {
		return nil, err
	}
	var links []string
	cost := 0
	for _, e := range t.entries {
		switch e.mode.kind() {
		case modeLink:
			links = append(links, e.name)
		case modeDirectory:
			below, err := s.collect(e.id, visits)
			if err != nil {
				return nil, err
			}
			for _, link := range below {
				links = append(links, e.name+"/"+link)
				cost += len(e.name) + len(link)
			}
		}
		if len(links) > maxLinks || cost > maxTree {
			return nil, errTooBig
		}
	}
	s.objects.cache.put(key, links, int64(cost+16*len(links)))
	return links, nil
}

func tooManyLinks(name string) error {
	return &mizzen.Error{
		Kind: mizzen.Timeout, Object: name, Origin: mizzen.Origin{File: name},
		Err:    fmt.Errorf("there are more than %d symbolic links, or too many directories, below it", maxLinks),
		Remedy: "replace links by files, or name a smaller directory",
	}
}
