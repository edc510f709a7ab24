package controller

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/crds"
)

// served fails if the API server has a definition of our kinds that lacks a
// field of this binary's: it drops the field from every object and says nothing,
// so that a gate or a hold is gone that somebody asked for. Fields that this
// binary lacks in turn are logged; log may be nil.
func served(ctx context.Context, reader client.Reader, log *slog.Logger) error {
	wanted, err := definitions()
	if err != nil {
		return err
	}
	for _, w := range wanted {
		has := &unstructured.Unstructured{}
		has.SetGroupVersionKind(w.GroupVersionKind())
		object := "customresourcedefinition " + w.GetName()
		const remedy = "install those of this version: 'mizzen up' and 'mizzen controller --install-crds' do"
		err := reader.Get(ctx, client.ObjectKeyFromObject(w), has)
		if apierrors.IsNotFound(err) {
			return &mizzen.Error{Kind: mizzen.NotFound, Object: object, Err: errors.New("it is not installed"), Remedy: remedy}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", object, err)
		}
		if dropped := missing(w, has); len(dropped) > 0 {
			return &mizzen.Error{
				Kind: mizzen.Refused, Object: object, Remedy: remedy,
				Err: fmt.Errorf("it is of another version of Mizzen, and drops %s from every object", enumerate(dropped)),
			}
		}
		if unknown := missing(has, w); len(unknown) > 0 && log != nil {
			log.Warn("the definition is of a newer version of Mizzen; this one ignores what it does not know",
				"crd", w.GetName(), "ignored", enumerate(unknown))
		}
	}
	return nil
}

// definitions are the CustomResourceDefinitions of this binary, by name.
func definitions() ([]*unstructured.Unstructured, error) {
	files, err := crds.Files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var all []*unstructured.Unstructured
	for _, f := range files {
		b, err := fs.ReadFile(crds.Files, path.Clean(f.Name()))
		if err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(b, &u.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		all = append(all, u)
	}
	return all, nil
}

// missing are the fields of one definition that another one lacks, by the
// versions of the first, sorted.
func missing(wanted, has *unstructured.Unstructured) []string {
	is := versions(has)
	var all []string
	for name, schema := range versions(wanted) {
		if is[name] == nil {
			all = append(all, "version "+name)
			continue
		}
		all = append(all, lacking(schema, is[name], "")...)
	}
	slices.Sort(all)
	return all
}

// versions are the schemas of a definition, by version.
func versions(crd *unstructured.Unstructured) map[string]map[string]any {
	all := map[string]map[string]any{}
	list, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions") // the API server lets no other pass
	for _, v := range list {
		version, _ := v.(map[string]any)
		name, _ := version["name"].(string)
		if schema, found, _ := unstructured.NestedMap(version, "schema", "openAPIV3Schema"); found {
			all[name] = schema
		}
	}
	return all
}

// lacking are the fields of a schema that another one lacks, below a path. A
// field that is lacking as a whole is told once.
func lacking(wanted, has map[string]any, at string) (all []string) {
	if keeps, _ := has["x-kubernetes-preserve-unknown-fields"].(bool); keeps {
		return nil
	}
	fields, _ := wanted["properties"].(map[string]any)
	known, _ := has["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		below := strings.TrimPrefix(at+"."+name, ".")
		field, _ := fields[name].(map[string]any)
		if other, ok := known[name].(map[string]any); ok {
			all = append(all, lacking(field, other, below)...)
		} else {
			all = append(all, below)
		}
	}
	for _, list := range []string{"items", "additionalProperties"} {
		if inner, ok := wanted[list].(map[string]any); ok {
			other, _ := has[list].(map[string]any)
			all = append(all, lacking(inner, other, at+"[]")...)
		}
	}
	return all
}

// maxNamed bounds the fields that a message names.
const maxNamed = 5

func enumerate(fields []string) string {
	if more := len(fields) - maxNamed; more > 0 {
		fields = append(slices.Clone(fields[:maxNamed]), fmt.Sprintf("%d more", more))
	}
	return strings.Join(fields, ", ")
}
