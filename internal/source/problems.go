package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"mizzen.dev/mizzen"
)

// teller is a Snapshot that knows which of its files are not what they seem to
// be.
type teller interface {
	Problems(ctx context.Context, name string) ([]mizzen.Finding, error)
}

// Problems returns what a Snapshot says of its files at or below names:
// submodules, whose content is not there, and Git LFS pointers in the place of
// files. A name that does not exist has none; a renderer says so.
func Problems(ctx context.Context, s mizzen.Snapshot, names ...string) ([]mizzen.Finding, error) {
	t, ok := s.(teller)
	if !ok {
		return nil, nil
	}
	var all []mizzen.Finding
	for _, name := range names {
		found, err := t.Problems(ctx, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// Explain adds to the error of a rendering that what it is about is a Git LFS
// pointer or in a submodule, if so.
func Explain(ctx context.Context, s mizzen.Snapshot, err error) error {
	var e *mizzen.Error
	if !errors.As(err, &e) {
		return err
	}
	for _, name := range []string{e.Object, e.Origin.File} {
		if !fs.ValidPath(name) {
			continue
		}
		found, problemErr := Problems(ctx, s, name)
		if problemErr != nil {
			return err // what went wrong first counts
		}
		for _, f := range found {
			if f.Origin.File == name || strings.HasPrefix(name, f.Origin.File+"/") {
				explained := *e
				explained.Err, explained.Remedy = fmt.Errorf("%w; %s %s", e.Err, f.Code, f.Message), f.Remedy
				return &explained
			}
		}
	}
	return err
}
