package discover

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen/internal/render"
)

// kustomization is what Argo CD and Flux lay over the kustomization of a
// directory. Their fields agree but for the form of images and labels.
type kustomization struct {
	Namespace         string            `json:"namespace"`
	NamePrefix        string            `json:"namePrefix"`
	NameSuffix        string            `json:"nameSuffix"`
	Images            []any             `json:"images"`
	Components        []any             `json:"components"`
	Patches           []any             `json:"patches"`
	Replicas          []any             `json:"replicas"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
}

func (k kustomization) empty() bool {
	return k.Namespace == "" && k.NamePrefix == "" && k.NameSuffix == "" && len(k.CommonLabels)+len(k.CommonAnnotations) == 0 &&
		len(k.Images)+len(k.Components)+len(k.Patches)+len(k.Replicas) == 0
}

// overlay returns the kustomization file of a directory with k laid over it, as
// both tools write it before they build; nil if nothing is laid over it.
func (c *Catalog) overlay(directory string, k kustomization) (map[string][]byte, error) {
	if k.empty() {
		return nil, nil
	}
	file, b, err := c.kustomizationFile(directory)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // the renderer says what is wrong with it
	}
	doc := map[string]any{}
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, nil //nolint:nilerr,nilnil // the renderer says what is wrong with it, and where
	}
	if doc == nil {
		doc = map[string]any{}
	}
	k.lay(doc)
	b, err = yaml.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("its kustomize options cannot be written: %w", err)
	}
	return map[string][]byte{file: b}, nil
}

// kustomizationFile returns the name and content of a directory's kustomization.
func (c *Catalog) kustomizationFile(directory string) (string, []byte, error) {
	for _, name := range render.KustomizationFiles {
		file := path.Join(directory, name)
		b, err := c.snapshot.ReadFile(file)
		if err == nil {
			return file, b, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", nil, err
		}
	}
	return "", nil, fs.ErrNotExist
}

func (k kustomization) lay(doc map[string]any) {
	set := func(field, value string) {
		if value != "" {
			doc[field] = value
		}
	}
	add := func(field string, more []any) {
		if have, _ := doc[field].([]any); len(more) > 0 {
			doc[field] = slices.Concat(have, more)
		}
	}
	set("namespace", k.Namespace)
	set("namePrefix", k.NamePrefix)
	set("nameSuffix", k.NameSuffix)
	add("components", k.Components)
	add("patches", k.Patches)
	add("replicas", k.Replicas)
	for _, image := range k.Images {
		if entry := imageOf(image); entry != nil {
			doc["images"] = withImage(doc["images"], entry)
		}
	}
	mergeStrings(doc, "commonLabels", k.CommonLabels)
	mergeStrings(doc, "commonAnnotations", k.CommonAnnotations)
}

func mergeStrings(doc map[string]any, field string, more map[string]string) {
	if len(more) == 0 {
		return
	}
	merged := map[string]any{}
	if have, ok := doc[field].(map[string]any); ok {
		maps.Copy(merged, have)
	}
	for k, v := range more {
		merged[k] = v
	}
	doc[field] = merged
}

// imageOf returns an image as a kustomization has it. Argo CD writes
// name=newName:newTag or name@digest, Flux the mapping itself.
func imageOf(image any) map[string]any {
	switch v := image.(type) {
	case map[string]any:
		return v
	case string:
		name, rest, renamed := strings.Cut(v, "=")
		if !renamed {
			rest = v
		}
		entry := map[string]any{}
		if at := strings.IndexByte(rest, '@'); at >= 0 {
			entry["digest"], rest = rest[at+1:], rest[:at]
		} else if colon := strings.LastIndexByte(rest, ':'); colon > strings.LastIndexByte(rest, '/') {
			entry["newTag"], rest = rest[colon+1:], rest[:colon]
		}
		entry["name"] = rest
		if renamed {
			entry["name"], entry["newName"] = name, rest
		}
		return entry
	}
	return nil
}

// withImage adds an image to a list, in the place of one of the same name.
func withImage(list any, entry map[string]any) []any {
	images, _ := list.([]any)
	images = slices.Clone(images)
	for i, have := range images {
		if m, ok := have.(map[string]any); ok && m["name"] == entry["name"] {
			images[i] = entry
			return images
		}
	}
	return append(images, entry)
}
