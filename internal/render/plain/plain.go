// Package plain renders a directory of YAML and JSON manifests: every file
// that ends in .yaml, .yml or .json, in it and below it, in the order of
// their paths, as it is.
//
// Files and directories whose name begins with a dot are left out, and so is
// what a symbolic link to a directory leads to. Every document must be a
// Kubernetes object: a file that is none is an error and not skipped, as with
// `kubectl apply -R` and Flux, because a manifest with a typing error in its
// apiVersion would otherwise be pruned without a word.
package plain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/manifest"
)

const (
	maxFiles = 20_000
	maxDepth = 100
	maxBytes = 256 << 20
)

// Warm loads what would otherwise be read lazily; here nothing is.
func Warm() {}

// Render reads the manifests below o.Path of fsys. Errors are mizzen.Errors:
// NotFound if there is no such directory, Invalid with file and line if a file
// is no manifest, TooLarge if there is more than a bound allows.
func Render(ctx context.Context, fsys fs.FS, o render.Options) (*render.Output, error) {
	r := reader{fsys: fsys, fields: o.FieldOrigins, out: &render.Output{Renderer: render.Plain}}
	if err := r.directory(ctx, path.Clean(o.Path), 0); err != nil {
		return nil, err
	}
	mizzen.SortFindings(r.out.Findings)
	return r.out, nil
}

type reader struct {
	fsys   fs.FS
	fields bool
	files  int
	bytes  int
	out    *render.Output
}

func (r *reader) directory(ctx context.Context, dir string, depth int) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read %s: %w", dir, err)
	}
	if depth > maxDepth {
		return tooMuch(dir, fmt.Errorf("directories are nested deeper than %d levels", maxDepth))
	}
	entries, err := fs.ReadDir(r.fsys, dir)
	if depth == 0 && errors.Is(err, fs.ErrNotExist) && mizzen.KindOf(err) != mizzen.Refused {
		return render.NoSuchPath(dir)
	}
	if err != nil {
		return fmt.Errorf("read directory %s: %w", dir, err)
	}
	for _, entry := range entries {
		if err := r.entry(ctx, path.Join(dir, entry.Name()), entry, depth); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) entry(ctx context.Context, name string, entry fs.DirEntry, depth int) error {
	switch {
	case strings.HasPrefix(entry.Name(), "."):
		return nil
	case entry.IsDir():
		return r.directory(ctx, name, depth+1)
	case isManifest(entry.Name()):
		return r.file(name, entry)
	}
	return nil
}

func isManifest(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

func (r *reader) file(name string, entry fs.DirEntry) error {
	if entry.Type()&fs.ModeSymlink != 0 {
		if info, err := fs.Stat(r.fsys, name); err == nil && info.IsDir() {
			return nil
		}
	}
	data, err := fs.ReadFile(r.fsys, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	r.files++
	r.bytes += len(data)
	if r.files > maxFiles || r.bytes > maxBytes {
		return tooMuch(name, fmt.Errorf("more than %d files or %d bytes of manifests", maxFiles, maxBytes))
	}
	objects, findings, err := manifest.ReadObjects(name, data, r.fields)
	if err != nil {
		return err
	}
	r.out.Objects = append(r.out.Objects, objects...)
	r.out.Findings = append(r.out.Findings, findings...)
	return nil
}

func tooMuch(object string, err error) error {
	return &mizzen.Error{
		Kind:   mizzen.TooLarge,
		Object: object,
		Err:    err,
		Remedy: "divide the directory among several Applications",
	}
}
