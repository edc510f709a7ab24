package compile

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// Vantage says whose view of the mesh matters; nil means that of every proxy.
type Vantage struct {
	// Everybody tells that all proxies matter.
	Everybody bool `json:"everybody,omitempty"`
	// Namespaces are those whose proxies matter.
	Namespaces []string `json:"namespaces,omitempty"`
	// Gateways are selectors of gateways: these matter, and whatever a selector
	// takes, since that makes it a gateway.
	Gateways []map[string]string `json:"gateways,omitempty"`
	// NoRoutes leaves routes out.
	NoRoutes bool `json:"noRoutes,omitempty"`
}

// sees tells whether the proxy of a workload matters.
func (v *Vantage) sees(w *workload) bool {
	switch {
	case v == nil || v.Everybody || slices.Contains(v.Namespaces, w.Namespace):
		return true
	case len(v.Gateways) == 0:
		return false
	}
	return w.role == traffic.Gateway || slices.ContainsFunc(v.Gateways, func(s map[string]string) bool { return selects(s, w.Namespace, w) })
}

// local are the kinds that are about the proxies of their namespace alone.
var local = map[mizzen.Ref]bool{
	{Group: "networking.istio.io", Kind: "Sidecar"}: true, {Group: "networking.istio.io", Kind: "EnvoyFilter"}: true,
	{Group: "networking.istio.io", Kind: "ProxyConfig"}: true, {Group: "telemetry.istio.io", Kind: "Telemetry"}: true,
	{Group: "extensions.istio.io", Kind: "WasmPlugin"}: true,
}

// silent are the kinds that istiod sends no routes for (skippedRdsConfigs in
// istiod's pilot/pkg/xds/rds.go).
var silent = map[mizzen.Ref]bool{
	{Group: "security.istio.io", Kind: "PeerAuthentication"}: true, {Group: "security.istio.io", Kind: "AuthorizationPolicy"}: true,
	{Group: "security.istio.io", Kind: "RequestAuthentication"}: true, {Group: "networking.istio.io", Kind: "ProxyConfig"}: true,
	{Group: "telemetry.istio.io", Kind: "Telemetry"}: true, {Group: "extensions.istio.io", Kind: "WasmPlugin"}: true,
}

func kindOf(o mizzen.Object) mizzen.Ref {
	ref := o.Ref()
	return mizzen.Ref{Group: ref.Group, Kind: ref.Kind}
}

// routeless tells whether no route can differ.
func routeless(changed []mizzen.Object) bool {
	return !slices.ContainsFunc(changed, func(o mizzen.Object) bool { return !silent[kindOf(o)] })
}

// vantageOf returns the proxies that changes are about, if that can be told of
// each; nil otherwise. What is in the root namespace is about all.
func vantageOf(changed []mizzen.Object, root string) *Vantage {
	v := &Vantage{NoRoutes: routeless(changed)}
	for _, o := range changed {
		kind := kindOf(o)
		switch {
		case kind == mizzen.Ref{Group: "networking.istio.io", Kind: "Gateway"}:
			selector, _, err := unstructured.NestedStringMap(o.Object, "spec", "selector")
			if err != nil || len(selector) == 0 {
				return nil // of all workloads
			}
			v.Gateways = append(v.Gateways, selector)
		case local[kind] && o.GetNamespace() != root:
			v.Namespaces = append(v.Namespaces, o.GetNamespace())
		default:
			return nil
		}
	}
	slices.Sort(v.Namespaces)
	v.Namespaces = slices.Compact(v.Namespaces)
	return v
}
