package git

import (
	"mizzen.dev/mizzen/internal/source/symlink"
)

// maxVisits bounds the directories that are looked into for one answer: a few
// trees that hold each other many times can pretend to be any number.
const maxVisits = 1_000_000

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
	visits := 0
	if links, err := s.links(e.id, &visits); err == nil && len(links) == 0 {
		return e.id.hex(), nil
	}
	s.mu.Lock()
	id, ok := s.linked[real]
	s.mu.Unlock()
	if ok {
		return id, nil
	}
	if id, err = symlink.Identity(real, linkTree{s}); err != nil {
		return "", err
	}
	s.mu.Lock()
	s.linked[real] = id
	s.mu.Unlock()
	return id, nil
}

// linkTree is a Snapshot as the reader of links sees it.
type linkTree struct{ *Snapshot }

func (t linkTree) Target(name string) (string, bool, error) { return t.readLink(name) }

func (t linkTree) Plain(name string) (string, bool, error) {
	e, _, err := t.descend(name)
	return e.id.hex(), e.mode.kind() == modeDirectory, err
}

func (t linkTree) Links(dir string) ([]string, error) {
	e, _, err := t.descend(dir)
	if err != nil || e.mode.kind() != modeDirectory {
		return nil, err
	}
	visits := 0
	links, err := t.links(e.id, &visits)
	return links, located(dir, err)
}

// links lists the symbolic links below a directory, by their paths relative to
// it. The answer belongs to the tree, whatever the commit, and is kept.
func (s *Snapshot) links(id oid, visits *int) ([]string, error) {
	key := cacheKey{s.objects, 'l', string(id)}
	if v, ok := s.objects.cache.get(key); ok {
		return v.([]string), nil
	}
	if *visits++; *visits > maxVisits {
		return nil, symlink.ErrTooMany
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
			below, err := s.links(e.id, visits)
			if err != nil {
				return nil, err
			}
			for _, link := range below {
				links = append(links, e.name+"/"+link)
				cost += len(e.name) + len(link)
			}
		}
		if len(links) > symlink.MaxLinks || cost > maxTree {
			return nil, symlink.ErrTooMany
		}
	}
	s.objects.cache.put(key, links, int64(cost+16*len(links)))
	return links, nil
}
