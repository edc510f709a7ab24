package diff

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	"mizzen.dev/mizzen"
)

// definedScopes reads which kinds the CustomResourceDefinitions among objects
// define, and whether those are namespaced.
func definedScopes(objects []mizzen.Object) map[schema.GroupKind]bool {
	scopes := map[schema.GroupKind]bool{}
	for _, obj := range objects {
		if obj.Unstructured == nil || obj.GroupVersionKind().GroupKind() != crdKind {
			continue
		}
		spec, _ := obj.Object["spec"].(map[string]any)
		names, _ := spec["names"].(map[string]any)
		group, _ := spec["group"].(string)
		kind, _ := names["kind"].(string)
		scope, _ := spec["scope"].(string)
		scopes[schema.GroupKind{Group: group, Kind: kind}] = scope == "Namespaced"
	}
	return scopes
}

var crdKind = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}

// settleNamespace fills in the namespace of a namespaced object and takes away
// that of a cluster-scoped one. Where the kind is unknown both are left: such
// an object is not applied until the cluster knows its kind.
func (p *preparer) settleNamespace(d *draft) {
	namespace, isString := d.metadata["namespace"].(string)
	if d.metadata["namespace"] != nil && !isString {
		p.fatal(d, mizzen.CodeInvalidMetadata, "metadata.namespace", "the namespace is not a string", "put it in quotes")
		return
	}
	if namespace == "" {
		// An empty or null namespace is what templates make of an unset value.
		delete(d.metadata, "namespace")
	}
	namespaced, known := p.scope(d.GroupVersionKind())
	switch {
	case known && namespaced && namespace == "":
		d.metadata["namespace"] = p.Namespace
	case known && !namespaced && namespace != "":
		p.report(d, mizzen.Finding{
			Code: mizzen.CodeClusterScopedNamespace, Severity: mizzen.Warning, Path: "metadata.namespace",
			Message: fmt.Sprintf("a %s belongs to no namespace; %q is ignored", d.GetKind(), namespace),
			Remedy:  "remove metadata.namespace",
		})
		delete(d.metadata, "namespace")
	}
}

func (p *preparer) scope(gvk schema.GroupVersionKind) (namespaced, known bool) {
	if namespaced, known = p.Scope(gvk); !known {
		namespaced, known = p.defined[gvk.GroupKind()]
	}
	return namespaced, known
}

// checkMetadata refuses what no API server accepts, before anything is
// written. Names of kinds with rules of their own are left to the server.
func (p *preparer) checkMetadata(d *draft) {
	for _, problem := range nameProblems(d) {
		p.fatal(d, mizzen.CodeInvalidMetadata, "metadata.name", fmt.Sprintf("the name %q is not allowed: %s", cut(d.GetName()), problem), "choose another name")
	}
	if ns := d.GetNamespace(); ns != "" {
		for _, problem := range utilvalidation.IsDNS1123Label(ns) {
			p.fatal(d, mizzen.CodeInvalidMetadata, "metadata.namespace", fmt.Sprintf("the namespace %q is not allowed: %s", cut(ns), problem), "choose another namespace")
		}
	}
	for k, v := range p.stringMap(d, "labels") {
		p.refuse(d, "labels", k, utilvalidation.IsQualifiedName(k))
		p.refuse(d, "labels", k, utilvalidation.IsValidLabelValue(v))
	}
	size := 0
	for k, v := range p.stringMap(d, "annotations") {
		p.refuse(d, "annotations", k, utilvalidation.IsQualifiedName(strings.ToLower(k)))
		size += len(k) + len(v)
	}
	if size > validation.TotalAnnotationSizeLimitB {
		p.fatal(d, mizzen.CodeInvalidMetadata, "metadata.annotations",
			fmt.Sprintf("the annotations hold %d bytes; %d are allowed", size, validation.TotalAnnotationSizeLimitB), "move the data into a ConfigMap")
	}
}

// plainGroups hold built-in kinds whose names are DNS subdomains; elsewhere a
// name need only be a path segment (RBAC allows colons).
var plainGroups = []string{"", "apps", "batch", "autoscaling", "policy", "networking.k8s.io", "apiextensions.k8s.io"}

func nameProblems(d *draft) []string {
	name, group := d.GetName(), d.GroupVersionKind().Group
	switch {
	case group == "" && (d.GetKind() == "Namespace" || d.GetKind() == "Service"):
		return utilvalidation.IsDNS1123Label(name)
	case slices.Contains(plainGroups, group):
		return utilvalidation.IsDNS1123Subdomain(name)
	case len(name) > utilvalidation.DNS1123SubdomainMaxLength:
		return []string{utilvalidation.MaxLenError(utilvalidation.DNS1123SubdomainMaxLength)}
	}
	return content.IsPathSegmentName(name)
}

// stringMap returns labels or annotations; values that are not strings are
// refused and left out.
func (p *preparer) stringMap(d *draft, name string) map[string]string {
	at := mizzen.Path("metadata").Key(name)
	values, isMap := d.metadata[name].(map[string]any)
	if d.metadata[name] == nil {
		delete(d.metadata, name)
		return nil
	}
	if !isMap {
		p.fatal(d, mizzen.CodeInvalidMetadata, at, name+" is not a mapping", "write key: value pairs")
	}
	out := make(map[string]string, len(values))
	for k, v := range values {
		if s, ok := v.(string); ok {
			out[k] = s
		} else {
			p.fatal(d, mizzen.CodeInvalidMetadata, at.Key(k), fmt.Sprintf("the value of %q is not a string", cut(k)), "put the value in quotes")
		}
	}
	return out
}

func (p *preparer) refuse(d *draft, name, key string, problems []string) {
	for _, problem := range problems {
		p.fatal(d, mizzen.CodeInvalidMetadata, mizzen.Path("metadata").Key(name).Key(key),
			fmt.Sprintf("%q under %s is not allowed: %s", cut(key), name, problem), "correct it as the rule says")
	}
}

// cut keeps a message readable whatever the input.
func cut(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// DefinesKind tells whether a CustomResourceDefinition among the objects
// brings the kind, in the version that is asked for.
func DefinesKind(objects []mizzen.Object, gvk schema.GroupVersionKind) bool {
	for _, obj := range objects {
		if obj.Unstructured == nil || obj.GroupVersionKind().GroupKind() != crdKind {
			continue
		}
		spec, _ := obj.Object["spec"].(map[string]any)
		names, _ := spec["names"].(map[string]any)
		if spec["group"] != gvk.Group || names["kind"] != gvk.Kind {
			continue
		}
		versions, _ := spec["versions"].([]any)
		for _, item := range versions {
			if v, _ := item.(map[string]any); v["name"] == gvk.Version && v["served"] == true {
				return true
			}
		}
	}
	return false
}
