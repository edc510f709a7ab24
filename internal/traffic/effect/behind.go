package effect

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// service names the changed object that makes a host: a Service, a
// ServiceEntry, or a VirtualService or DestinationRule that speaks of it.
func (c *comparison) service(host string) (cause, bool) {
	if found, ok := c.rebound(host); ok {
		return found, true
	}
	short, ok := strings.CutSuffix(host, clusterDomain)
	if name, namespace, _ := strings.Cut(short, "."); ok {
		ref := mizzen.Ref{Kind: "Service", Namespace: namespace, Name: name}
		if c.changes.changed(ref) {
			return c.cause(traffic.Rule{Ref: ref}, hints{"selector", "ports"}), true
		}
	}
	if found, ok := c.endpoints(host); ok {
		return found, true
	}
	for _, kind := range []string{"ServiceEntry", "VirtualService", "Sidecar", "Gateway"} {
		for _, ref := range c.changes.ofKind(kind) {
			if c.speaksOf(ref, host) {
				return c.cause(traffic.Rule{Ref: ref}, hints{"hosts", "exportTo"}), true
			}
		}
	}
	return cause{}, false
}

// endpoints names the changed object that says what is behind a Service without
// a selector.
func (c *comparison) endpoints(host string) (cause, bool) {
	name, namespace, _ := strings.Cut(strings.TrimSuffix(host, clusterDomain), ".")
	for _, ref := range c.changes.ofKinds("EndpointSlice", "Endpoints") {
		for _, objects := range []map[mizzen.Ref]mizzen.Object{c.changes.before, c.changes.after} {
			o, there := objects[ref]
			if there && ref.Namespace == namespace && (ref.Name == name || o.GetLabels()["kubernetes.io/service-name"] == name) {
				return c.cause(traffic.Rule{Ref: ref}, hints{"addresses", "endpoints", "ports"}), true
			}
		}
	}
	return cause{}, false
}

// speaksOf tells whether either side of an object names a host, in full or in
// short. A Sidecar speaks of all.
func (c *comparison) speaksOf(ref mizzen.Ref, host string) bool {
	if ref.Kind == "Sidecar" {
		return true
	}
	for _, objects := range []map[mizzen.Ref]mizzen.Object{c.changes.before, c.changes.after} {
		o, there := objects[ref]
		if there && slices.Contains(hostsOf(o), host) {
			return true
		}
	}
	return false
}

// hostsOf returns the hosts that an object of Istio's names, in full.
func hostsOf(o mizzen.Object) []string {
	hosts, _, err := unstructured.NestedStringSlice(o.Object, "spec", "hosts")
	if err != nil {
		return nil
	}
	servers, _, err := unstructured.NestedSlice(o.Object, "spec", "servers")
	if err == nil {
		for _, s := range servers {
			server, _ := s.(map[string]any)
			if more, _, err := unstructured.NestedStringSlice(server, "hosts"); err == nil {
				hosts = append(hosts, more...)
			}
		}
	}
	out := make([]string, 0, len(hosts))
	for _, h := range hosts {
		out = append(out, fullHost(h, o.GetNamespace()))
	}
	return out
}

// fullHost completes a short name with the namespace it is written in, as
// istiod does.
func fullHost(host, namespace string) string {
	if _, h, ok := strings.Cut(host, "/"); ok {
		host = h
	}
	if strings.ContainsAny(host, ".*") {
		return host
	}
	return host + "." + namespace + clusterDomain
}

// workloadKinds have pods.
var workloadKinds = []string{"Deployment", "StatefulSet", "DaemonSet", "Rollout", "Pod", "ReplicaSet", "Job", "CronJob", "WorkloadEntry"}

// moved names the workload that joined or left the destinations, or is found at
// another address.
func (c *comparison) moved(b, a fate) (cause, bool) {
	before, after := placesOf(b), placesOf(a)
	for _, name := range union(before, after) {
		if slices.Equal(before[name], after[name]) {
			continue
		}
		if found, ok := c.workload(name); ok {
			return found, true
		}
	}
	return cause{}, false
}

// placesOf are where requests arrive, by workload.
func placesOf(f fate) map[string][]place {
	out := map[string][]place{}
	for _, s := range f.shares {
		for _, p := range s.places {
			if p.name != "" {
				out[p.name] = append(out[p.name], p)
			}
		}
	}
	return out
}

// workload names the changed object that a workload is made by.
func (c *comparison) workload(workload string) (cause, bool) {
	namespace, name, _ := strings.Cut(workload, "/")
	for _, kind := range workloadKinds {
		for _, ref := range c.changes.ofKind(kind, namespace) {
			if ref.Name == name {
				return c.cause(traffic.Rule{Ref: ref}, hints{"template.metadata.labels", "labels", "address"}), true
			}
		}
	}
	return cause{}, false
}
