package symlink

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"mizzen.dev/mizzen"
)

// MaxLinks bounds the symbolic links that count for one identity: a few
// directories that hold each other many times can pretend to hold any number.
const MaxLinks = 10_000

// Tree is what an identity is made from. All paths lead through no link.
type Tree interface {
	// Target is a Read.
	Target(path string) (target string, isLink bool, err error)
	// Plain returns the content address of a file or directory in which a link
	// counts as its target's name alone. It fails with fs.ErrNotExist.
	Plain(path string) (id string, isDir bool, err error)
	// Links lists the links below a directory, relative to it. It fails with
	// ErrTooMany beyond MaxLinks.
	Links(dir string) ([]string, error)
}

// ErrTooMany is for a directory with more links below it than MaxLinks.
var ErrTooMany = errors.New("too many symbolic links")

// Identity returns the content address of a file or directory, with everything
// that links below it lead to, and those below that, and so on; without links
// that is its plain one. A link to nowhere counts as such, since something may
// come to be there later.
func Identity(name string, in Tree) (string, error) {
	id, isDir, err := in.Plain(name)
	if err != nil || !isDir {
		return id, err
	}
	links, err := in.Links(name)
	if err != nil {
		return "", tooMany(name, err)
	}
	if len(links) == 0 {
		return id, nil
	}
	lines, err := reach(name, in)
	if err != nil {
		return "", tooMany(name, err)
	}
	slices.Sort(lines)
	h := sha256.New()
	h.Write([]byte(id + "\n"))
	for _, line := range lines {
		h.Write([]byte(line))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// reach lists where the links below a directory lead to, and those below that,
// in no order.
func reach(name string, in Tree) (lines []string, err error) {
	seen := map[string]bool{name: true}
	for work := []string{name}; len(work) > 0; work = work[1:] {
		links, err := in.Links(work[0])
		if err == nil && len(lines)+len(links) > MaxLinks {
			err = ErrTooMany
		}
		if err != nil {
			return nil, err
		}
		for _, link := range links {
			from := path.Join(work[0], link)
			to, id, isDir, err := destination(from, in)
			if err != nil {
				return nil, err
			}
			lines = append(lines, fmt.Sprintf("%q -> %q %s\n", from, to, id))
			if isDir && !seen[to] {
				seen[to] = true
				work = append(work, to)
			}
		}
	}
	return lines, nil
}

func destination(link string, in Tree) (to, id string, isDir bool, err error) {
	if to, err = Resolve(link, true, in.Target); err == nil {
		id, isDir, err = in.Plain(to)
	}
	switch {
	case mizzen.KindOf(err) == mizzen.Refused:
		return "", "refused", false, nil
	case errors.Is(err, fs.ErrNotExist):
		return "", "missing", false, nil
	}
	return to, id, isDir, err
}

func tooMany(name string, err error) error {
	if !errors.Is(err, ErrTooMany) {
		return err
	}
	return &mizzen.Error{
		Kind: mizzen.TooLarge, Object: name, Origin: mizzen.Origin{File: name},
		Err:    fmt.Errorf("there are more than %d symbolic links, or too many directories, below it", MaxLinks),
		Remedy: "replace links by files, or name a smaller directory",
	}
}
