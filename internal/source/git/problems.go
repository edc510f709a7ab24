package git

import (
	"bytes"
	"fmt"
	"path"
	"unicode/utf8"

	"mizzen.dev/mizzen"
)

// lfsPointer is how a Git LFS pointer begins, and maxPointer how long it can
// be: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
const (
	lfsPointer = "version https://git-lfs.github.com/spec/v1\n"
	maxPointer = 1024
	// maxProblems bounds what is reported of one directory.
	maxProblems = 1000
)

// Problems reports what below a directory is not what it seems to be:
// submodules, whose content is not fetched (CodeSubmodule), Git LFS pointers
// in the place of files (CodeLFSPointer), and names that are not UTF-8
// (CodeFileName). Findings are sorted, at most 1,000; a name that does not
// exist has fs.ErrNotExist.
func (s *Snapshot) Problems(name string) ([]mizzen.Finding, error) {
	e, real, err := s.lookup("problems", name, true)
	if err != nil {
		return nil, err
	}
	p := &inspection{snapshot: s}
	if _, err := p.inspect(real, e); err != nil {
		return nil, located(real, err)
	}
	mizzen.SortFindings(p.found)
	return p.found, nil
}

type inspection struct {
	snapshot *Snapshot
	found    []mizzen.Finding
	visits   int
}

// inspect reports what is wrong with an entry, and tells whether something is.
// Trees in which nothing is wrong are remembered.
func (p *inspection) inspect(name string, e entry) (bool, error) {
	if !utf8.ValidString(e.name) {
		p.report(name, mizzen.CodeFileName, "the file's name is not UTF-8, so it cannot be read", "rename the file")
		return true, nil
	}
	switch e.mode.kind() {
	case modeSubmodule:
		p.report(name, mizzen.CodeSubmodule, fmt.Sprintf("%s is a submodule, and submodules are not fetched: it is empty", name),
			"copy its content into this repository, or make its repository a source of its own")
		return true, nil
	case modeFile:
		return p.inspectFile(name, e)
	case modeDirectory:
		return p.inspectTree(name, e)
	}
	return false, nil
}

func (p *inspection) inspectFile(name string, e entry) (bool, error) {
	header, err := p.snapshot.header(e.id)
	if err != nil || header.size > maxPointer || header.size < int64(len(lfsPointer)) {
		return false, err
	}
	_, data, err := p.snapshot.blob(e.id, maxPointer)
	if err != nil || !bytes.HasPrefix(data, []byte(lfsPointer)) {
		return false, err
	}
	p.report(name, mizzen.CodeLFSPointer, fmt.Sprintf("%s is a Git LFS pointer and not the file itself", name),
		"keep files that are rendered out of Git LFS")
	return true, nil
}

func (p *inspection) inspectTree(name string, e entry) (bool, error) {
	key := cacheKey{p.snapshot.objects, 'p', string(e.id)}
	if _, clean := p.snapshot.objects.cache.get(key); clean || len(p.found) >= maxProblems {
		return false, nil
	}
	if p.visits++; p.visits > maxVisits {
		return false, &mizzen.Error{
			Kind: mizzen.Timeout, Object: name, Origin: mizzen.Origin{File: name},
			Err: fmt.Errorf("there are more than %d directories below it", maxVisits), Remedy: "name a smaller directory",
		}
	}
	t, err := p.snapshot.tree(e.id)
	if err != nil {
		return false, err
	}
	any := false
	for _, child := range t.entries {
		bad, err := p.inspect(path.Join(name, child.name), child)
		if err != nil {
			return false, err
		}
		any = any || bad
	}
	if !any {
		p.snapshot.objects.cache.put(key, true, 0)
	}
	return any, nil
}

func (p *inspection) report(name string, code mizzen.Code, message, remedy string) {
	name = printable(name, 400)
	p.found = append(p.found, mizzen.Finding{
		Code: code, Severity: mizzen.Warning, Message: printable(message, 600), Remedy: remedy,
		Origin: mizzen.Origin{File: name},
	})
}
