package mesh

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
)

// world is all that is known of a mesh, by kind, in the order of names.
type world struct {
	services []*service
	byHost   map[string]*service
	// served are the namespaces that are known to have a Service, so that one
	// that is not known is missing.
	served              map[string]bool
	workloads           map[string][]*workload
	serviceEntries      []*serviceEntry
	virtualServices     []*virtualService
	destinationRules    []*destinationRule
	gateways            []*gateway
	sidecars            []*sidecar
	peerAuthentications []*peerAuthentication
	policies            []*authorizationPolicy

	findings []mizzen.Finding
}

// clusterDomain ends the hosts of Services.
const clusterDomain = ".svc.cluster.local"

// rootNamespace is where policies for the whole mesh are.
const rootNamespace = "istio-system"

func read(objects, known []mizzen.Object) *world {
	w := &world{byHost: map[string]*service{}, served: map[string]bool{}, workloads: map[string][]*workload{}}
	things := map[mizzen.Ref]thing{}
	for i, list := range [][]mizzen.Object{objects, known} {
		for _, o := range list {
			ref := o.Ref()
			if _, seen := things[ref]; !seen {
				things[ref] = thing{o, i == 0}
			}
		}
	}
	for _, ref := range slices.SortedFunc(maps.Keys(things), mizzen.CompareRefs) {
		w.take(things[ref])
	}
	return w
}

// take puts an object in its place. Objects that do not have the form of their
// kind are left out.
func (w *world) take(t thing) {
	gvk := t.object.GroupVersionKind()
	switch gvk.Group + "/" + gvk.Kind {
	case "/Service":
		s := &service{thing: t, host: t.name() + "." + t.namespace() + clusterDomain}
		if decode(t, &s.spec) {
			w.services, w.byHost[s.host], w.served[s.namespace()] = append(w.services, s), s, true
		}
	case "networking.istio.io/ServiceEntry":
		w.serviceEntries = taken(w.serviceEntries, t, func(e *serviceEntry) (*thing, any) { return &e.thing, &e.spec })
	case "networking.istio.io/VirtualService":
		w.virtualServices = taken(w.virtualServices, t, func(v *virtualService) (*thing, any) { return &v.thing, &v.spec })
	case "networking.istio.io/DestinationRule":
		w.destinationRules = taken(w.destinationRules, t, func(d *destinationRule) (*thing, any) { return &d.thing, &d.spec })
	case "networking.istio.io/Gateway":
		w.gateways = taken(w.gateways, t, func(g *gateway) (*thing, any) { return &g.thing, &g.spec })
	case "networking.istio.io/Sidecar":
		w.sidecars = taken(w.sidecars, t, func(s *sidecar) (*thing, any) { return &s.thing, &s.spec })
	case "security.istio.io/PeerAuthentication":
		w.peerAuthentications = taken(w.peerAuthentications, t, func(p *peerAuthentication) (*thing, any) { return &p.thing, &p.spec })
	case "security.istio.io/AuthorizationPolicy":
		w.policies = taken(w.policies, t, func(p *authorizationPolicy) (*thing, any) { return &p.thing, &p.spec })
	default:
		w.takeWorkload(t)
	}
}

// taken appends an object in its own type. parts returns where the object and
// its spec belong.
func taken[T any](list []*T, t thing, parts func(*T) (*thing, any)) []*T {
	v := new(T)
	of, spec := parts(v)
	*of = t
	if !decode(t, spec) {
		return list
	}
	return append(list, v)
}

func decode(t thing, into any) bool {
	spec, ok := t.object.Object["spec"]
	if !ok {
		return true
	}
	b, err := json.Marshal(spec)
	return err == nil && json.Unmarshal(b, into) == nil
}

// labelsAt is where kinds of workloads have the labels of what runs.
var labelsAt = map[string]mizzen.Path{
	"/Pod": "metadata.labels", "apps/Deployment": "spec.template.metadata.labels", "apps/StatefulSet": "spec.template.metadata.labels",
	"apps/DaemonSet": "spec.template.metadata.labels", "apps/ReplicaSet": "spec.template.metadata.labels",
	"batch/Job": "spec.template.metadata.labels", "batch/CronJob": "spec.jobTemplate.spec.template.metadata.labels",
	"argoproj.io/Rollout": "spec.template.metadata.labels", "networking.istio.io/WorkloadEntry": "spec.labels",
	"networking.istio.io/WorkloadGroup": "spec.metadata.labels",
}

func (w *world) takeWorkload(t thing) {
	gvk := t.object.GroupVersionKind()
	at, ok := labelsAt[gvk.Group+"/"+gvk.Kind]
	if !ok {
		return
	}
	found, _ := at.Lookup(t.object.Object)
	all, _ := found.(map[string]any)
	labels := make(map[string]string, len(all))
	for name, value := range all {
		labels[name], _ = value.(string)
	}
	w.workloads[t.namespace()] = append(w.workloads[t.namespace()], &workload{t, labels})
}

// resolve returns the full host that a name means in a namespace.
func resolve(host, namespace string) string {
	if host == "" || strings.ContainsAny(host, ".*") {
		return host
	}
	return host + "." + namespace + clusterDomain
}

// inCluster returns the namespace of the host of a Service; ok is false for
// any other host.
func inCluster(host string) (namespace string, ok bool) {
	name, ok := strings.CutSuffix(host, clusterDomain)
	if !ok {
		return "", false
	}
	_, namespace, ok = strings.Cut(name, ".")
	return namespace, ok
}

// entry returns the ServiceEntry that has the host, or nil.
func (w *world) entry(host string) *serviceEntry {
	for _, e := range w.serviceEntries {
		if slices.ContainsFunc(e.spec.Hosts, func(pattern string) bool { return matches(pattern, host) }) {
			return e
		}
	}
	return nil
}

// matches tells whether a pattern such as *.example.com covers a host.
func matches(pattern, host string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(host, suffix)
	}
	return pattern == host
}

// covers tells whether labels have all that a selector asks for.
func covers(selector, labels map[string]string) bool {
	for name, value := range selector {
		if found, ok := labels[name]; !ok || found != value {
			return false
		}
	}
	return true
}

// behind returns the workloads of a Service.
func (w *world) behind(s *service) []*workload {
	if len(s.spec.Selector) == 0 {
		return nil
	}
	return w.selected(s.namespace(), s.spec.Selector)
}

// selected returns the workloads of a namespace that have labels.
func (w *world) selected(namespace string, labels map[string]string) []*workload {
	var list []*workload
	for _, l := range w.workloads[namespace] {
		if covers(labels, l.labels) {
			list = append(list, l)
		}
	}
	return list
}

// inMesh tells whether a VirtualService is for sidecars.
func (v *virtualService) inMesh() bool {
	return len(v.spec.Gateways) == 0 || slices.Contains(v.spec.Gateways, "mesh")
}
