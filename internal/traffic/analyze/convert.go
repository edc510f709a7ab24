package analyze

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"istio.io/istio/pkg/cluster"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/resource"
	"istio.io/istio/pkg/config/schema/collections"
	schemaresource "istio.io/istio/pkg/config/schema/resource"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/specs"
)

// schemas are Istio's, by every version of their kinds that it reads.
var schemas = func() map[config.GroupVersionKind]schemaresource.Schema {
	found := map[config.GroupVersionKind]schemaresource.Schema{}
	for _, s := range collections.All.All() {
		for _, kind := range s.GroupVersionAliasKinds() {
			found[kind] = s
		}
	}
	return found
}()

// convert returns an object as the analyzers see it; nil if its kind is none
// of theirs. It fails if a field has the wrong type.
func convert(o mizzen.Object, judged bool) (*instance, error) {
	gvk := o.GroupVersionKind()
	s, ok := schemas[config.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}]
	if !ok {
		return nil, nil //nolint:nilnil // a kind of no interest is no error
	}
	spec, err := specOf(s, o.Object)
	if err != nil {
		return nil, err
	}
	if spec == nil {
		return nil, nil //nolint:nilnil // Istio itself has no type for the kind
	}
	i := wrap(s, o, spec)
	i.judged, i.trials = judged, maxTrials
	return i, nil
}

// wrap makes an instance of an object and its typed content.
func wrap(s schemaresource.Schema, o mizzen.Object, spec config.Spec) *instance {
	i := &instance{object: o}
	namespace := o.GetNamespace()
	if s.IsClusterScoped() {
		namespace = ""
	}
	i.Instance = &resource.Instance{
		Metadata: resource.Metadata{
			Schema:   s,
			FullName: resource.NewFullName(resource.Namespace(namespace), resource.LocalName(o.GetName())),
			Labels:   o.GetLabels(), Annotations: o.GetAnnotations(),
		},
		Message: spec,
		Origin:  &origin{of: i},
	}
	return i
}

// specOf returns the typed content: the spec, or the whole object for kinds
// without one.
func specOf(s schemaresource.Schema, object map[string]any) (config.Spec, error) {
	spec, err := s.NewInstance()
	if err != nil {
		return nil, nil //nolint:nilnil,nilerr // a kind that Istio only names, such as Endpoints
	}
	content, err := contentOf(s, object)
	if err != nil {
		return nil, err
	}
	if s.IsBuiltin() {
		// Converting is twice as fast as a trip through JSON, but panics on
		// types that JSON does not have.
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(content, spec)
		setDefaults(spec)
		return spec, err
	}
	return spec, specs.Fill(spec, content)
}

// contentOf returns the spec, or the whole object for kinds that have none:
// some of Kubernetes' own.
func contentOf(s schemaresource.Schema, object map[string]any) (map[string]any, error) {
	switch spec := object["spec"].(type) {
	case map[string]any:
		return spec, nil
	case nil:
		if s.IsBuiltin() {
			return object, nil
		}
		return map[string]any{}, nil
	default:
		return nil, fmt.Errorf("spec must be an object, not %T", spec)
	}
}

// setDefaults does what the API server does to a new object, where an analyzer
// depends on it.
func setDefaults(spec config.Spec) {
	service, ok := spec.(*corev1.ServiceSpec)
	if !ok {
		return
	}
	for i := range service.Ports {
		if service.Ports[i].Protocol == "" {
			service.Ports[i].Protocol = corev1.ProtocolTCP
		}
	}
}

// origin is what the analyzers ask for the line of a field. It answers with the
// number of the field's path, so that the line of a message is its field.
type origin struct {
	of    *instance
	paths []mizzen.Path
	index map[string]int
}

var _ resource.Origin = (*origin)(nil)

// FriendlyName is part of resource.Origin.
func (o *origin) FriendlyName() string {
	return o.of.Metadata.Schema.Kind() + " " + o.of.Metadata.FullName.String()
}

// Comparator is part of resource.Origin.
func (o *origin) Comparator() string { return o.FriendlyName() }

// Namespace is part of resource.Origin.
func (o *origin) Namespace() resource.Namespace { return o.of.Metadata.FullName.Namespace }

// Reference is part of resource.Origin.
func (o *origin) Reference() resource.Reference { return nil }

// ClusterName is part of resource.Origin.
func (o *origin) ClusterName() cluster.ID { return "default" }

// FieldMap is part of resource.Origin: every leaf in the notation of the
// analyzers, such as {.spec.hosts[0]}.
func (o *origin) FieldMap() map[string]int {
	if o.index == nil {
		o.index = map[string]int{}
		var root any = o.of.object.Object
		if o.of.template != "" {
			root, _ = o.of.template.Lookup(root)
		}
		o.walk(root, "", o.of.template)
	}
	return o.index
}

func (o *origin) walk(value any, key string, path mizzen.Path) {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			o.walk(v[name], key+"."+name, path.Key(name))
		}
	case []any:
		for i, item := range v {
			o.walk(item, fmt.Sprintf("%s[%d]", key, i), path.Index(i))
		}
	default:
		o.paths = append(o.paths, path)
		o.index["{"+key+"}"] = len(o.paths)
	}
}

// path returns what FieldMap gave a number for; "" for any other.
func (o *origin) path(line int) mizzen.Path {
	if line < 1 || line > len(o.paths) {
		return ""
	}
	return o.paths[line-1]
}

// newObject makes an object that no file has.
func newObject(kind, namespace, name string) mizzen.Object {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind}}
	u.SetName(name)
	if namespace != "" {
		u.SetNamespace(namespace)
	}
	return mizzen.Object{Unstructured: u}
}
