package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"unicode/utf8"

	"mizzen.dev/mizzen"
)

// lfsPointer is how a Git LFS pointer begins, and maxPointer how long it can
// be: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
const (
	lfsPointer = "version https://git-lfs.github.com/spec/v1\n"
	maxPointer = 1024
	// maxProblems bounds what is reported of one name.
	maxProblems = 1000
)

// Problems reports what at or below a name is not what it seems to be:
// submodules, whose content is not fetched (CodeSubmodule), Git LFS pointers
// in the place of files (CodeLFSPointer), and names that are not UTF-8
// (CodeFileName). Findings are sorted, at most 1,000; of a name in a submodule
// the submodule is told, and any other that does not exist has fs.ErrNotExist.
func (s *Snapshot) Problems(ctx context.Context, name string) ([]mizzen.Finding, error) {
	p := &inspection{ctx: ctx, snapshot: s}
	e, real, err := s.lookup("problems", name, true)
	switch {
	case err == nil:
		_, err = p.inspect(real, e)
	case errors.Is(err, fs.ErrNotExist):
		err = p.inspectAbove(name, err)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return nil, located(real, err)
	}
	mizzen.SortFindings(p.found)
	return p.found, nil
}

// errEnough ends an inspection that has found all that is reported.
var errEnough = errors.New("enough problems")

type inspection struct {
	ctx      context.Context
	snapshot *Snapshot
	found    []mizzen.Finding
	visits   int
}

// inspectAbove reports the submodule that a missing name would be in; missing
// is the error if there is none.
func (p *inspection) inspectAbove(name string, missing error) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		e, real, err := p.snapshot.lookup("problems", dir, true)
		if err == nil && e.mode.kind() == modeSubmodule {
			_, err = p.inspect(real, e)
			return err
		}
	}
	return missing
}

// inspect reports what is wrong with an entry, and tells whether something is.
// Trees in which nothing is wrong are remembered.
func (p *inspection) inspect(name string, e entry) (bool, error) {
	if err := p.visit(name); err != nil {
		return false, err
	}
	if !utf8.ValidString(e.name) {
		return true, p.report(name, mizzen.CodeFileName, "the file's name is not UTF-8, so it cannot be read", "rename the file")
	}
	switch e.mode.kind() {
	case modeSubmodule:
		return true, p.report(name, mizzen.CodeSubmodule, fmt.Sprintf("%s is a submodule, and submodules are not fetched: it is empty", name),
			"copy its content into this repository, or make its repository a source of its own")
	case modeFile:
		return p.inspectFile(name, e)
	case modeDirectory:
		return p.inspectTree(name, e)
	}
	return false, nil
}

// visit counts an entry that is looked at.
func (p *inspection) visit(name string) error {
	if p.visits++; p.visits > maxVisits {
		return &mizzen.Error{
			Kind: mizzen.TooLarge, Object: name, Origin: mizzen.Origin{File: name},
			Err: fmt.Errorf("there are more than %d files and directories", maxVisits), Remedy: "name a smaller directory",
		}
	}
	return p.ctx.Err()
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
	return true, p.report(name, mizzen.CodeLFSPointer, fmt.Sprintf("%s is a Git LFS pointer and not the file itself", name),
		"keep files that are rendered out of Git LFS")
}

func (p *inspection) inspectTree(name string, e entry) (bool, error) {
	key := cacheKey{p.snapshot.objects, 'p', string(e.id)}
	if _, clean := p.snapshot.objects.cache.get(key); clean {
		return false, nil
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

// report adds a Finding. The error is errEnough if it was the last one.
func (p *inspection) report(name string, code mizzen.Code, message, remedy string) error {
	name = printable(name, 400)
	p.found = append(p.found, mizzen.Finding{
		Code: code, Severity: mizzen.Warning, Message: printable(message, 600), Remedy: remedy,
		Origin: mizzen.Origin{File: name},
	})
	if len(p.found) >= maxProblems {
		return errEnough
	}
	return nil
}
