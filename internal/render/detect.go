package render

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"mizzen.dev/mizzen"
)

// KustomizationFiles are the names under which Kustomize finds a
// kustomization.
var KustomizationFiles = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// Detect returns the renderer for a directory: Helm if it holds Chart.yaml,
// Kustomize if it holds a kustomization file, else Plain. A directory with
// both is ambiguous: it is an Error of Kind Invalid that asks for a choice. A
// directory that does not exist is an Error of Kind NotFound.
//
// Only the names that decide are looked up, so that a render key does not
// depend on the other entries of the directory.
func Detect(fsys fs.FS, dir string) (Renderer, error) {
	chart, err := exists(fsys, path.Join(dir, "Chart.yaml"))
	if err != nil {
		return "", err
	}
	kustomization := ""
	for _, name := range KustomizationFiles {
		found, err := exists(fsys, path.Join(dir, name))
		if err != nil {
			return "", err
		}
		if found {
			kustomization = name
			break
		}
	}
	switch {
	case chart && kustomization != "":
		return "", &mizzen.Error{
			Kind:   mizzen.Invalid,
			Object: dir,
			Err:    fmt.Errorf("both Chart.yaml and %s are here", kustomization),
			Remedy: "set spec.source.renderer to Helm or Kustomize",
		}
	case chart:
		return Helm, nil
	case kustomization != "":
		return Kustomize, nil
	}
	if found, err := exists(fsys, dir); err != nil {
		return "", err
	} else if !found {
		return "", NoSuchPath(dir)
	}
	return Plain, nil
}

// NoSuchPath is the error of a directory that is not in the repository.
func NoSuchPath(dir string) error {
	return &mizzen.Error{
		Kind:   mizzen.NotFound,
		Object: dir,
		Err:    fmt.Errorf("no such directory at this revision: %w", fs.ErrNotExist),
		Remedy: "correct spec.source.path, or commit the directory",
	}
}

func exists(fsys fs.FS, name string) (bool, error) {
	_, err := fs.Stat(fsys, name)
	switch {
	case err == nil:
		return true, nil
	case mizzen.KindOf(err) == mizzen.Refused:
		// Not being allowed to look is something else than not being there.
		return false, err
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("look for %s: %w", name, err)
}
