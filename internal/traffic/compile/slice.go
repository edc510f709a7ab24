package compile

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"istio.io/api/annotation"
	"istio.io/api/label"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/inject"
)

// Slice returns what can matter to the difference that the changed objects
// make, so that one weight changed among a thousand services does not compile
// them all: those of the unchanged objects, and whose view of them.
//
// What is about hosts matters to everybody, and leaves out Services,
// VirtualServices, DestinationRules and ServiceEntries of hosts that nothing
// changed leads to. What is about the proxies of a namespace, such as a Sidecar,
// or about gateways matters to these, with all objects. If neither can be told,
// as of a wildcard, or if there is some of both, everything matters, but for
// routes where only policies change.
func Slice(unchanged, changed []mizzen.Object, root string) ([]mizzen.Object, *Vantage) {
	if v := vantageOf(changed, root); v != nil {
		return unchanged, v
	}
	if out, ok := reachOf(unchanged, changed, root); ok {
		return out, nil
	}
	if routeless(changed) {
		return unchanged, &Vantage{Everybody: true, NoRoutes: true}
	}
	return unchanged, nil
}

// reachOf returns the unchanged objects that a change of hosts leads to; ok is
// false if it cannot tell.
func reachOf(unchanged, changed []mizzen.Object, root string) (out []mizzen.Object, ok bool) {
	r := &reach{root: root, hosts: map[string]bool{}, touched: map[string]bool{}}
	for _, o := range changed {
		if !r.begin(o, unchanged, changed) {
			return nil, false
		}
	}
	r.attached(unchanged)
	r.spread(unchanged)
	out = make([]mizzen.Object, 0, len(unchanged))
	for _, o := range unchanged {
		if r.keeps(o) {
			out = append(out, o)
		}
	}
	return out, true
}

// reach is how far a change goes, as host names.
type reach struct {
	// root is the namespace of what is about the whole mesh.
	root string
	// hosts are those of which everything is kept.
	hosts map[string]bool
	// touched are those whose backends or treatment change, so that every route
	// to them matters.
	touched map[string]bool
}

// begin adds the hosts of a changed object; ok is false if it cannot tell.
func (r *reach) begin(o mizzen.Object, lists ...[]mizzen.Object) (ok bool) {
	ref := o.Ref()
	switch ref.Kind {
	case "VirtualService", "DestinationRule", "ServiceEntry":
		return ref.Group == "networking.istio.io" && r.add(hostsOf(o), ref.Kind != "VirtualService")
	case "Service":
		return !leadsToGateway(o, lists) && r.add(hostsOf(o), true)
	case "AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication":
		return r.policy(o, lists)
	case "Secret", "ConfigMap":
		return ref.Kind == "Secret" || ref.Name != "istio" && !inject.Configures(ref)
	}
	if target := scaleTarget(o); target.Name != "" {
		return r.scales(target, lists)
	}
	return r.workload(o, lists) && !recaptured(o, lists)
}

// leadsToGateway tells whether a Service may select the proxies of a Gateway:
// what these serve hangs on its ports.
func leadsToGateway(o mizzen.Object, lists [][]mizzen.Object) bool {
	own, _, err := unstructured.NestedStringMap(o.Object, "spec", "selector")
	if err != nil {
		return false
	}
	for _, other := range slices.Concat(lists...) {
		if kindOf(other) != (mizzen.Ref{Group: "networking.istio.io", Kind: "Gateway"}) {
			continue
		}
		selector, _, err := unstructured.NestedStringMap(other.Object, "spec", "selector")
		if err != nil {
			continue
		}
		for key, value := range selector {
			if own[key] == value && value != "" {
				return true
			}
		}
	}
	return false
}

// scales adds the hosts of a workload whose number of pods another object
// decides about.
func (r *reach) scales(target mizzen.Ref, lists [][]mizzen.Object) bool {
	for _, o := range slices.Concat(lists...) {
		if is := o.Ref(); is.Kind == target.Kind && is.Namespace == target.Namespace && is.Name == target.Name && !r.workload(o, lists) {
			return false
		}
	}
	return true
}

// workload adds the hosts of the Services in front of a workload.
func (r *reach) workload(o mizzen.Object, lists [][]mizzen.Object) bool {
	path, isWorkload := podTemplates[o.GetKind()]
	if !isWorkload {
		return false
	}
	labels, _, err := unstructured.NestedStringMap(o.Object, append(append([]string{}, path...), "metadata", "labels")...)
	return err == nil && r.behind(o.GetNamespace(), labels, lists)
}

// recaptured tells whether a workload is on both sides, and something else of
// what its pods send gets to a sidecar: that is about all whom it calls.
func recaptured(o mizzen.Object, lists [][]mizzen.Object) bool {
	for _, other := range slices.Concat(lists...) {
		if other.Ref() == o.Ref() && !slices.Equal(captures(other), captures(o)) {
			return true
		}
	}
	return false
}

// captures are the fields of a pod that decide about its sidecar, and about who
// it is: as another one it is let in by other policies, wherever it calls.
func captures(o mizzen.Object) []string {
	path := podTemplates[o.GetKind()]
	at := func(fields ...string) []string { return append(append([]string{}, path...), fields...) }
	host, _, _ := unstructured.NestedBool(o.Object, at("spec", "hostNetwork")...) // what is none asks for nothing
	labels, _, _ := unstructured.NestedStringMap(o.Object, at("metadata", "labels")...)
	annotations, _, _ := unstructured.NestedStringMap(o.Object, at("metadata", "annotations")...)
	account, _, _ := unstructured.NestedString(o.Object, at("spec", "serviceAccountName")...)
	out := []string{strconv.FormatBool(host), account}
	for _, name := range []string{label.SidecarInject.Name, label.IoIstioRev.Name, label.IoIstioDataplaneMode.Name} {
		out = append(out, labels[name])
	}
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		if strings.HasPrefix(name, "traffic.sidecar.istio.io/") || name == annotation.SidecarInject.Name || name == annotation.SidecarInterceptionMode.Name {
			out = append(out, name, annotations[name])
		}
	}
	return out
}

// add adds hosts; a wildcard is none of them.
func (r *reach) add(hosts []string, touched bool) bool {
	for _, h := range hosts {
		if strings.Contains(h, "*") {
			return false
		}
		r.hosts[h] = true
		r.touched[h] = r.touched[h] || touched
	}
	return true
}

// policy adds the hosts whose workloads a policy is about.
func (r *reach) policy(o mizzen.Object, lists [][]mizzen.Object) bool {
	refs, _, err := unstructured.NestedSlice(o.Object, "spec", "targetRefs")
	if err != nil || len(refs) > 0 || o.GetNamespace() == r.root {
		return false // a waypoint's, or the whole mesh's
	}
	for _, list := range lists {
		for _, other := range list {
			if other.GetNamespace() == o.GetNamespace() && other.Ref().Kind == "Service" && !r.add(hostsOf(other), true) {
				return false
			}
		}
	}
	return true
}

// behind adds the hosts of Services that select a workload.
func (r *reach) behind(namespace string, labels map[string]string, lists [][]mizzen.Object) bool {
	w := &workload{}
	w.Namespace, w.Labels = namespace, labels
	for _, list := range lists {
		for _, o := range list {
			if o.GetKind() != "Service" || o.GetNamespace() != namespace {
				continue
			}
			selector, _, err := unstructured.NestedStringMap(o.Object, "spec", "selector")
			if err == nil && selects(selector, namespace, w) {
				r.add(hostsOf(o), true)
			}
		}
	}
	return true
}

// spread adds the hosts that kept VirtualServices lead to, until no more come.
func (r *reach) spread(objects []mizzen.Object) {
	routes := map[*unstructured.Unstructured][]string{}
	for _, o := range objects {
		if o.Ref().Kind == "VirtualService" {
			routes[o.Unstructured] = hostsOf(o)
		}
	}
	for grew := true; grew; {
		grew = false
		for o, hosts := range routes {
			if !r.concerns(o, hosts) {
				continue
			}
			delete(routes, o)
			grew = true
			for _, h := range hosts {
				r.hosts[h] = true
			}
		}
	}
}

// attached adds the hosts that routes of the Gateway API are for and lead to:
// these are always kept, and so is what they lead to.
func (r *reach) attached(objects []mizzen.Object) {
	for _, o := range objects {
		if o.Ref().Group != gatewayGroup {
			continue
		}
		for _, name := range backends(o.Object["spec"], o.GetNamespace()) {
			r.hosts[name] = true
		}
	}
}

// backends are the Services that a route names, as parents or as backends.
func backends(spec any, namespace string) (hosts []string) {
	switch v := spec.(type) {
	case map[string]any:
		name, isNamed := v["name"].(string)
		kind, _ := v["kind"].(string)
		if _, port := v["port"]; isNamed && (kind == "" && port || kind == "Service") {
			ns, _ := v["namespace"].(string)
			hosts = append(hosts, full(name, cmp.Or(ns, namespace)))
		}
		for _, item := range v {
			hosts = append(hosts, backends(item, namespace)...)
		}
	case []any:
		for _, item := range v {
			hosts = append(hosts, backends(item, namespace)...)
		}
	}
	return hosts
}

const gatewayGroup = "gateway.networking.k8s.io"

// concerns tells whether a VirtualService is for a kept host, or leads to one
// that is touched.
func (r *reach) concerns(o *unstructured.Unstructured, hosts []string) bool {
	own := ownHosts(o)
	for _, h := range hosts {
		if r.touched[h] || own[h] && r.hosts[h] || strings.Contains(h, "*") {
			return true
		}
	}
	return false
}

func (r *reach) keeps(o mizzen.Object) bool {
	if o.GetLabels()[label.GatewayManaged.Name] != "" {
		return true // a waypoint that istiod deployed
	}
	switch ref := o.Ref(); ref.Kind {
	case "VirtualService", "DestinationRule", "ServiceEntry", "Service":
		if ref.Kind == "VirtualService" && delegate(o) {
			return true
		}
		for _, h := range hostsOf(o) {
			if r.hosts[h] || strings.Contains(h, "*") {
				return true
			}
		}
		return false
	}
	return true
}

// delegate tells whether a VirtualService is a part of others.
func delegate(o mizzen.Object) bool {
	hosts, _, err := unstructured.NestedSlice(o.Object, "spec", "hosts")
	return err == nil && len(hosts) == 0
}

// hostsOf returns the hosts that an object is about: of a VirtualService also
// those that it leads to.
func hostsOf(o mizzen.Object) []string {
	ns := o.GetNamespace()
	if o.GetKind() == "Service" {
		hosts := []string{o.GetName() + "." + ns + ".svc." + domain}
		// Another name stands beside that of the Service that it is for.
		if alias, _, err := unstructured.NestedString(o.Object, "spec", "externalName"); err == nil && alias != "" {
			hosts = append(hosts, alias)
		}
		return hosts
	}
	var out []string
	for host := range ownHosts(o.Unstructured) {
		out = append(out, host)
	}
	eachHost(o.Object["spec"], func(host string, _ map[string]any) { out = append(out, full(host, ns)) })
	return out
}

// eachHost visits the fields called host within a value, and what they are in.
func eachHost(value any, visit func(host string, in map[string]any)) {
	switch v := value.(type) {
	case map[string]any:
		if host, ok := v["host"].(string); ok {
			visit(host, v)
		}
		for _, item := range v {
			eachHost(item, visit)
		}
	case []any:
		for _, item := range v {
			eachHost(item, visit)
		}
	}
}

// ownHosts are those in spec.hosts.
func ownHosts(o *unstructured.Unstructured) map[string]bool {
	hosts, _, err := unstructured.NestedStringSlice(o.Object, "spec", "hosts")
	if err != nil {
		return nil
	}
	out := map[string]bool{}
	for _, h := range hosts {
		out[full(h, o.GetNamespace())] = true
	}
	return out
}

// full completes a short name as istiod does.
func full(host, namespace string) string {
	if strings.ContainsAny(host, ".*") {
		return host
	}
	return host + "." + namespace + ".svc." + domain
}
