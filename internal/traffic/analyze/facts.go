package analyze

import (
	"strings"

	"istio.io/istio/pkg/config/resource"
	"istio.io/istio/pkg/config/schema/gvk"

	"mizzen.dev/mizzen"
)

// facts is what is known about where things are, for the rules.
type facts struct {
	judged map[mizzen.Ref]bool
	// namespaces are those that some object is in or is.
	namespaces map[string]bool
	// described are those whose Namespace object is known.
	described map[string]bool
	// populated are those with a workload.
	populated map[string]bool
	// served are those with a Service.
	served map[string]bool
	// madeSecrets are "namespace/name" of Secrets that an operator makes of
	// another object.
	madeSecrets map[string]bool
}

func gather(objects, known []mizzen.Object) *facts {
	f := &facts{
		judged: map[mizzen.Ref]bool{}, namespaces: map[string]bool{}, described: map[string]bool{},
		populated: map[string]bool{}, served: map[string]bool{}, madeSecrets: map[string]bool{},
	}
	for _, o := range objects {
		f.judged[o.Ref()] = true
		f.look(o)
	}
	for _, o := range known {
		f.look(o)
	}
	return f
}

func (f *facts) look(o mizzen.Object) {
	if ns := o.GetNamespace(); ns != "" {
		f.namespaces[ns] = true
	}
	ref := o.Ref()
	switch {
	case ref.Group == "" && ref.Kind == "Namespace":
		f.namespaces[ref.Name], f.described[ref.Name] = true, true
	case ref.Group == "" && ref.Kind == "Service":
		f.served[ref.Namespace] = true
	}
	for _, at := range secretMakers[ref.Group+"/"+ref.Kind] {
		name := ref.Name
		if at != "" {
			found, _ := at.Lookup(o.Object)
			name, _ = found.(string)
		}
		if name != "" {
			f.madeSecrets[ref.Namespace+"/"+name] = true
		}
	}
}

// secretMakers are kinds that an operator makes a Secret of, and where they
// name it; the empty path means that it has the object's own name.
var secretMakers = map[string][]mizzen.Path{
	"cert-manager.io/Certificate":        {"spec.secretName"},
	"external-secrets.io/ExternalSecret": {"spec.target.name", ""},
	"bitnami.com/SealedSecret":           {"spec.template.metadata.name", ""},
}

// index adds what only the finished catalog knows.
func (f *facts) index(c *catalog) {
	for _, pod := range c.all(gvk.Pod) {
		f.populated[pod.Metadata.FullName.Namespace.String()] = true
	}
}

func fullName(namespace, name string) resource.FullName {
	return resource.NewFullName(resource.Namespace(namespace), resource.LocalName(name))
}

// namespaceOf returns the namespace that a host of the cluster is in: that of
// the object for a short name. ok is false for a host outside.
func namespaceOf(host, objectNamespace string) (namespace string, ok bool) {
	if !strings.Contains(host, ".") {
		return objectNamespace, true
	}
	name, found := strings.CutSuffix(host, ".svc.cluster.local")
	if !found {
		return "", false
	}
	_, namespace, found = strings.Cut(name, ".")
	return namespace, found
}
