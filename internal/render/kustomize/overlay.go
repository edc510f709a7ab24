package kustomize

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/manifest"
)

// layOver writes the options into the root kustomization, in memory: images
// as `kustomize edit set image` does, the prefix before one that is there.
// metadata asks Kustomize for annotations about what it does.
func layOver(files *fileSystem, root *layer, o render.Options, metadata []string) error {
	if len(o.Images) == 0 && o.NamePrefix == "" && len(metadata) == 0 {
		return nil
	}
	data, err := files.original(root.file)
	if err != nil {
		return fmt.Errorf("read %s: %w", root.file, err)
	}
	docs, _, err := manifest.Read(root.file, data)
	if err != nil {
		return err
	}
	node := docs[0].Root
	if len(o.Images) > 0 {
		remove(node, "imageTags") // parsed holds them among images
	}
	changes, err := changesOf(root, o, metadata)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(changes)) {
		if err := set(node, key, changes[key]); err != nil {
			return err
		}
	}
	text, err := yamlv3.Marshal(node)
	if err != nil {
		return fmt.Errorf("lay options over %s: %w", root.file, err)
	}
	files.overlay[root.file] = text
	return nil
}

// changesOf returns the keys that the options set, with their values.
func changesOf(root *layer, o render.Options, metadata []string) (map[string]any, error) {
	changes := map[string]any{}
	if len(o.Images) > 0 {
		images, err := mergeImages(root.parsed.Images, o.Images)
		if err != nil {
			return nil, err
		}
		changes["images"] = images
	}
	if o.NamePrefix != "" {
		changes["namePrefix"] = o.NamePrefix + root.parsed.NamePrefix
	}
	if len(metadata) > 0 {
		changes["buildMetadata"] = metadata
	}
	return changes, nil
}

func set(root *yamlv3.Node, key string, value any) error {
	var node yamlv3.Node
	if err := node.Encode(value); err != nil {
		return fmt.Errorf("set %s: %w", key, err)
	}
	remove(root, key)
	root.Content = append(root.Content, &yamlv3.Node{Kind: yamlv3.ScalarNode, Value: key}, &node)
	return nil
}

func remove(root *yamlv3.Node, key string) {
	for i := len(root.Content) - 2; i >= 0; i -= 2 {
		if root.Content[i].Value == key {
			root.Content = append(root.Content[:i], root.Content[i+2:]...)
		}
	}
}

// mergeImages puts the options' images over those of the kustomization. What
// an option does not say is kept, except that a tag and a digest replace each
// other.
func mergeImages(have []types.Image, options []string) ([]types.Image, error) {
	merged := slices.Clone(have)
	for _, o := range options {
		added, err := parseImage(o)
		if err != nil {
			return nil, err
		}
		merged = mergeImage(merged, added)
	}
	return merged, nil
}

func mergeImage(images []types.Image, added types.Image) []types.Image {
	for i := range images {
		if images[i].Name != added.Name {
			continue
		}
		if added.NewName != "" {
			images[i].NewName = added.NewName
		}
		if added.NewTag != "" || added.Digest != "" {
			images[i].NewTag, images[i].Digest = added.NewTag, added.Digest
		}
		return images
	}
	return append(images, added)
}

// parseImage reads name=newName:newTag, name=newName@digest, name:newTag and
// name@digest.
func parseImage(s string) (types.Image, error) {
	name, reference, renamed := strings.Cut(s, "=")
	if !renamed {
		reference = name
	}
	repository, digest, _ := strings.Cut(reference, "@")
	tag := ""
	// A colon before the last slash belongs to the registry's port.
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		repository, tag = repository[:i], repository[i+1:]
	}
	parsed := types.Image{Name: name, NewName: repository, NewTag: tag, Digest: digest}
	if !renamed {
		parsed.Name, parsed.NewName = repository, ""
	}
	if parsed.Name == "" || repository == "" || (!renamed && tag == "" && digest == "") {
		return types.Image{}, &mizzen.Error{
			Kind: mizzen.Invalid, Object: "image " + s,
			Err:    errors.New("it has none of the forms name=newName:newTag, name:newTag and name=newName@digest"),
			Remedy: "correct spec.source.kustomize.images",
		}
	}
	return parsed, nil
}
