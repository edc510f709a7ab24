package source

import (
	"errors"
	"io/fs"

	"mizzen.dev/mizzen"
)

// Problems returns what a Snapshot says of its files below a directory:
// submodules, whose content is not there, and Git LFS pointers in the place of
// files. A directory that does not exist has none; a renderer says so.
func Problems(s mizzen.Snapshot, directory string) ([]mizzen.Finding, error) {
	teller, ok := s.(interface {
		Problems(name string) ([]mizzen.Finding, error)
	})
	if !ok {
		return nil, nil
	}
	found, err := teller.Problems(directory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return found, err
}
