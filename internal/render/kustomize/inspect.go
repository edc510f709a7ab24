package kustomize

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/resource"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/manifest"
)

// inspect refuses what a kustomization must not ask for, and follows what it
// refers to.
func (s *surveyor) inspect(l *layer, above []string) error {
	for _, key := range []string{"helmCharts", "helmChartInflationGenerator"} {
		if manifest.Child(l.root, key) != nil {
			return helmRefused(l.at(key))
		}
	}
	if err := s.inspectFiles(l); err != nil {
		return err
	}
	// In the order in which Kustomize follows them.
	for _, r := range []struct {
		key    string
		follow func(l *layer, e entry, above []string) error
	}{
		{"resources", s.resource},
		{"bases", s.resource},
		{"generators", s.plugin},
		{"components", s.component},
		{"transformers", s.plugin},
		{"validators", s.plugin},
	} {
		for _, e := range l.entries(r.key) {
			if err := r.follow(l, e, above); err != nil {
				return err
			}
		}
	}
	return s.collectPatches(l)
}

func (s *surveyor) component(l *layer, e entry, above []string) error {
	dir, err := s.local(l, e)
	if err != nil {
		return err
	}
	_, err = s.enter(dir, e.at, above)
	return err
}

func helmRefused(at mizzen.Origin) error {
	return &mizzen.Error{
		Kind:   mizzen.Refused,
		Object: "helmCharts",
		Origin: at,
		Err:    errors.New("kustomize would fetch charts and run the helm command"),
		Remedy: "make the chart an Application of its own, with source.helm",
	}
}

// resource follows an entry of resources: a file of manifests or a directory
// with a kustomization.
func (s *surveyor) resource(l *layer, e entry, above []string) error {
	name, err := s.local(l, e)
	if err != nil {
		return err
	}
	dir, found := s.files.isDir(name)
	switch {
	case dir:
		_, err := s.enter(name, e.at, above)
		return err
	case !found:
		return missing(e, name)
	}
	l.manifests = append(l.manifests, name)
	docs, err := s.bounded(l, name)
	if err != nil {
		return err
	}
	for _, doc := range docs {
		if _, ok := doc.Value.(map[string]any); !ok {
			return &mizzen.Error{
				Kind: mizzen.Invalid, Origin: mizzen.Origin{File: name, Line: doc.Line},
				Err: errors.New("the document is not a mapping, so it is no object"), Remedy: "correct the file",
			}
		}
	}
	return nil
}

func missing(e entry, name string) error {
	return &mizzen.Error{
		Kind: mizzen.NotFound, Object: name, Origin: e.at,
		Err:    fmt.Errorf("%q is not in the repository: %w", e.value, fs.ErrNotExist),
		Remedy: "correct the path, or commit the file",
	}
}

// local translates a path of a kustomization to a name in the repository.
func (s *surveyor) local(l *layer, e entry) (string, error) {
	if isRemote(e.value) {
		return "", &mizzen.Error{
			Kind: mizzen.Refused, Object: withoutPassword(e.value), Origin: e.at,
			Err:    errors.New("it is remote, and what Git says here must not depend on another server"),
			Remedy: "copy it into the repository, or make it an Application of its own",
		}
	}
	name := path.Join(l.dir, e.value)
	if path.IsAbs(e.value) || name == ".." || strings.HasPrefix(name, "../") {
		return "", outside(e.value, e.at)
	}
	return name, nil
}

// isRemote asks Kustomize's own code, which takes more for a Git address than
// one would think of.
func isRemote(value string) bool {
	if u, err := url.Parse(value); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		return true
	}
	return (&resource.Origin{}).Append(value).Repo != ""
}

func withoutPassword(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Redacted()
	}
	return address
}

// bounded reads a YAML file, so that Kustomize is not given what explodes.
func (s *surveyor) bounded(l *layer, name string) ([]manifest.Document, error) {
	data, err := s.files.read(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	docs, findings, err := manifest.Read(name, data)
	l.findings = append(l.findings, findings...)
	return docs, err
}

// fileKeys are the keys of a kustomization whose values are, or may be, paths
// of files, and the fields of their elements that hold the path.
var fileKeys = []struct {
	key    string
	fields []string
	// yaml is set if the file is YAML, optional if the value may be inline.
	yaml, inline bool
}{
	{key: "configurations", yaml: true},
	{key: "crds", yaml: true},
	{key: "patches", fields: []string{"path"}, yaml: true},
	{key: "patchesJson6902", fields: []string{"path"}, yaml: true},
	{key: "patchesStrategicMerge", yaml: true, inline: true},
	{key: "replacements", fields: []string{"path"}, yaml: true},
	{key: "configMapGenerator", fields: []string{"files", "envs", "env"}},
	{key: "secretGenerator", fields: []string{"files", "envs", "env"}},
}

func (s *surveyor) inspectFiles(l *layer) error {
	for _, k := range fileKeys {
		for _, e := range l.entries(k.key, k.fields...) {
			if k.inline && isInline(e.value) {
				continue
			}
			if k.key == "configMapGenerator" || k.key == "secretGenerator" {
				e.value = filePart(e.value)
			}
			if err := s.file(l, e, k.yaml); err != nil {
				return err
			}
		}
	}
	for _, e := range l.strings(manifest.Child(l.root, "openapi"), []string{"path"}) {
		if err := s.file(l, e, true); err != nil {
			return err
		}
	}
	return nil
}

// isInline tells a manifest that stands in the place of a path from a path.
func isInline(value string) bool {
	return strings.Contains(value, "\n") || strings.HasPrefix(strings.TrimSpace(value), "{")
}

// filePart returns the path of "key=path" and "path".
func filePart(source string) string {
	if _, p, found := strings.Cut(source, "="); found {
		return p
	}
	return source
}

func (s *surveyor) file(l *layer, e entry, isYAML bool) error {
	name, err := s.local(l, e)
	if err != nil {
		return err
	}
	dir, found := s.files.isDir(name)
	if !found {
		return missing(e, name)
	}
	if dir {
		return invalid(e.at, fmt.Errorf("%q is a directory, not a file", e.value))
	}
	if isYAML {
		_, err = s.bounded(l, name)
	}
	return err
}

// plugin follows an entry of generators, transformers or validators: inline
// configuration, a file of it, or a directory with a kustomization that
// yields it. Only what is built into Kustomize may run.
func (s *surveyor) plugin(l *layer, e entry, above []string) error {
	file, text := l.file, []byte(e.value)
	if !isInline(e.value) {
		name, err := s.local(l, e)
		if err != nil {
			return err
		}
		dir, found := s.files.isDir(name)
		if dir {
			_, err := s.enter(name, e.at, above)
			return err
		}
		if !found {
			return missing(e, name)
		}
		if text, err = s.files.read(name); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		file = name
	}
	docs, _, err := manifest.Read(file, text)
	if err != nil {
		return err
	}
	for _, doc := range docs {
		if err := s.pluginConfig(l, doc, e, file == l.file); err != nil {
			return err
		}
	}
	return nil
}

func (s *surveyor) pluginConfig(l *layer, doc manifest.Document, e entry, inline bool) error {
	at := mizzen.Origin{File: doc.File, Line: doc.Line}
	if inline {
		at = e.at
	}
	object, _ := doc.Value.(map[string]any)
	kind, _ := object["kind"].(string)
	apiVersion, _ := object["apiVersion"].(string)
	if kind == "HelmChartInflationGenerator" {
		return helmRefused(at)
	}
	if apiVersion != "builtin" {
		return &mizzen.Error{
			Kind: mizzen.Refused, Object: apiVersion + " " + kind, Origin: at,
			Err:    errors.New("exec and function plugins run code of their own"),
			Remedy: "use patches, replacements or a generator that is built into Kustomize, or commit what the plugin yields",
		}
	}
	return s.pluginPaths(l, doc, at, inline)
}

// pathFields are the fields of built-in plugins that name files.
var pathFields = map[string]bool{"path": true, "paths": true, "files": true, "envs": true, "env": true, "resources": true}

func (s *surveyor) pluginPaths(l *layer, doc manifest.Document, at mizzen.Origin, inline bool) error {
	var failure error
	manifest.EachField(doc.Root, func(p mizzen.Path, _, node *yamlv3.Node) {
		if failure != nil || !pathFields[lastKey(p)] {
			return
		}
		for _, e := range l.scalars(node) {
			e.at.File, e.value = doc.File, filePart(e.value)
			if inline {
				e.at = at
			}
			// fieldSpecs have a path too, of an object: only what is no such
			// path and reaches out is refused.
			if isRemote(e.value) || strings.HasPrefix(e.value, "..") {
				if _, err := s.local(l, e); err != nil {
					failure = err
				}
			}
		}
	})
	return failure
}
