// Package symlink follows symbolic links within a repository and never out of
// it. It knows paths alone: in comes a name and a way to read one link, out
// comes the name without links that it stands for, or a refusal.
package symlink

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"mizzen.dev/mizzen"
)

const (
	// MaxFollowed is how many links are followed for one name, as in Linux.
	MaxFollowed = 40
	// MaxTarget is the longest target of a link, in bytes, as in Linux.
	MaxTarget = 4096
)

// Read tells whether the entry at a path, which itself leads through no link,
// is a link, and its target. It fails with fs.ErrNotExist if there is none.
type Read func(path string) (target string, isLink bool, err error)

// Resolve returns what name stands for once all links in it are followed; the
// last element itself is followed only if followLast is set. It fails with
// Kind Refused for a link that leads out of the repository, for a loop, and
// for a target that is no path, and with what read fails with.
func Resolve(name string, followLast bool, read Read) (string, error) {
	w := walk{name: name, pending: strings.Split(name, "/")}
	for len(w.pending) > 0 {
		element := w.pending[0]
		w.pending = w.pending[1:]
		var err error
		switch element {
		case "", ".":
		case "..":
			err = w.up()
		default:
			err = w.down(element, followLast, read)
		}
		if err != nil {
			return "", err
		}
	}
	return path.Join(append([]string{"."}, w.real...)...), nil
}

// walk is a name that is half resolved.
type walk struct {
	name string
	// real is where we are, without links; pending is what is still to go.
	real     []string
	pending  []string
	followed int
}

func (w *walk) up() error {
	if len(w.real) == 0 {
		return outside(w.name, "..")
	}
	w.real = w.real[:len(w.real)-1]
	return nil
}

// down enters an element, or puts the target of a link in front of what is
// still to go.
func (w *walk) down(element string, followLast bool, read Read) error {
	at := path.Join(path.Join(w.real...), element)
	target, isLink, err := read(at)
	if err != nil {
		return err
	}
	if !isLink || len(w.pending) == 0 && !followLast {
		w.real = append(w.real, element)
		return nil
	}
	if w.followed++; w.followed > MaxFollowed {
		return refuse(w.name, errors.New("too many symbolic links"), "remove the loop")
	}
	w.pending = append(strings.Split(target, "/"), w.pending...)
	return check(at, target, len(w.real))
}

// check refuses targets that cannot be a path within a repository, from a
// directory that is depth levels below the root.
func check(link, target string, depth int) error {
	switch {
	case target == "":
		return fmt.Errorf("%s: empty symbolic link: %w", link, fs.ErrNotExist)
	case len(target) > MaxTarget || strings.ContainsRune(target, 0) || !utf8.ValidString(target):
		return refuse(link, errors.New("the target of the symbolic link is no path"), "point it at a file of the repository")
	case path.IsAbs(target), leaves(depth, target):
		return outside(link, target)
	}
	return nil
}

// leaves tells whether a target climbs out of a directory that is depth levels
// below the root, were there no further links; it gives a better message than
// what is found later.
func leaves(depth int, target string) bool {
	for element := range strings.SplitSeq(target, "/") {
		switch element {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			return false
		}
	}
	return false
}

func outside(link, target string) error {
	return refuse(link, fmt.Errorf("the symbolic link points to %q, which is out of the repository", target),
		"put the file into the repository, or point the link at one in it")
}

func refuse(object string, err error, remedy string) error {
	return &mizzen.Error{
		Kind: mizzen.Refused, Object: object, Err: fmt.Errorf("%w: %w", err, fs.ErrNotExist), Remedy: remedy,
	}
}
