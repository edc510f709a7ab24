// Package kustomize renders a kustomization with Kustomize's own code, over
// the files of a Snapshot instead of a disk. In: the repository and the
// directory of the kustomization; out: what `kustomize build` prints, each
// object with its Origin.
//
// Bases, components and files may lie anywhere in the repository and nowhere
// else. What would reach out of it is refused before Kustomize starts: remote
// bases and resources, exec and function plugins, and helmCharts, which runs
// the helm command.
//
// Kustomize keeps schemas in variables of its process, so two renderings must
// not run at the same time, and one that loads schemas taints the process.
package kustomize

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/manifest"
)

// Warm parses the OpenAPI document that Kustomize merges patches by, which is
// most of the time of a first rendering.
func Warm() {
	openapi.SchemaForResourceType(kyaml.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"})
}

// Render builds the kustomization in o.Path of fsys, with o.Images and
// o.NamePrefix laid over it. Errors are mizzen.Errors: NotFound if there is no
// kustomization, Refused if it asks for something outside of the repository,
// Invalid with file and line, where they are known, if it cannot be built.
func Render(ctx context.Context, fsys fs.FS, o render.Options) (*render.Output, error) {
	dir := path.Clean(o.Path)
	files := newFileSystem(ctx, fsys)
	layers, err := survey(files, dir)
	if err != nil {
		return nil, err
	}
	root := layers[0]
	if err := layOver(files, root, o, nil); err != nil {
		return nil, err
	}
	out := &render.Output{Renderer: render.Kustomize, Tainted: taints(layers)}
	built, err := build(files, root)
	if err != nil {
		return &render.Output{Tainted: out.Tainted}, err
	}
	if out.Objects, err = objects(built, root); err != nil {
		return &render.Output{Tainted: out.Tainted}, err
	}
	if err := findOrigins(files, layers, o, out.Objects); err != nil {
		return &render.Output{Tainted: out.Tainted}, err
	}
	for _, l := range layers {
		out.Findings = append(out.Findings, l.findings...)
	}
	mizzen.SortFindings(out.Findings)
	return out, nil
}

// build runs Kustomize. Its errors are text with our errors folded in, so the
// file system remembers those.
func build(files *fileSystem, root *layer) (result resmap.ResMap, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = failed(root, fmt.Errorf("kustomize panics: %v", p))
		}
	}()
	o := krusty.MakeDefaultOptions()
	o.LoadRestrictions = types.LoadRestrictionsNone // files refuses what is outside of the repository
	o.PluginConfig = types.DisabledPluginConfig()
	result, err = krusty.MakeKustomizer(o).Run(files, mount+"/"+root.dir)
	if files.refused != nil && err != nil {
		return nil, files.refused
	}
	if err != nil {
		return nil, failed(root, err)
	}
	return result, nil
}

func failed(root *layer, err error) error {
	// Plugins that a base generates are only seen by Kustomize.
	if strings.Contains(err.Error(), "enable-helm") {
		return helmRefused(mizzen.Origin{File: root.file})
	}
	return &mizzen.Error{
		Kind:   mizzen.Invalid,
		Origin: mizzen.Origin{File: root.file},
		Err:    fmt.Errorf("kustomize cannot build it: %s", withoutQuotes(err.Error())),
		Remedy: "correct the kustomization; `kustomize build " + root.dir + "` shows the same",
	}
}

// objects reads what Kustomize would print, so that values are those of the
// printed text.
func objects(built resmap.ResMap, root *layer) ([]mizzen.Object, error) {
	var all []mizzen.Object
	for _, r := range built.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			return nil, failed(root, err)
		}
		found, _, err := manifest.ReadObjects(root.file, text, false)
		if err != nil {
			return nil, withoutLine(err)
		}
		for _, o := range found {
			nameVersion(o)
		}
		all = append(all, found...)
	}
	return all, nil
}

// version is that of the kustomize command with the library that is built in.
const version = "v5.8.1"

// nameVersion mends the label of buildMetadata: [managedByLabel]. Outside of
// the kustomize command, the library does not know its version, and what it
// writes instead is no valid label.
func nameVersion(o mizzen.Object) {
	labels := o.GetLabels()
	if labels[konfig.ManagedbyLabelKey] == "kustomize-(devel)" {
		labels[konfig.ManagedbyLabelKey] = "kustomize-" + version
		o.SetLabels(labels)
	}
}

// withoutLine removes the line of built text, which is in no file.
func withoutLine(err error) error {
	var e *mizzen.Error
	if errors.As(err, &e) {
		e.Origin.Line = 0
	}
	return err
}

func taints(layers []*layer) bool {
	for _, l := range layers {
		if len(l.parsed.OpenAPI) > 0 || len(l.parsed.Crds) > 0 {
			return true
		}
	}
	return false
}
